"""The stream `dead`: what was put aside, for people to look at. The dispatcher's script adds to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from redis.asyncio import Redis

from services.gateway.redis_stream import ours

PAGE = 200
Fields = dict[bytes, bytes]


class RedisDeadLetters:
    """Deletes dead letters whose words must not stay."""

    def __init__(self, client: Redis, prefix: str) -> None:
        """Use the stream under this prefix."""
        self.client = client
        self.name = f"{prefix}dead"

    async def scrub(self, mids: Sequence[str]) -> None:
        """Delete every dead letter that holds one of these messages: they were taken back."""
        wanted = {mid.encode() for mid in mids if mid}
        await self.delete(lambda fields: any(mid in fields.get(b"body", b"") for mid in wanted))

    async def erase(self, accounts: Sequence[str]) -> None:
        """Delete every dead letter of these accounts, also where their id is only in the body."""
        wanted = {account.encode() for account in accounts if account}
        await self.delete(
            lambda fields: fields.get(b"account") in wanted or any(one in fields.get(b"body", b"") for one in wanted)
        )

    async def trim(self, keep_ms: int) -> None:
        """Delete what is older, by Redis's own clock, which made the ids: no other clock may empty the stream."""
        async with ours():
            seconds, microseconds = await self.client.time()
            oldest = seconds * 1000 + microseconds // 1000 - keep_ms
            await self.client.xtrim(self.name, minid=f"{max(0, oldest)}-0", approximate=False)

    async def delete(self, unwanted: Callable[[Fields], bool]) -> None:
        """Delete the dead letters that the rule picks."""
        async with ours():
            async for page in self.pages():
                ids = [entry_id for entry_id, fields in page if unwanted(fields)]
                if ids:
                    await self.client.xdel(self.name, *ids)

    async def pages(self) -> AsyncIterator[list[tuple[bytes, Fields]]]:
        """Yield the dead letters, oldest first."""
        start = "-"
        while True:
            page: Any = await self.client.xrange(self.name, start, "+", count=PAGE)
            yield page
            if len(page) < PAGE:
                return
            start = f"({page[-1][0].decode()}"
