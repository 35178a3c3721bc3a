"""The stream `inbox` as the active dispatcher reads it, with the stream `dead` beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.exceptions import RedisError, ResponseError

from services.common.errors import Unavailable
from services.gateway.ports import DeadLetter, Entry, Finished, GroupLost
from services.gateway.wire import Command, Wire

GROUP = "igbot"
CONSUMER = "dispatcher"
# One atomic step for an entry that leaves dead letters: whoever acknowledges it writes them, nobody else. It may use
# memory beyond maxmemory, since it frees as much as it takes.
FINISH = """#!lua flags=allow-oom
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
for i = 3, #ARGV, 7 do
  redis.call('XADD', KEYS[2], '*', 'reason', ARGV[i], 'source', ARGV[i+1], 'at', ARGV[i+2], 'account', ARGV[i+3],
    'person', ARGV[i+4], 'mids', ARGV[i+5], 'body', ARGV[i+6])
end
return redis.call('XDEL', KEYS[1], ARGV[2])
"""
FINISH_PLAIN = """#!lua flags=allow-oom
redis.call('XACK', KEYS[1], unpack(ARGV))
return redis.call('XDEL', KEYS[1], unpack(ARGV, 2))
"""
# Also asked by a dispatcher that finds Redis full, when the plain command is refused before it looks for the group. A
# group that was missing is a reason to look for lost messages, whether or not this reply arrives.
CREATE = """#!lua flags=allow-oom
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if not made.err then
  redis.call('SET', KEYS[2], '1')
  return 1
end
if string.find(made.err, 'BUSYGROUP') then return 0 end
return made
"""
MOST_IDS = 1000  # Lua's stack takes some thousands


class RedisStream:
    """Reads over one connection and writes over another: a blocking read keeps its connection to itself."""

    def __init__(self, reader: Wire, writer: Wire, prefix: str, seconds: float) -> None:
        """Use the stream and the dead letters under this prefix; Redis answers within `seconds`."""
        self.reader = reader
        self.writer = writer
        self.inbox = f"{prefix}inbox"
        self.dead = f"{prefix}dead"
        self.gaps = gaps_key(prefix)
        self.seconds = seconds

    async def fresh(self, count: int, wait: float, finished: Sequence[Finished] = ()) -> list[Entry]:
        """Return new entries, after at most `wait` seconds; they are pending from now on. First finish deliveries."""
        block = max(1, int(wait * 1000))
        read = ("XREADGROUP", "GROUP", GROUP, CONSUMER, "COUNT", count, "BLOCK", block, "STREAMS", self.inbox, ">")
        async with ours():
            replies = await self.reader.exchange([*self.finishing(finished), read], wait + self.seconds)
            for reply in replies:
                raise_error(reply)
        return [entry(*row) for _, rows in replies[-1] or [] for row in rows]

    async def pending(self, after: str, count: int) -> list[str]:
        """Return ids of entries that were read and not finished, from the oldest after `after`."""
        start = f"({after}" if after else "-"
        rows = await self.command("XPENDING", self.inbox, GROUP, start, "+", count, CONSUMER)
        return [row[0].decode() for row in rows]

    async def fetch(self, ids: Sequence[str]) -> list[Entry]:
        """Return the entries of these ids that are still there."""
        async with ours():
            pages = await self.writer.exchange([("XRANGE", self.inbox, one, one) for one in ids], self.seconds)
            for page in pages:
                raise_error(page)
        return [entry(*row) for page in pages for row in page]

    async def drop_pending(self, ids: Sequence[str]) -> None:
        """Acknowledge entries that are pending and no longer there."""
        await self.command("XACK", self.inbox, GROUP, *ids)

    async def finish(self, finished: Sequence[Finished]) -> None:
        """Put dead letters aside, acknowledge and delete, all or nothing for each delivery."""
        for command in self.finishing([one for one in finished if not one.dead]):
            await self.command(*command)
        for one in finished:
            if one.dead:
                fields = [field for letter in one.dead for field in dead_fields(letter)]
                await self.command("EVAL", FINISH, 2, self.inbox, self.dead, GROUP, one.id, *fields)

    def finishing(self, plain: Sequence[Finished]) -> list[Command]:
        """Return the commands that finish deliveries without dead letters."""
        pages = [plain[start : start + MOST_IDS] for start in range(0, len(plain), MOST_IDS)]
        return [("EVAL", FINISH_PLAIN, 1, self.inbox, GROUP, *(one.id for one in page)) for page in pages]

    async def create(self) -> bool:
        """Make the group from the stream's first entry on; say whether it was missing, and remember that it was."""
        return bool(await self.command("EVAL", CREATE, 2, self.inbox, self.gaps, GROUP))

    async def command(self, *words: str | bytes | int) -> Any:
        """Return the reply to one command."""
        async with ours():
            (reply,) = await self.writer.exchange([words], self.seconds)
            raise_error(reply)
        return reply


def gaps_key(prefix: str) -> str:
    """Return the key that is there while a look for lost messages is wanted."""
    return f"{prefix}gaps-wanted"


def raise_error(reply: Any) -> None:
    """Raise a reply that is an error."""
    if isinstance(reply, ResponseError):
        raise reply


@asynccontextmanager
async def ours() -> AsyncIterator[None]:
    """Turn redis-py's errors into ours."""
    try:
        yield
    except ResponseError as error:
        if str(error).startswith(("NOGROUP", "UNBLOCKED")):
            raise GroupLost("the inbox or its group was deleted") from error
        raise Unavailable(f"Redis refuses: {str(error).partition(' ')[0]}") from error
    except (RedisError, OSError, RuntimeError) as error:  # RuntimeError: uvloop's word for a transport that was reset
        raise Unavailable("Redis does not answer") from error


def entry(entry_id: bytes, fields: list[bytes] | None) -> Entry:
    """Make an entry of what Redis keeps; its id tells the time, and is what follows it, where a field is missing."""
    words = fields or []
    found = dict(zip(words[::2], words[1::2], strict=True))
    at = found.get(b"at", b"")
    name = entry_id.decode()
    request = found.get(b"request")
    return Entry(
        name,
        int(at) if at.isdigit() else int(name.partition("-")[0]),
        found.get(b"body", b""),
        request.decode(errors="replace") if request else name,
    )


def dead_fields(letter: DeadLetter) -> list[str | bytes]:
    """Return a dead letter's fields in the script's order."""
    at = str(letter.at_ms)
    return [letter.reason, letter.source, at, letter.account, letter.person, ",".join(letter.mids), letter.body]
