"""What tests/ports.py promises to the tests."""

import socket
import subprocess
import sys

import pytest

from tests import ports

DRAW = "from tests.ports import free_port; print(free_port())"
ANOTHER = "import sys; from tests.ports import reserve; print([reserve([int(port)]) for port in sys.argv[1:]])"


def elsewhere(program, *words):
    """What another test process says, which has ended by then."""
    command = [sys.executable, "-c", program, *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()


def test_a_port_is_given_once():
    port = ports.free_port()
    assert not ports.reserve([port])


def test_a_port_is_given_to_one_test_process():
    port = ports.free_port()
    assert elsewhere(ANOTHER, port) == "[False]"


def test_a_port_of_a_test_process_that_ended_is_given_again():
    port = int(elsewhere(DRAW))
    assert elsewhere(ANOTHER, port) == "[True]"
    assert ports.reserve([port])


def test_a_port_that_somebody_holds_is_not_given():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not ports.reserve([server.getsockname()[1]])


def test_a_shift_is_not_given_twice(monkeypatch):
    shift = ports.free_shift()
    monkeypatch.setattr(ports, "SHIFTS", range(shift, shift + 1))
    with pytest.raises(AssertionError):
        ports.free_shift()
