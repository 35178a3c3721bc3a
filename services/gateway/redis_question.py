"""The key `gaps-wanted`: there may be messages that the inbox lost, and nobody has looked for them yet."""

from __future__ import annotations

from redis.asyncio import Redis

from services.gateway.redis_stream import gaps_key, ours


class RedisQuestion:
    """A question that outlives the gateway that was to ask it."""

    def __init__(self, client: Redis, prefix: str) -> None:
        """Use the key under this prefix."""
        self.client = client
        self.name = gaps_key(prefix)

    async def keep(self) -> None:
        """Remember that a look is wanted."""
        async with ours():
            await self.client.set(self.name, "1")

    async def is_open(self) -> bool:
        """Whether a look is wanted that nobody has answered for."""
        async with ours():
            return bool(await self.client.exists(self.name))

    async def close(self) -> None:
        """Forget it: there was a look."""
        async with ours():
            await self.client.delete(self.name)
