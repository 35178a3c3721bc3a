"""Work that is finished though whoever began it is gone: a code is spent once, a refreshed token given once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")


class Unfinished:
    """What has been begun and not finished."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.tasks: set[asyncio.Future[Any]] = set()

    async def run(self, work: Awaitable[T]) -> T:
        """Do the work; when the caller is cancelled it goes on by itself."""
        return await asyncio.shield(self.begin(work))

    def begin(self, work: Awaitable[T]) -> asyncio.Future[T]:
        """Do the work by itself. Whoever waits for it shields it."""
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Future[Any]) -> None:
        self.tasks.discard(task)
        looked_at(task)

    async def finish(self, seconds: float | None = None) -> None:
        """Wait for all of it, so long at most."""
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=seconds)


def looked_at(future: asyncio.Future[Any]) -> None:
    """Look at how a future ended: whoever waits for it may be gone, and it would count as forgotten."""
    if not future.cancelled():
        future.exception()
