"""Whether the ports are free, asked before anything starts."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

from services.cli.problem import Problem, reason
from services.cli.up.plan import Child
from services.common.settings import Address

QUIET = range(25_000, 32_000)
"""Above all ports of a shifted machine, and below what Linux and macOS give to outgoing connections: one of those could
take the port before Valkey listens there, or while it is started again."""


def require_free(children: Iterable[Child]) -> None:
    """Raise Problem with one line for all ports that are taken."""
    taken = [f"{address.port} ({child.name})" for child in children for address in child.listens if in_use(address)]
    if taken:
        ports, it = ("port", "it") if len(taken) == 1 else ("ports", "them")
        raise Problem(
            f"{ports} {', '.join(taken)} in use. Stop what holds {it}, or use others: igbot up --shift 1000 adds 1000 "
            "to each (with make: make demo ARGS='--shift 1000')."
        )


def in_use(address: Address) -> bool:
    """Whether somebody listens there already."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise Problem(f"cannot listen on {address}: {reason(error)}.") from error
            return True
    return False


def free_port(candidates: Iterable[int]) -> int:
    """The first of these loopback ports that nobody holds now. Raises Problem when there is none."""
    for port in candidates:
        if not in_use(Address("127.0.0.1", port)):
            return port
    raise Problem("no port is free for Valkey. Set REDIS_URL to a Redis or Valkey of your own instead.")
