"""A port to listen on, or one line that says which port could not be had."""

from __future__ import annotations

import socket

import tornado.netutil

from services.common.settings import Address


def listen(address: Address, backlog: int = 128) -> list[socket.socket]:
    """Bind and listen; the first socket's port is the bound one. What is not possible is an OSError that says where."""
    try:
        return tornado.netutil.bind_sockets(address.port, address.host or None, backlog=backlog)
    except OSError as error:
        raise OSError(f"cannot listen on {address}: {error.strerror or error}") from error
