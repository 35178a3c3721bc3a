"""One connection to Redis for the paths that every delivery takes: many commands in one piece, a reply for each.

redis-py says where to connect and hiredis packs and parses; what lies between costs, in redis-py, as much as all else
that a delivery needs. Replies come in the order of the commands, so exchanges may overlap. One that is not answered in
time ends the connection: its reply, when it comes after all, must never be read as another's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import hiredis
from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeout

Command = tuple[Any, ...]
TICKS = 3


class Refused(ResponseError):
    """Redis answers a command with an error; the first word says which."""

    @property
    def word(self) -> str:
        """OOM, NOGROUP, READONLY, LOADING, ..."""
        return str(self).partition(" ")[0]


class Exchange:
    """Commands that were sent, and the replies that have come.

    The deadline counts ticks, not time: where this process gets no processor for a while, what Redis answered meanwhile
    lies unread, and a clock would call that Redis's failure.
    """

    __slots__ = ("done", "left", "replies", "tick", "timer", "wanted")

    def __init__(self, wanted: int, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for so many replies, for so long."""
        self.wanted = wanted
        self.replies: list[Any] = []
        self.done: asyncio.Future[list[Any]] = loop.create_future()
        self.tick = seconds / TICKS
        self.left = TICKS
        self.timer = loop.call_later(self.tick, self.count, loop)

    def count(self, loop: asyncio.AbstractEventLoop) -> None:
        """Count one tick; after the last one it is over."""
        self.left -= 1
        if self.left:
            self.timer = loop.call_later(self.tick, self.count, loop)
        else:
            self.end(RedisTimeout("Redis does not answer"))

    def end(self, error: Exception | None = None) -> None:
        """Tell whoever waits."""
        self.timer.cancel()
        if self.done.done():
            return
        if error:
            self.done.set_exception(error)
        else:
            self.done.set_result(self.replies)


class Line(asyncio.Protocol):
    """The connection: writes commands, sorts replies to their exchanges."""

    def __init__(self) -> None:
        """Wait for the connection."""
        self.reader = hiredis.Reader(replyError=Refused)
        self.loop: asyncio.AbstractEventLoop
        self.transport: asyncio.Transport | None = None
        self.under_way: deque[Exchange] = deque()

    @property
    def open(self) -> bool:
        """Whether commands may be sent."""
        return self.transport is not None and not self.transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, and the loop: asking for it anew is a system call."""
        self.loop = asyncio.get_running_loop()
        self.transport = cast("asyncio.Transport", transport)

    def send(self, commands: Sequence[Command], seconds: float) -> Exchange:
        """Send commands; the exchange is done when all of them are answered."""
        if self.transport is None:
            raise RedisConnectionError("not connected")
        exchange = Exchange(len(commands), seconds, self.loop)
        self.under_way.append(exchange)
        self.transport.write(b"".join([hiredis.pack_command(command) for command in commands]))
        return exchange

    def data_received(self, data: bytes) -> None:
        """Give each reply to the oldest exchange that waits for one."""
        try:
            self.reader.feed(data)
            while (reply := self.reader.gets()) is not False:
                exchange = self.under_way[0]
                exchange.replies.append(reply)
                if len(exchange.replies) == exchange.wanted:
                    self.under_way.popleft().end()
        except (hiredis.HiredisError, IndexError):
            self.drop()  # this is not Redis, or answers what nobody asked

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits."""
        self.transport = None
        while self.under_way:
            self.under_way.popleft().end(RedisConnectionError(f"the connection was lost: {type(exc).__name__}"))

    def drop(self) -> None:
        """End the connection at once."""
        if self.transport is not None:
            self.transport.abort()


class Wire:
    """Exchanges commands for replies, over a new connection whenever the last one is gone."""

    def __init__(self, pool: ConnectionPool) -> None:
        """Connect where `pool` would, when the first commands come."""
        self.pool = pool
        self.line = Line()
        self.connecting = asyncio.Lock()

    async def exchange(self, commands: Sequence[Command], seconds: float) -> list[Any]:
        """Return a reply, or Refused, for each command; raises RedisError or OSError without one in time."""
        if not self.line.open:
            await self.connect(seconds)
        line = self.line
        try:
            replies = await line.send(commands, seconds).done
        except RedisTimeout:
            line.drop()
            raise
        if any(type(reply) is Refused and reply.word == "READONLY" for reply in replies):
            line.drop()  # a fail-over left us with a replica: ask the address anew
        return replies

    async def connect(self, seconds: float) -> None:
        """Connect and introduce ourselves."""
        async with self.connecting:
            if self.line.open:
                return
            try:
                async with asyncio.timeout(seconds):
                    line = await self.open_line()
            except TimeoutError as error:
                raise RedisTimeout("Redis does not take the connection") from error
            with contextlib.ExitStack() as undo:
                undo.callback(line.drop)
                for reply in await line.send(self.greeting(), seconds).done:
                    if isinstance(reply, Refused):
                        raise reply
                undo.pop_all()
            self.line = line

    async def open_line(self) -> Line:
        """Open the connection that the pool's address means."""
        loop, place = asyncio.get_running_loop(), self.place
        if hasattr(place, "path"):
            return (await loop.create_unix_connection(Line, place.path))[1]
        tls = place.ssl_context.get() if hasattr(place, "ssl_context") else None
        return (await loop.create_connection(Line, place.host, int(place.port), ssl=tls))[1]

    def greeting(self) -> list[Command]:
        """The commands that begin a connection."""
        place = self.place
        name = (place.username,) if place.username else ()
        commands: list[Command] = [("AUTH", *name, place.password)] if place.password else []
        if place.db:
            commands.append(("SELECT", str(place.db)))
        return [*commands, ("CLIENT", "SETNAME", "igbot-gateway")]

    @property
    def place(self) -> Any:
        """A connection of redis-py that is never connected: it knows host, credentials and TLS."""
        return self.pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py has no types here

    async def disconnect(self) -> None:
        """End the connection."""
        self.line.drop()
