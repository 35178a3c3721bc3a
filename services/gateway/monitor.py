"""Looking at Redis: is it reachable, has it room, is it set to lose nothing, has it lost anything, what waits in it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from services.common.errors import Unavailable
from services.common.metrics import Dependency
from services.common.ops import Health
from services.gateway.gaps import Gaps
from services.gateway.metrics import GatewayMetrics, InboxLoss
from services.gateway.redis_inbox import RedisInbox
from services.gateway.redis_stream import ours
from services.gateway.tenure import rest
from services.gateway.times import Times

log = structlog.get_logger(__name__)

FULL = 0.9
# Only ids come back: an entry may be four megabytes.
LOOK = """
local last = ''
local first = ''
if redis.call('EXISTS', KEYS[1]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do if info[i] == 'last-generated-id' then last = info[i + 1] end end
  local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
  if oldest[1] then first = oldest[1][1] end
end
return {redis.call('XLEN', KEYS[1]), first, last, redis.call('XLEN', KEYS[2]), redis.call('XLEN', KEYS[3])}
"""


class Monitor:
    """Looks each second at what changes, each minute at what is set."""

    def __init__(
        self,
        clients: Sequence[Redis],
        prefix: str,
        inbox: RedisInbox,
        gaps: Gaps,
        metrics: GatewayMetrics,
        health: Health,
        times: Times,
        now_ms: Callable[[], int],
    ) -> None:
        """Look through the first client; after a fail-over all of them must connect anew."""
        self.clients = clients
        self.client = clients[0]
        self.keys = [f"{prefix}inbox", f"{prefix}dead", f"{prefix}tasks"]
        self.inbox = inbox
        self.gaps = gaps
        self.metrics = metrics
        self.health = health
        self.times = times
        self.now_ms = now_ms
        self.inspected = float("-inf")
        self.history = ""  # Redis's name for the writes that it continues
        self.script = self.client.register_script(LOOK)
        self.stopping = asyncio.Event()

    async def run(self) -> None:
        """Look until told to stop."""
        while not self.stopping.is_set():
            try:
                await self.look()
            except Unavailable as error:
                self.health.report(Dependency.REDIS, up=False, why=str(error))
            else:
                self.health.report(Dependency.REDIS, up=True)
            await rest(self.times.watch, self.stopping)

    def stop(self) -> None:
        """End `run`."""
        self.stopping.set()

    async def look(self) -> None:
        """Look once."""
        async with ours():
            replication: Any = await self.client.info("replication")
            if replication.get("role") not in {"master", None}:
                await self.leave_replica()
            memory: Any = await self.client.info("memory")
            known = self.inbox.last_id
            length, first, last, dead, tasks = await self.script(keys=self.keys)
        self.weigh(int(memory.get("used_memory", 0)), int(memory.get("maxmemory", 0)))
        self.metrics.inbox_entries.set(length)
        self.metrics.inbox_oldest.set(max(0.0, (self.now_ms() - place(first)[0]) / 1000) if first else 0)
        self.metrics.dead_letters.set(dead)
        self.metrics.tasks.set(tasks)
        failed_over = self.follow(str(replication.get("master_replid", "")), str(replication.get("master_replid2", "")))
        if place(last) < place(known.encode()):
            self.inbox.last_id = ""
            self.gaps.alarm(InboxLoss.ENTRIES)
        elif failed_over:
            self.gaps.alarm(InboxLoss.FAIL_OVER)
        if time.monotonic() - self.inspected >= self.times.inspect:
            await self.inspect(str(memory.get("maxmemory_policy", "")))

    def follow(self, history: str, before: str) -> bool:
        """Note which history Redis continues; say whether a replica took over from the one that we knew.

        A primary that was a replica tells a second history, its old primary's; one that was only restarted tells zeros.
        Whatever is written after a fail-over, by any gateway, hides from the ids that the last entries are missing.
        https://redis.io/docs/latest/operate/oss_and_stack/management/replication/
        """
        known, self.history = self.history, history
        return bool(known) and history != known and before.strip("0") != ""

    async def leave_replica(self) -> None:
        """Drop every connection after a fail-over: the address leads elsewhere now."""
        log.warning("redis_is_a_replica")
        for client in self.clients:
            await client.connection_pool.disconnect()
        raise Unavailable("Redis is a replica: waiting for its address to lead to the new primary")

    def weigh(self, used: int, most: int) -> None:
        """Close the inbox while Redis is nearly full: what is left is for draining it."""
        ratio = used / most if most else 0.0
        self.metrics.redis_memory.set(ratio)
        full = ratio >= FULL
        if full != self.inbox.full:
            log.warning("inbox_closed" if full else "inbox_open_again", memory=round(ratio, 3))
        self.inbox.full = full
        self.health.note("redis_memory", f"{ratio:.0%} of maxmemory: deliveries get 503" if full else "ok")

    async def inspect(self, policy: str) -> None:
        """Warn when Redis is set to lose what it has acknowledged."""
        async with ours():
            persistence: Any = await self.client.info("persistence")
        wrong = []
        if policy != "noeviction":
            wrong.append(f"maxmemory-policy is {policy or 'unknown'}, not noeviction")
        if not persistence.get("aof_enabled"):
            wrong.append("append-only is off")
        elif (synced := await self.synced()) not in {"always", ""}:
            wrong.append(f"appendfsync is {synced}, not always")
        self.inspected = time.monotonic()
        self.metrics.redis_safe.set(0 if wrong else 1)
        self.health.note("redis_settings", "; ".join(wrong) or "ok")
        if wrong:
            log.warning("redis_may_lose_messages", found=wrong)

    async def synced(self) -> str:
        """Return appendfsync; empty where Redis does not tell, as managed ones do not."""
        async with ours():
            try:
                found: Any = await self.client.config_get("appendfsync")
            except ResponseError:
                return ""
        return "".join(value.decode() if isinstance(value, bytes) else str(value) for value in found.values())


def place(entry_id: bytes) -> tuple[int, int]:
    """Return an entry's place in the order of the stream."""
    milliseconds, _, number = entry_id.decode().partition("-")
    return int(milliseconds or 0), int(number or 0)
