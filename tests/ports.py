"""Ports for servers that a test starts, kills and starts again.

A port is given once in the life of a test process, and to one test process at a time: between a kill and the next
start nobody holds it, and a second server there would answer in the first one's name.
"""

import fcntl
import os
import random
import socket
import tempfile
from contextlib import suppress
from pathlib import Path

from services.cli.up.plan import LISTEN_PORTS, OPS_PORTS
from services.cli.up.ports import QUIET as VALKEY_PORTS

QUIET = range(12_000, VALKEY_PORTS.start)
"""Below what `igbot up` takes for Valkey, and what Linux and macOS give to outgoing connections: a caller of a killed
server might else take its port."""

SHIFTS = range(11_000, 15_000)
"""What `igbot up --shift` may add to its ports so that all of them lie outside that range, 50051 above it."""

# Byte n of this file stands for port n: the kernel drops the locks of a process that ends, however it ends.
LOCKS = (Path(tempfile.gettempdir()) / f"igbot-test-ports-{os.getuid()}").open("ab")
given: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Return so many different loopback ports that nobody holds, for this test process alone."""
    ports: list[int] = []
    for port in random.sample(QUIET, len(QUIET)):
        if len(ports) == count:
            return ports
        if reserve([port]):
            ports.append(port)
    raise AssertionError("no free ports")


def free_port() -> int:
    """Return a loopback port that nobody holds, for this test process alone."""
    return free_ports(1)[0]


def free_shift() -> int:
    """Return what `igbot up --shift` may add so that nobody holds any of its ports."""
    for shift in random.sample(SHIFTS, len(SHIFTS)):
        if reserve([port + shift for port in (*LISTEN_PORTS.values(), *OPS_PORTS.values())]):
            return shift
    raise AssertionError("no free ports")


def reserve(ports: list[int]) -> bool:
    """Keep the ports for this process; False when one of them is given or held."""
    if not all(port not in given and free(port) and lock(port) for port in ports):
        return False
    given.update(ports)
    return True


def lock(port: int) -> bool:
    """Whether no other test process has the port."""
    with suppress(OSError):
        fcntl.lockf(LOCKS, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        return True
    return False


def free(port: int) -> bool:
    """Whether a loopback port is held by nobody."""
    with socket.socket() as probe, suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False
