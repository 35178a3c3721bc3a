"""`igbot tokens` in its own process, as an operator starts it."""

import asyncio
import base64
import os
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import grpc.aio

from services.common.pb import tokens_pb2_grpc
from tests.ports import free_port

CALLBACK = "https://bot.example/oauth/callback"


class TokensProcess:
    """One service process; may be killed and started again on the same ports and data."""

    def __init__(self, folder: Path, meta_url: str, **settings: str) -> None:
        self.folder = folder
        self.port, self.ops = free_port(), free_port()
        self.keys = folder / "keys"
        self.keys.mkdir(parents=True, exist_ok=True)
        if not any(self.keys.iterdir()):
            (self.keys / "2026-01").write_text(base64.b64encode(os.urandom(32)).decode())
        self.settings = {
            "PATH": os.environ["PATH"],
            "INSTAGRAM_CLIENT_ID": "1000000000000001",
            "INSTAGRAM_CLIENT_SECRET": "canary-client-secret",
            "REDIRECT_URI": CALLBACK,
            "DATABASE_URL": f"sqlite:///{folder / 'var'}",
            "TOKEN_KEYS_DIR": str(self.keys),
            "GRAPH_URL": meta_url,
            "INSTAGRAM_TOKEN_URL": f"{meta_url}/oauth/access_token",
            "LISTEN_ADDRESS": f"127.0.0.1:{self.port}",
            "OPS_ADDRESS": f"127.0.0.1:{self.ops}",
            "SWEEP_SECONDS": "0.2",
            "LOG_LEVEL": "debug",
            **settings,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.channel: grpc.aio.Channel | None = None

    @property
    def log(self) -> str:
        """Everything it printed."""
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, "-m", "services.cli.main", "tokens"]
            self.process = subprocess.Popen(command, env=self.settings, stdout=log, stderr=log)

    async def ready(self, seconds: float = 30) -> None:
        """Return when /readyz says so."""
        for _ in range(int(seconds / 0.1)):
            status, _ = await self.get("/readyz")
            if status == 200:
                return
            assert self.process
            assert self.process.poll() is None, self.log
            await asyncio.sleep(0.1)
        raise AssertionError(self.log)

    async def get(self, path: str) -> tuple[int, str]:
        """Ask the ops port; 0 when nobody listens, or it hung up without an answer."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.ops)
            writer.write(f"GET {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
            answer = (await reader.read()).decode()
        except OSError:
            return 0, ""
        writer.close()
        return (int(answer.split()[1]) if answer else 0), answer

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End it in peace; its exit code."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Its exit code, when it ends by itself."""
        assert self.process
        return self.process.wait(30)

    @property
    def stub(self) -> tokens_pb2_grpc.TokensStub:
        """A stub that waits for a service which is about to come."""
        if self.channel is None:
            options = [("grpc.max_reconnect_backoff_ms", 200), ("grpc.initial_reconnect_backoff_ms", 100)]
            self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", options=options)
        return tokens_pb2_grpc.TokensStub(self.channel)

    async def end(self) -> None:
        """Close and kill."""
        if self.channel:
            await self.channel.close()
        if self.process and self.process.poll() is None:
            self.kill()
