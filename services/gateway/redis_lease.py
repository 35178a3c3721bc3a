"""The lease that makes one gateway's dispatcher the active one."""

from __future__ import annotations

import secrets

from redis.asyncio import Redis

from services.gateway.redis_stream import ours

# Both may run on a full Redis: a lease that cannot be taken would keep it full for ever.
TAKE = """#!lua flags=allow-oom
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
RELEASE = """#!lua flags=allow-oom
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


class RedisLease:
    """A key with a token of our own that runs out by itself."""

    def __init__(self, client: Redis, prefix: str, seconds: float) -> None:
        """Make a token that no other process has."""
        self.key = f"{prefix}dispatcher"
        self.token = secrets.token_hex(16)
        self.milliseconds = max(1, int(seconds * 1000))
        self.take_script = client.register_script(TAKE)
        self.release_script = client.register_script(RELEASE)

    async def take(self) -> bool:
        """Take or renew the lease; say whether it is ours now."""
        async with ours():
            return bool(await self.take_script(keys=[self.key], args=[self.token, self.milliseconds]))

    async def release(self) -> None:
        """Give it up if it is ours."""
        async with ours():
            await self.release_script(keys=[self.key], args=[self.token])
