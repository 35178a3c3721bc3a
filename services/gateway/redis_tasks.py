"""The stream `tasks`: what Meta asked for and must not be forgotten, with the status that people may look up."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from services.gateway.ports import DeletionStatus, Task
from services.gateway.redis_stream import ours
from services.gateway.times import Times

# A request that is still open is not kept twice; a newer one lends it its time, since the owner may have come back in
# between. Nor is one kept that is no newer than what was done for its owner, who may have come back since: Meta says it
# again, or somebody replays it. On a full Redis there is room left for this.
# From the third on, the keys come in threes: open, asked and done of each mark that the request may be kept under.
ADD = """#!lua flags=allow-oom
for at = 3, #KEYS, 3 do
  local open = redis.call('GET', KEYS[at])
  if open then
    local newest = redis.call('GET', KEYS[at + 1])
    if not newest or tonumber(ARGV[7]) > tonumber(newest) then
      redis.call('SET', KEYS[at + 1], ARGV[7], 'PX', ARGV[6])
    end
    return open
  end
end
for at = 5, #KEYS, 3 do
  local done = redis.call('HMGET', KEYS[at], 'code', 'asked')
  if done[1] and tonumber(ARGV[7]) <= tonumber(done[2]) then return done[1] end
end
redis.call('XADD', KEYS[1], '*', 'kind', ARGV[1], 'user', ARGV[2], 'code', ARGV[3], 'mark', ARGV[4], 'at', ARGV[5],
  'asked', ARGV[7])
redis.call('SET', KEYS[3], ARGV[3], 'PX', ARGV[6])
redis.call('HSET', KEYS[2], 'state', 'received', 'at', ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[6])
return ARGV[3]
"""
# A request that lent its time while the older one was carried out is not done.
DONE = """#!lua flags=allow-oom
local newest = redis.call('GET', KEYS[6])
if newest and tonumber(newest) > tonumber(ARGV[4]) then return 0 end
redis.call('XDEL', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2], KEYS[4], KEYS[6])
local left = redis.call('PTTL', KEYS[3])
if left > 0 then
  redis.call('HSET', KEYS[3], 'state', ARGV[5], 'done_at', ARGV[2])
  redis.call('HSET', KEYS[5], 'code', ARGV[3], 'asked', ARGV[4])
  redis.call('PEXPIRE', KEYS[5], left)
end
return 1
"""
PAGE = 200
STATE_DONE, STATE_KEPT = "done", "kept"


class RedisTasks:
    """Requests that must outlive any process."""

    def __init__(self, client: Redis, prefix: str, times: Times, now_ms: Callable[[], int]) -> None:
        """Use the stream and the keys under this prefix."""
        self.client = client
        self.prefix = prefix
        self.name = f"{prefix}tasks"
        self.milliseconds = int(times.status * 1000)
        self.now_ms = now_ms
        self.add_script = client.register_script(ADD)
        self.done_script = client.register_script(DONE)

    async def add(self, kind: str, user: str, code: str, marks: Sequence[str], asked_ms: int) -> str:
        """Keep a request under its first mark; return its code.

        Or that of the same, by any of its marks, that is still open, or was done later.
        """
        keys, now = [self.name, self.status_key(code)], self.now_ms()
        keys += [key for mark in marks for key in (self.open_key(mark), self.asked_key(mark), self.done_key(mark))]
        # Meta's time is believed as far as it lies behind us: a request holds for what was connected before it.
        asked = min(asked_ms or now, now)
        async with ours():
            args: list[str | int] = [kind, user, code, marks[0], now, self.milliseconds, asked]
            kept: bytes = await self.add_script(keys=keys, args=args)
        return kept.decode()

    async def open(self) -> list[Task]:
        """Return all requests that are not done, the oldest first."""
        found: list[Task] = []
        while page := await self.page(f"({found[-1].id}" if found else "-"):
            found += page
        return found

    async def page(self, start: str) -> list[Task]:
        """Return the next requests from here on."""
        async with ours():
            rows: Any = await self.client.xrange(self.name, start, "+", count=PAGE)
            tasks = [task(row[0], row[1]) for row in rows]
            keys = [key for one in tasks for key in (self.account_key(one.id), self.asked_key(one.mark))]
            found: Any = await self.client.mget(keys) if keys else []
        pairs = zip(found[::2], found[1::2], strict=True)
        return [completed(one, *pair) for one, pair in zip(tasks, pairs, strict=True)]

    async def note_accounts(self, task: Task, accounts: Sequence[str]) -> None:
        """Write the professional ids to the request."""
        async with ours():
            await self.client.set(self.account_key(task.id), ",".join(accounts), px=self.milliseconds)

    async def done(self, task: Task, *, kept: bool) -> bool:
        """Delete a request; its status says done, or kept, from now on, and as long it is not done a second time.

        False, and nothing is changed, when its owner has asked anew since it was read.
        """
        keys = [self.name, self.open_key(task.mark), self.status_key(task.code), self.account_key(task.id)]
        keys += [self.done_key(task.mark), self.asked_key(task.mark)]
        args: list[str | int] = [task.id, self.now_ms(), task.code, task.asked_ms, STATE_KEPT if kept else STATE_DONE]
        async with ours():
            return bool(await self.done_script(keys=keys, args=args))

    async def status(self, code: str) -> DeletionStatus | None:
        """Return how far a deletion is."""
        async with ours():
            found: Any = await self.client.hgetall(self.status_key(code))
        if not found:
            return None
        state = found.get(b"state", b"").decode()
        at, done_at = int(found[b"at"]), int(found.get(b"done_at", 0))
        return DeletionStatus(state in (STATE_DONE, STATE_KEPT), at, done_at, kept=state == STATE_KEPT)

    async def rewrite(self) -> None:
        """Have Redis write its file anew, without what was deleted; one that may not or is at it is left alone."""
        async with ours():
            with contextlib.suppress(ResponseError):
                await self.client.bgrewriteaof()

    def open_key(self, mark: str) -> str:
        """Return the key that says that a request is open."""
        return f"{self.prefix}task-of:{mark}"

    def asked_key(self, mark: str) -> str:
        """Return the key that says when an owner asked again, while a request was open."""
        return f"{self.prefix}task-asked:{mark}"

    def done_key(self, mark: str) -> str:
        """Return the key that says what was done for an owner, up to when they asked for it."""
        return f"{self.prefix}task-done:{mark}"

    def status_key(self, code: str) -> str:
        """Return the key of a deletion's status."""
        return f"{self.prefix}deletion:{code}"

    def account_key(self, task_id: str) -> str:
        """Return the key of a request's professional ids."""
        return f"{self.prefix}task:{task_id}"


def task(task_id: bytes, fields: dict[bytes, bytes]) -> Task:
    """Make a task of its entry."""
    kind, user, code, mark = (fields.get(name, b"").decode() for name in (b"kind", b"user", b"code", b"mark"))
    asked = int(fields.get(b"asked") or fields.get(b"at") or 0)  # an older igbot kept only when it came
    return Task(task_id.decode(), kind, user, code, mark, asked_ms=asked)


def completed(task: Task, accounts: bytes | None, asked: bytes | None) -> Task:
    """Return the task with what was noted on it since."""
    noted = tuple(filter(None, (accounts or b"").decode().split(",")))
    return replace(task, accounts=noted, asked_ms=max(task.asked_ms, int(asked or 0)))
