"""Keeps the children of one machine running, and ends them in order."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

from services.cli.problem import Code, Problem
from services.cli.up.children import RESTARTS, Running
from services.cli.up.plan import STOP_ORDER, Child
from services.cli.up.screen import Screen
from services.common import life

SETTINGS_PROBLEM = 2
RESTART_SECONDS = 0.5


class Supervisor:
    """Starts children, restarts dead ones, stops all."""

    def __init__(self, *, lock: int, logs: Path | None, stop_seconds: float, screen: Screen) -> None:
        """Open the pipe whose end tells the children that we are gone."""
        self.reading_end, self.writing_end = os.pipe()
        self.lock = lock
        self.logs = logs
        self.stop_seconds = stop_seconds
        self.screen = screen
        self.children: dict[str, Running] = {}
        self.stopping = asyncio.Event()
        self.hurry = asyncio.Event()

    def listen_for_signals(self) -> None:
        """The first signal stops everything in order, a second one at once.

        SIGHUP stays ignored under nohup. SIGINT does not, though a shell lets what it starts with & ignore it.
        """
        loop = asyncio.get_running_loop()
        heard = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            heard.append(signal.SIGHUP)
        for number in heard:
            loop.add_signal_handler(number, self.signalled)

    def signalled(self) -> None:
        """Take one signal."""
        (self.hurry if self.stopping.is_set() else self.stopping).set()

    async def start(self, child: Child) -> None:
        """Start one child."""
        running = Running(child, lifeline=self.reading_end, lock=self.lock, logs=self.logs)
        self.children[child.name] = running
        await running.start()

    async def unless_it_ends(self, name: str, awaited: Coroutine[None, None, None]) -> None:
        """Await something that a child makes true, or a signal. Raises Problem when the child ends instead."""
        running = self.children[name]
        task, ended = asyncio.ensure_future(awaited), asyncio.ensure_future(running.wait())
        stop = asyncio.ensure_future(self.stopping.wait())
        try:
            await asyncio.wait({task, ended, stop}, return_when=asyncio.FIRST_COMPLETED)
            if self.stopping.is_set():
                return
            if not task.done():
                raise Problem(_epitaph(running, f"{name} ended {_how(ended.result())} instead of starting"))
            task.result()
        finally:
            await life.cancel((task, ended, stop))

    async def until_stopped(self, ready: Callable[[], Awaitable[None]]) -> None:
        """Keep all children until a signal comes. Raises Problem when one cannot be kept."""
        work = [asyncio.create_task(self._keep(running)) for running in self.children.values()]
        greeting = asyncio.ensure_future(ready())
        stop = asyncio.create_task(self.stopping.wait())
        try:
            while not stop.done():
                pending = {task for task in (*work, greeting, stop) if not task.done()}
                done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            await life.cancel((*work, greeting, stop))

    async def stop(self) -> None:
        """End all children, each after those that lean on it."""
        self.stopping.set()
        for name in [*STOP_ORDER, *(set(self.children) - set(STOP_ORDER))]:
            running = self.children.get(name)
            if running and not await running.stop(within=self.stop_seconds, hurry=self._hurry_for(name)):
                self.screen.say(f"{name} did not stop in time and was ended")

    def _hurry_for(self, name: str) -> asyncio.Event:
        """Valkey is never rushed: it ends within a moment, and with everything on disk."""
        return asyncio.Event() if name == "valkey" else self.hurry

    async def _keep(self, running: Running) -> None:
        name = running.child.name
        while True:
            code = await running.wait()
            if self.stopping.is_set():
                return
            if code == SETTINGS_PROBLEM:
                raise Problem(_epitaph(running, f"{name} did not like its settings"), Code.USAGE)
            if not running.restarts.allow(time.monotonic()):
                raise Problem(_epitaph(running, f"{name} ended {RESTARTS + 1} times within a minute, so this stops"))
            self.screen.say(f"{name} ended {_how(code)}; starting it again")
            await asyncio.sleep(RESTART_SECONDS)
            if self.stopping.is_set():
                return
            await running.start()


def _how(code: int) -> str:
    return f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"


def _epitaph(running: Running, line: str) -> str:
    """The line, with what the child wrote last and where the rest is."""
    words = [f"  {word}" for word in running.last_words()]
    if not words:
        return f"{line}; see its lines above."
    return "\n".join([f"{line}; it wrote last ({running.log}):", *words])
