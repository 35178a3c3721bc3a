import subprocess
import sys
from pathlib import Path

import pytest

from services.cli.operator import read_dotenv
from services.cli.services import SERVICES

HEAVY = ("typer", "rich", "click", "grpc", "redis", "aiohttp")
GROUPS = {
    "accounts": "list show add invite disconnect refresh check",
    "keys": "new rotate",
    "conversations": "list show retry",
    "held": "list resend drop",
    "dead-letters": "list show replay drop",
}


def test_every_promised_command_is_there(bare):
    out = bare("--help").out
    for command in (*SERVICES, *GROUPS, "up", "doctor", "smoke", "pause", "resume"):
        assert f"\n  {command} " in out, command


@pytest.mark.parametrize("group", GROUPS)
def test_every_promised_subcommand_is_there(bare, group):
    out = bare(group, "--help").out
    for command in GROUPS[group].split():
        assert f"\n  {command} " in out, command


def test_the_version_is_told(bare):
    ran = bare("--version")
    assert (ran.code, ran.out) == (0, "igbot 0.1.0\n")


@pytest.mark.parametrize("words", [(), ("nonsense",), ("accounts", "nonsense"), ("up", "--shift", "x")])
def test_a_wrong_command_is_a_usage_error(bare, words):
    assert bare(*words).code == 2


def test_a_service_starts_without_the_command_lines_libraries():
    code = f"import sys, services.cli.main; print(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("service", ["gateway", "tokens", "responder"])
def test_a_service_without_settings_says_all_that_is_missing(service, tmp_path):
    command = [sys.executable, "-P", "-m", "services.cli.main", service]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env={"PATH": "/usr/bin"})
    assert done.returncode == 2
    assert "is missing" in done.stderr
    assert "Traceback" not in done.stderr


def odd(tmp_path, *words, stdin=b"", stdout=subprocess.PIPE):
    """A command as a shell runs it, with bytes that are no text."""
    command = [sys.executable, "-P", "-m", "services.cli.main", *words]
    env = {"PATH": "/usr/bin", "LANG": "C.UTF-8"}
    return subprocess.run(
        command, input=stdin, stdout=stdout, stderr=subprocess.PIPE, check=False, cwd=tmp_path, env=env
    )


def test_words_that_are_no_text_are_a_usage_error(tmp_path):
    done = odd(tmp_path, "accounts", "show", b"\xff\xfe")
    assert (done.returncode, done.stderr) == (2, b"igbot: what was typed is not UTF-8 text\n")


def test_a_dotenv_that_is_no_text_is_a_usage_error(tmp_path):
    (tmp_path / ".env").write_bytes("APP_SECRET=word".encode("utf-16"))
    done = odd(tmp_path, "accounts", "list")
    assert (done.returncode, done.stderr) == (2, b"igbot: .env is not UTF-8 text; save it as UTF-8.\n")


def test_a_line_of_dotenv_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / ".env").write_text('# a comment\nexport LOG_LEVEL=info\nAPP_SECRET="no end\nREDIS_URL=redis://x\n')
    done = odd(tmp_path, "accounts", "list")
    assert (done.returncode, done.stderr) == (2, b"igbot: .env, line 3: write NAME=value, and close what is quoted.\n")


def test_dotenv_says_what_is_written_there(tmp_path, monkeypatch):
    lines = ["# a comment", "", "export A=1", "B = 'two $A'", 'C="three\\n" # said', "ALONE", "D=", "É=x"]
    (tmp_path / ".env").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    assert read_dotenv() == {"A": "1", "B": "two $A", "C": "three\n", "ALONE": None, "D": "", "É": "x"}


def test_a_token_that_is_no_text_is_one_line(tmp_path):
    done = odd(tmp_path, "accounts", "add", stdin=b"\xff\xfe\n")
    assert done.returncode == 1
    assert done.stderr == b"igbot: what is on standard input is not text, so it is no token\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_an_output_that_takes_nothing_is_one_line(tmp_path):
    with Path("/dev/full").open("wb") as full:
        done = odd(tmp_path, "keys", "new", "--stdout", stdout=full)
    assert (done.returncode, done.stderr) == (1, b"igbot: no space left on device\n")
