"""Whether the ports are free, asked before anything starts."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

from services.cli.problem import Problem, reason
from services.cli.up.plan import Child
from services.common.settings import Address


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


def free_port() -> int:
    """A loopback port that nobody holds now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
