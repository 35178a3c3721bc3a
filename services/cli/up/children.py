"""One child process: started, watched, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections import deque
from pathlib import Path

from services.cli.lifeline import VARIABLE
from services.cli.up.plan import Child

RESTARTS = 5
RESTART_WINDOW_SECONDS = 60.0
LOG_BYTES = 20 * 1024 * 1024


class Restarts:
    """Five a minute; a child that needs more has something that a restart does not mend."""

    def __init__(self) -> None:
        """Start with none."""
        self.times: deque[float] = deque()

    def allow(self, now: float) -> bool:
        """Count one more at `now` (seconds) unless the last minute has had its share."""
        while self.times and self.times[0] <= now - RESTART_WINDOW_SECONDS:
            self.times.popleft()
        if len(self.times) >= RESTARTS:
            return False
        self.times.append(now)
        return True


class Running:
    """A child as a process. It has a session of its own: Ctrl-C reaches the parent alone, which keeps the order."""

    def __init__(self, child: Child, *, lifeline: int, lock: int, logs: Path | None) -> None:
        """Start nothing yet. `logs` is the folder for its output; None: our standard error."""
        self.child = child
        self.lifeline = lifeline
        self.lock = lock
        self.log = logs / f"{child.name}.log" if logs else None
        self.restarts = Restarts()
        self.process: Process | None = None

    async def start(self) -> None:
        """Start it, again if it ran before."""
        output = self._output()
        try:
            self.process = await asyncio.create_subprocess_exec(
                *self.child.command,
                env={**self.child.env, VARIABLE: str(self.lifeline)},
                stdin=PIPE if self.child.stdin else asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(self.lifeline, self.lock),
                start_new_session=True,
            )
        finally:
            if output != 2:
                os.close(output)
        await self._feed()

    async def wait(self) -> int:
        """Its exit code, once it has ended; what it may have started has ended then as well."""
        if self.process is None:
            return 0
        code = await self.process.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        return code

    async def stop(self, *, within: float, hurry: asyncio.Event) -> bool:
        """Ask it to end; after `within` seconds, or when told to hurry, end it. Says whether it ended by itself."""
        if self.process is None or self.process.returncode is not None:
            return True
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        ended = asyncio.ensure_future(self.wait())
        rushed = asyncio.ensure_future(hurry.wait())
        await asyncio.wait({ended, rushed}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        rushed.cancel()
        if ended.done():
            return True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await ended
        return False

    def last_words(self) -> list[str]:
        """The last lines of its log file, to show why it ended."""
        if self.log is None or not self.log.exists():
            return []
        return self.log.read_text(errors="replace").splitlines()[-4:]

    def _output(self) -> int:
        if self.log is None:
            return 2
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        return os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def _feed(self) -> None:
        stdin = self.process.stdin if self.process else None
        if stdin is None:
            return
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            stdin.write(self.child.stdin)
            await stdin.drain()
        stdin.close()
