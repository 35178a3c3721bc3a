"""Which port `igbot up` gives to Valkey."""

import socket

import pytest

from services.cli.problem import Problem
from services.cli.up import ports
from services.cli.up.plan import LISTEN_PORTS, OPS_PORTS
from tests.ports import free_port

MOST_SHIFT = 15_000


def test_a_port_that_somebody_holds_is_passed_over():
    free = free_port()
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = server.getsockname()[1]
        assert ports.free_port([held, free]) == free
        with pytest.raises(Problem, match="REDIS_URL"):
            ports.free_port([held])


def test_valkey_takes_no_port_of_a_service_however_shifted_and_none_of_an_outgoing_connection():
    bases = (*LISTEN_PORTS.values(), *OPS_PORTS.values())
    assert not [port + shift for port in bases for shift in range(MOST_SHIFT + 1) if port + shift in ports.QUIET]
    assert ports.QUIET.stop <= 32_768  # Linux's first; macOS begins at 49152
