"""The bed that the gateway's measurements run on: a Valkey, servers on core 0, everything else on core 1."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from rich.progress import track

from tests.ports import free_port
from tests.valkey import ValkeyServer, valkey

ROOT = Path(__file__).parent.parent.parent
RESULTS = ROOT / "bench" / "results"
SECRET = "bench-secret"  # noqa: S105 - of a bench
CLOCK = os.sysconf("SC_CLK_TCK")


@dataclass
class Server:
    """A server under measurement."""

    process: subprocess.Popen[bytes]
    port: int
    ops_port: int = 0
    arguments: tuple[str, ...] = ()

    def processor_seconds(self) -> float:
        """What it has used of a processor so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK


@dataclass
class Bed:
    """Servers and the Redis behind them."""

    redis: ValkeyServer
    log: BinaryIO
    servers: list[Server] = field(default_factory=list)

    def start(self, command: Sequence[str], port: int, *, core: int, more: dict[str, str] | None = None) -> Server:
        """Start a program on a core and wait until it says that it is ready."""
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **(more or {})},
            stdout=subprocess.PIPE,
            preexec_fn=pinned(core),  # noqa: PLW1509 - no threads here
        )
        server = Server(process, port)
        self.servers.append(server)
        assert process.stdout
        for line in process.stdout:
            if b"ready" in line or b"gateway_started" in line:
                # A pipe that nobody reads would stop the server as soon as it is full.
                threading.Thread(target=shutil.copyfileobj, args=(process.stdout, self.log), daemon=True).start()
                return server
        raise RuntimeError(f"{command} did not start")

    def python(self, name: str, *arguments: str, core: int = 0) -> Server:
        """Start one of the Python servers of this folder."""
        port = free_port()
        return self.start([sys.executable, f"bench/servers/{name}.py", str(port), *arguments], port, core=core)

    def gateway(self, redis_url: str = "", **more: str) -> Server:
        """Start our gateway, dispatching to a responder that accepts everything."""
        stand_in = self.python("stand_in", core=1)
        port, ops = free_port(), free_port()
        settings = {
            "REDIS_URL": redis_url or self.redis.url,
            "INSTAGRAM_CLIENT_ID": "1",
            "REDIRECT_URI": f"http://127.0.0.1:{port}/oauth/callback",
            "APP_SECRET": SECRET,
            "WEBHOOK_VERIFY_TOKEN": "bench",
            "RESPONDER_ADDRESS": f"127.0.0.1:{stand_in.port}",
            "LISTEN_ADDRESS": f"127.0.0.1:{port}",
            "OPS_ADDRESS": f"127.0.0.1:{ops}",
            "LOG_LEVEL": "info",
            "DRAIN_SECONDS": "2",
            **more,
        }
        command = [sys.executable, "-c", "from services.gateway.compose import main; main()"]
        server = self.start(command, port, core=0, more=settings)
        server.ops_port = ops
        time.sleep(1.5)  # it takes the lease
        return server

    def express(self) -> Server | None:
        """Start Express 5 with ioredis; None where there is no Node."""
        node, npm = shutil.which("node"), shutil.which("npm")
        if not node or not npm:
            return None
        folder = ROOT / "bench" / "express"
        if not (folder / "node_modules").exists():
            subprocess.run([npm, "install", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True)
        port = free_port()
        return self.start([node, "bench/express/server.js", str(port), self.redis.url, SECRET], port, core=0)

    def load(self, server: Server, *arguments: str) -> dict[str, object]:
        """Load a server from core 1; return what the loader saw, and our processor time a request."""
        before = server.processor_seconds()
        command = [sys.executable, "bench/loader.py", "--port", str(server.port), "--secret", SECRET]
        done = subprocess.run(
            [*command, *server.arguments, *arguments],
            cwd=ROOT,
            check=True,
            capture_output=True,
            preexec_fn=pinned(1),
        )
        found: dict[str, object] = json.loads(done.stdout)
        used = server.processor_seconds() - before
        found["cpu_us"] = round(1e6 * used / max(1, int(str(found["requests"]))), 1)
        return found


def pinned(core: int) -> Callable[[], None] | None:
    """Return what keeps a child on a core, where the system can do that."""
    if not hasattr(os, "sched_setaffinity") or (os.cpu_count() or 1) < 2:
        return None
    return lambda: os.sched_setaffinity(0, {core})


@contextmanager
def bed() -> Iterator[Bed]:
    """A Valkey on core 1 (append-only, fsync always), and servers that are ended with it."""
    folder = Path(tempfile.mkdtemp(prefix="igbot-bench-"))
    keep = pinned(1)
    if keep:
        keep()
    try:
        with valkey(folder) as redis:
            made = Bed(redis, (folder / "servers.log").open("wb", buffering=0))
            try:
                yield made
            finally:
                for server in made.servers:
                    server.process.kill()
                    server.process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def machine() -> str:
    """The machine in one line."""
    model = next(
        (line.partition(":")[2].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),  # noqa: PTH123, SIM115
        platform.machine(),
    )
    return f"{os.cpu_count()} cores of {model}, Python {platform.python_version()}"


def rounds(count: int, what: str) -> Iterator[int]:
    """Count rounds with a progress bar."""
    yield from track(range(count), description=what)


def write(name: str, found: dict[str, object]) -> None:
    """Keep the figures."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({"machine": machine(), **found}, indent=2) + "\n")
