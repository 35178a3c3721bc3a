"""OAuth states, invitations and wrong passwords in Redis, so that any replica can answer any request."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from services.common.errors import BadState
from services.gateway.ports import Spent
from services.gateway.redis_stream import ours
from services.gateway.secret_words import digest
from services.gateway.times import Times

SPEND = """
local browser = redis.call('HGET', KEYS[1], 'browser')
if not browser then return {'missing'} end
if browser ~= ARGV[1] then return {'foreign'} end
local invite = redis.call('HGET', KEYS[1], 'invite') or ''
if redis.call('HGET', KEYS[1], 'stage') == 'new' then
  redis.call('HSET', KEYS[1], 'stage', 'spent')
  return {'first', invite}
end
return {'again', invite}
"""
# Only a state that is still there is settled: a key made anew would live for ever.
SETTLE = """
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'outcome', ARGV[1]) end
return 1
"""
CLAIM = """
local owner = redis.call('GET', KEYS[1])
if not owner then return 0 end
if owner == '' then redis.call('SET', KEYS[1], ARGV[1], 'KEEPTTL') owner = ARGV[1] end
if owner == ARGV[1] then return redis.call('PTTL', KEYS[1]) end
return 0
"""
# The invitation itself stays until its account is connected: this reply may be lost, or who asked may die.
TAKE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[2]) then return 1 end
return 0
"""
TAKEN_MS = 120_000  # longer than an account takes to be connected
# One step: between a look and a count, requests that come side by side would all be within the limit.
COUNT = """
local before = tonumber(redis.call('GET', KEYS[1]) or 0)
if ARGV[1] == '1' then
  redis.call('INCR', KEYS[1])
  if before == 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
end
return before
"""


class RedisStates:
    """OAuth states."""

    def __init__(self, client: Redis, prefix: str, times: Times) -> None:
        """Keep each under its own key."""
        self.client = client
        self.prefix = f"{prefix}oauth:"
        self.milliseconds = int(times.state * 1000)
        self.spend_script = client.register_script(SPEND)
        self.settle_script = client.register_script(SETTLE)

    async def begin(self, nonce: str, browser: str, invite: str) -> None:
        """Remember a state, the digest of its browser's secret, and the invitation that it came with."""
        key = self.prefix + digest(nonce)
        async with ours(), self.client.pipeline(transaction=True) as both:
            both.hset(key, mapping={"browser": browser, "stage": "new", "invite": invite})
            both.pexpire(key, self.milliseconds)
            await both.execute()

    async def spend(self, nonce: str, browser: str) -> Spent:
        """Spend a state; raises BadState when it is unknown, expired or another browser's."""
        async with ours():
            found: list[bytes] = await self.spend_script(keys=[self.prefix + digest(nonce)], args=[browser])
        word, *invite = (part.decode() for part in found)
        if not invite:
            raise BadState(word)
        return Spent(word == "first", *invite)

    async def settle(self, nonce: str, outcome: str) -> None:
        """Keep what came of it for a second callback."""
        async with ours():
            await self.settle_script(keys=[self.prefix + digest(nonce)], args=[outcome])

    async def outcome(self, nonce: str) -> str | None:
        """Return what came of it, None while that is not known."""
        async with ours():
            found: Any = await self.client.hget(self.prefix + digest(nonce), "outcome")
        return found.decode() if found else None


class RedisDoorkeeper:
    """Invitations and wrong passwords."""

    def __init__(self, client: Redis, prefix: str, times: Times) -> None:
        """Keep each under its own key."""
        self.client = client
        self.prefix = prefix
        self.lock_out = int(times.lock_out * 1000)
        self.count_script = client.register_script(COUNT)
        self.claim_script = client.register_script(CLAIM)
        self.take_script = client.register_script(TAKE)

    async def wrong_tries(self, address: str, *, another: bool) -> int:
        """Return how many wrong passwords came from an address in the last minute, before `another` that is counted."""
        key, args = f"{self.prefix}wrong:{digest(address)}", [int(another), self.lock_out]
        async with ours():
            return int(await self.count_script(keys=[key], args=args))

    async def claim(self, invite: str, browser: str) -> float | None:
        """Return for how many seconds an invitation (by its digest) is good for this browser, None when it is not.

        The first browser makes it its own.
        """
        async with ours():
            left = int(await self.claim_script(keys=[self.invite_key(invite)], args=[browser]))
        return left / 1000 if left > 0 else None

    async def take(self, invite: str, browser: str) -> bool:
        """Take an invitation that is this browser's, so that nobody else can for two minutes; say whether that went."""
        keys = [self.invite_key(invite), self.taken_key(invite)]
        async with ours():
            return bool(await self.take_script(keys=keys, args=[browser, TAKEN_MS]))

    async def give_back(self, invite: str) -> None:
        """Make an invitation good again: no account was connected with it."""
        async with ours():
            await self.client.delete(self.taken_key(invite))

    async def spend(self, invite: str) -> None:
        """End an invitation: its account is connected."""
        async with ours():
            await self.client.delete(self.invite_key(invite), self.taken_key(invite))

    def invite_key(self, invite: str) -> str:
        """Return the key of an invitation, which holds its browser once that is known."""
        return f"{self.prefix}invite:{invite}"

    def taken_key(self, invite: str) -> str:
        """Return the key that is there while an account is being connected with an invitation."""
        return f"{self.prefix}invite-taken:{invite}"
