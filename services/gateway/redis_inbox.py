"""Keeping deliveries in the Redis stream `inbox`: bodies that come together share one round trip.

redis-py's client is not used for writing, since it would send a lost command again (one delivery became four entries)
and wait for most of a minute on a Redis that does not answer. One connection, one batch at a time, one deadline; what
fails is answered 503, and Instagram sends it again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import structlog
from redis.exceptions import RedisError

from services.common.errors import Unavailable
from services.gateway.ports import InboxFull
from services.gateway.times import Times
from services.gateway.wire import Command, Refused, Wire

log = structlog.get_logger(__name__)

MOST_ENTRIES = 256
MOST_BYTES = 8 << 20

Waiting = tuple[bytes, str, asyncio.Future[None]]


class RedisInbox:
    """Writes bodies into the stream; `full` is set from outside while Redis is too full to take more."""

    def __init__(self, wire: Wire, stream: str, times: Times, now_ms: Callable[[], int]) -> None:
        """Write over a wire of its own; a body is safe in time or refused."""
        self.wire = wire
        self.stream = stream.encode()
        self.times = times
        self.failed = False
        self.now_ms = now_ms
        self.full = False
        self.closing = False
        self.last_id = ""
        self.waiting: deque[Waiting] = deque()
        self.wake = asyncio.Event()
        self.quiet = asyncio.Event()
        self.quiet.set()
        self.loop: asyncio.AbstractEventLoop
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        self.loop = asyncio.get_running_loop()  # asking anew for each delivery is a system call each
        self.task = asyncio.create_task(self.run())

    def keep(self, body: bytes, request: str) -> asyncio.Future[None]:
        """Return a future that is done when the body is safe; InboxFull or Unavailable when it is not."""
        future = self.loop.create_future()
        if self.full:
            future.set_exception(InboxFull("the inbox is full"))
        else:
            self.waiting.append((body, request, future))
            self.wake.set()
            self.quiet.clear()
        return future

    async def run(self) -> None:
        """Write what waits, batch after batch; while one is under way the next one gathers."""
        while not self.closing:
            await self.wake.wait()
            self.wake.clear()
            while self.waiting:
                await self.write(self.take())
            self.quiet.set()

    def take(self) -> list[Waiting]:
        """Take a batch of what waits."""
        batch: list[Waiting] = []
        size = 0
        while self.waiting and len(batch) < MOST_ENTRIES and size < MOST_BYTES:
            batch.append(self.waiting.popleft())
            size += len(batch[-1][0])
        return batch

    async def write(self, batch: list[Waiting]) -> None:
        """Write one batch and tell each body's owner."""
        at = str(self.now_ms())
        commands: list[Command] = [
            ("XADD", self.stream, "*", "body", body, "at", at, "request", request) for body, request, _ in batch
        ]
        try:
            replies = await self.wire.exchange(commands, self.times.keep_again if self.failed else self.times.keep)
        except Exception as error:  # this loop must live: without it every delivery would wait for ever
            self.failed = True
            # Those that came meanwhile have waited for the same Redis: they do not wait for it twice.
            batch += self.waiting
            self.waiting.clear()
            unforeseen = not isinstance(error, RedisError | OSError)
            log.warning("inbox_write_failed", error=type(error).__name__, deliveries=len(batch), exc_info=unforeseen)
            for *_, future in batch:
                refuse(future, Unavailable("Redis does not answer"))
            return
        self.failed = False
        for (*_, future), reply in zip(batch, replies, strict=True):
            self.tell(future, reply)

    def tell(self, future: asyncio.Future[None], reply: Any) -> None:
        """Tell the owner of a body what Redis said."""
        if type(reply) is bytes:
            self.last_id = reply.decode()
            if not future.done():
                future.set_result(None)
        elif isinstance(reply, Refused) and reply.word == "OOM":
            refuse(future, InboxFull("Redis is full"))
        else:
            log.warning("inbox_write_refused", error=str(reply))
            refuse(future, Unavailable("Redis refuses to write"))

    async def close(self) -> None:
        """Write what waits, then stop."""
        self.closing = True
        self.wake.set()
        if self.task:
            await self.task
        await self.wire.disconnect()


def refuse(future: asyncio.Future[None], error: Exception) -> None:
    """Fail a future that nobody may be waiting for any more."""
    if not future.done():
        future.set_exception(error)
        future.exception()
