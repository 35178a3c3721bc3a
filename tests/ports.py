"""Ports for servers that a test starts, kills and starts again."""

import random
import socket
from contextlib import suppress

QUIET = range(12_000, 32_000)
"""Below what Linux and macOS give to outgoing connections: a caller of a killed server might else take its port."""


def free_ports(count: int) -> list[int]:
    """Return so many different loopback ports that nobody holds."""
    found: list[int] = []
    while len(found) < count:
        port = random.choice(QUIET)
        if port not in found and free(port):
            found.append(port)
    return found


def free_port() -> int:
    """Return a loopback port that nobody holds."""
    return free_ports(1)[0]


def free(port: int) -> bool:
    """Whether a loopback port is held by nobody."""
    with socket.socket() as probe, suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False
