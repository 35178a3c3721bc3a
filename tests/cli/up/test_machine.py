"""`igbot up --sandbox` as a person starts it."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from redis import Redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from services.cli.up.folder import lock_folder, running
from tests.ports import free_shift

IGBOT = [sys.executable, "-P", "-m", "services.cli.main"]
SERVICES = ("sandbox", "tokens", "responder", "gateway")


@pytest.fixture
def shift():
    """A number that moves all ports to free ones."""
    return free_shift()


class Machine:
    """One `igbot up`, and what it prints."""

    def __init__(self, folder: Path, shift: int):
        self.folder = folder
        self.shift = shift
        self.lines: list[str] = []

    def start(self, *words, **env):
        """Start it with the sandbox, unless other words are given."""
        words = words or ("--sandbox",)
        self.log = (self.folder / "stderr").open("a")
        self.process = subprocess.Popen(
            [*IGBOT, "up", "--shift", str(self.shift), *words],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "DRAIN_SECONDS": "1", **env},
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            start_new_session=True,
        )
        return self

    def until(self, word):
        """Read what it says until a word comes."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line)
            if word in line:
                return line
        pytest.fail(f"it ended without {word!r}: {self.lines} {(self.folder / 'stderr').read_text()[-2000:]}")

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=60)
        self.lines += out.splitlines()
        self.log.close()
        return self.process.returncode

    def children(self):
        """Name to process id of the services that run under it."""
        return {
            name: pid
            for pid, line in self.processes()
            for name in SERVICES
            if line.endswith(f"services.cli.main {name}")
        }

    def valkey(self):
        """The process id of its Valkey."""
        return next(pid for pid, line in self.processes() if "/valkey-server " in line and "keeper" not in line)

    def processes(self):
        """The command lines of all processes that work in its folder, by process id."""
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and (entry / "cwd").readlink().is_relative_to(self.folder):
                    yield int(entry.name), (entry / "cmdline").read_text().replace("\0", " ").strip()
            except OSError:
                continue


@pytest.fixture
def machine(tmp_path, shift):
    made = Machine(tmp_path, shift)
    yield made
    if hasattr(made, "process") and made.process.poll() is None:
        made.stop(signal.SIGKILL)


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.status, answer.read().decode()


def wait_until(true):
    give_up = time.monotonic() + 30
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.05)


linux = pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc, which this system has not")


@linux
def test_it_starts_survives_deaths_and_stops(machine):
    machine.start().until("Ctrl-C stops everything")
    links = re.findall(r"http://\S+", "".join(machine.lines))
    assert links == [f"http://127.0.0.1:{8080 + machine.shift}/connect", f"http://127.0.0.1:{8090 + machine.shift}/"]
    assert [get(link)[0] for link in links] == [200, 200]

    died = machine.children()["responder"]
    os.kill(died, signal.SIGKILL)
    assert "responder ended by SIGKILL; starting it again" in machine.until("responder")
    wait_until(lambda: machine.children().get("responder", died) != died)

    told = running(machine.folder / "var/sandbox")
    assert told
    with Redis.from_url(told["REDIS_URL"], retry=Retry(ConstantBackoff(0.1), 100)) as redis:
        redis.set("kept", "yes")
        os.kill(machine.valkey(), signal.SIGKILL)
        assert "starting it again" in machine.until("valkey ended")
        assert redis.get("kept") == b"yes"

    assert machine.stop(signal.SIGINT) == 0
    assert "everything is kept" in machine.lines[-1]
    assert list(machine.processes()) == []
    assert running(machine.folder / "var/sandbox") is None
    for made in ("tokens.db", "responder.db", "valkey", "keys"):
        assert (machine.folder / "var/sandbox" / made).exists()


@linux
def test_nothing_outlives_a_killed_parent(machine):
    machine.start().until("Ctrl-C stops everything")
    assert len(machine.children()) == 4
    machine.stop(signal.SIGKILL)
    wait_until(lambda: not list(machine.processes()))
    os.close(lock_folder(machine.folder / "var/sandbox"))


@linux
def test_the_real_one_reads_dotenv_and_keeps_its_own_data(machine):
    lines = {
        "INSTAGRAM_CLIENT_ID": "1",
        "INSTAGRAM_CLIENT_SECRET": "secret",
        "APP_SECRET": "secret",
        "REDIRECT_URI": "http://127.0.0.1:1/oauth/callback",
        "WEBHOOK_VERIFY_TOKEN": "word",
        "OPENAI_API_KEY": "sk-secret",
        "GRAPH_URL": "http://127.0.0.1:1",
    }
    (machine.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
    machine.start("--logs").until("Ctrl-C stops everything")
    assert "http://127.0.0.1:1/connect" in "".join(machine.lines)
    assert set(machine.children()) == {"tokens", "responder", "gateway"}
    told = running(machine.folder / "var")
    assert told is not None
    assert told["PUBLIC_URL"] == "http://127.0.0.1:1"  # for commands whose shell does not say REDIRECT_URI
    assert machine.stop() == 0
    assert (machine.folder / "var/tokens.db").exists()


def refused(machine, *words, **env):
    """Start it where it cannot run; its exit code and its one line."""
    code = machine.start(*words, **env).stop(signal.SIGCONT)
    assert machine.lines == []
    return code, (machine.folder / "stderr").read_text()


def test_a_port_in_use_is_one_clear_line_before_anything_starts(machine):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 8080 + machine.shift))
        other.listen()
        code, said = refused(machine)
    assert code == 1
    assert said.startswith(f"igbot: port {8080 + machine.shift} (gateway) in use. Stop what holds it, or")
    assert said.count("\n") == 1


def test_wrong_settings_are_told_before_a_port_in_use(machine):
    settings = {"REDIRECT_URI": "http://127.0.0.1/elsewhere", "INSTAGRAM_CLIENT_ID": "1"}
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 8080 + machine.shift))
        other.listen()
        code, said = refused(machine, "--logs", **settings)
    assert code == 2
    assert said.count("REDIRECT_URI: must end in /oauth/callback") == said.count("REDIRECT_URI") == 1


def test_a_file_in_the_place_of_var_is_one_clear_line(machine):
    (machine.folder / "var").write_text("")
    code, said = refused(machine)
    assert (code, said) == (1, "igbot: var is a file, but igbot keeps its data there; move it away.\n")


def test_a_lost_keyring_is_not_replaced_by_a_new_one(machine):
    (machine.folder / "var/sandbox").mkdir(parents=True)
    (machine.folder / "var/sandbox/tokens.db").touch()
    code, said = refused(machine)
    assert code == 1
    assert "Restore the keyring from your backup" in said
    assert not (machine.folder / "var/sandbox/keys").exists()


def test_a_valkey_that_cannot_read_its_data_is_told_at_once(machine):
    data = machine.folder / "var/sandbox/valkey"
    data.mkdir(parents=True)
    (data / "appendonly.aof.manifest").write_text("nonsense")
    code = machine.start().stop(signal.SIGCONT)
    said = (machine.folder / "stderr").read_text()
    assert code == 1
    assert "valkey ended with code 1 instead of starting" in said
    assert "Traceback" not in said


def test_all_wrong_settings_are_said_at_once_before_anything_starts(machine):
    code, said = refused(machine, QUIET_SECONDS="soon", SWEEP_SECONDS="-1", CONNECT_OPEN="maybe", TRUST_PROXY="maybe")
    assert code == 2
    for name in ("QUIET_SECONDS", "SWEEP_SECONDS", "TRUST_PROXY"):
        assert name in said
    assert "Traceback" not in said
    assert "maybe" not in said


def test_a_malformed_address_is_a_settings_problem(machine):
    code, said = refused(machine, TOKENS_ADDRESS="nonsense")
    assert code == 2
    assert "TOKENS_ADDRESS" in said


def test_the_real_one_names_all_that_is_missing(machine):
    code, said = refused(machine, "--logs")
    assert code == 2
    for name in ("INSTAGRAM_CLIENT_ID", "INSTAGRAM_CLIENT_SECRET", "APP_SECRET", "REDIRECT_URI", "OPENAI_API_KEY"):
        assert f"  {name}: is missing\n" in said
    assert ".env.example" in said
