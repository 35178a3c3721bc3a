import os
import socket
import subprocess
import sys

import pytest
from pydantic import ValidationError

from services.common.settings import problems
from services.gateway.settings import AUTHORIZE_URL, Settings
from tests.gateway.world import ROOT

GOOD = {
    "INSTAGRAM_CLIENT_ID": "990",
    "REDIRECT_URI": "https://bot.example/oauth/callback",
    "APP_SECRET": "canary1, canary2",
    "WEBHOOK_VERIFY_TOKEN": "word",
}
COMMAND = [sys.executable, "-c", "from services.gateway.compose import main; main()"]


def run(environment):
    environment = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(COMMAND, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def given_settings(monkeypatch):
    def read(**more):
        for name, value in {**GOOD, **more}.items():
            monkeypatch.setenv(name, value)
        return Settings()  # type: ignore[call-arg]  # it reads the environment

    return read


def test_the_defaults_are_those_of_the_readme(given_settings):
    settings = given_settings()
    assert settings.secrets == (b"canary1", b"canary2")
    assert settings.public_url == "https://bot.example"
    assert settings.instagram_authorize_url == AUTHORIZE_URL
    assert str(settings.listen_address) == "127.0.0.1:8080"
    assert (settings.connect_open, settings.trust_proxy, settings.dead_letter_days) == (False, False, 14)
    assert "canary" not in repr(settings)


def test_public_url_may_differ_from_the_callbacks_place(given_settings):
    assert given_settings(PUBLIC_URL="https://other.example").public_url == "https://other.example"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIRECT_URI", "https://bot.example/callback"),
        ("REDIRECT_URI", "bot.example/oauth/callback"),
        ("APP_SECRET", " , "),
        ("REDIS_URL", "http://127.0.0.1"),
        ("REDIS_URL", "redis://h:abc"),
        ("REDIS_URL", "redis://:pa/ss@h:6379/0"),
        ("REDIS_URL", "redis://:p\N{FULLWIDTH NUMBER SIGN}ss@h:6379/0"),
        ("REDIS_URL", "redis://h:6379/0?socket_timeout=soon"),
        ("GRPC_TLS_DIR", "/nope"),
        ("PUBLIC_URL", "bot.example"),
        ("LISTEN_ADDRESS", "8080"),
        ("CONNECT_OPEN", "maybe"),
        ("DEAD_LETTER_DAYS", "-1"),
        ("INSTAGRAM_AUTHORIZE_URL", "javascript:alert(1)"),
    ],
)
def test_a_wrong_value_is_named_and_not_shown(given_settings, name, value):
    with pytest.raises(ValidationError) as found:
        given_settings(**{name: value})
    (line,) = problems(found.value)
    assert line.startswith(f"{name}: ")
    assert value.strip(" ,") == "" or value not in line
    assert not any(piece in line for piece in ("abc", "pa/", "'pa'", "ss@h"))


def test_all_problems_come_in_one_message_with_code_2_and_no_traceback():
    done = run({"REDIS_URL": "nonsense", "LISTEN_ADDRESS": "x"})
    assert done.returncode == 2
    for name in (*GOOD, "REDIS_URL", "LISTEN_ADDRESS"):
        assert f"{name}: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("setting", ["LISTEN_ADDRESS", "OPS_ADDRESS"])
def test_a_port_in_use_is_one_clear_line(setting):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run({**GOOD, "LISTEN_ADDRESS": "127.0.0.1:0", "OPS_ADDRESS": "127.0.0.1:0", setting: address})
    assert done.returncode == 1
    assert f"igbot cannot start: cannot listen on {address}: Address already in use\n" in done.stderr
    assert "Traceback" not in done.stderr
