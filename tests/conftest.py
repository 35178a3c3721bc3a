"""What holds for every test: no settings from outside, the same examples each time, no socket beyond loopback."""

import ipaddress
import os
import re
import sys
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
pytest_plugins = ["tests.mongo", "tests.canary"]
SETTINGS = re.compile(r"^#? ?([A-Z][A-Z0-9_]+)=", re.MULTILINE)

# A busy machine makes no example too slow, and a change is judged by the same examples as the one before it.
# `IGBOT_TEST_RANDOM=1` draws others each time.
settings.register_profile("igbot", deadline=None, database=None, derandomize="IGBOT_TEST_RANDOM" not in os.environ)
settings.load_profile("igbot")


def pytest_configure(config: pytest.Config) -> None:
    """Settings of the shell that runs the tests reach no test, and no test reaches the network."""
    example = ROOT / ".env.example"
    for name in SETTINGS.findall(example.read_text()) if example.exists() else ():
        os.environ.pop(name, None)
    os.environ["GRPC_VERBOSITY"] = "ERROR"  # its core tells of connections that another test closed
    sys.addaudithook(refuse_the_network)


def refuse_the_network(event: str, args: tuple[object, ...]) -> None:
    """Raise where Python connects or sends to an address that is not this machine's own."""
    if event not in {"socket.connect", "socket.sendto"}:
        return
    address = args[1]
    if isinstance(address, tuple) and not local(str(address[0])):
        raise PermissionError(f"a test opened a socket to {address[0]}")


def local(host: str) -> bool:
    """Whether a host is this machine: a loopback address, its name, or every interface of it."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host in {"localhost", ""}
    return address.is_loopback or address.is_unspecified


@pytest.fixture
def quiet_logs():
    """No log lines: a machine of thousands of steps would print hundreds of thousands, which help nobody."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.configure(**before)
