"""Reading the inbox: pending entries first, then new ones, and every two seconds whatever was missed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import structlog

from services.common.errors import Unavailable
from services.common.metrics import Dependency
from services.common.ops import Health
from services.gateway.gaps import Gaps
from services.gateway.hand import Hand
from services.gateway.metrics import InboxLoss
from services.gateway.ports import Entry, GroupLost, Stream
from services.gateway.tenure import Tenure, rest
from services.gateway.times import Times

log = structlog.get_logger(__name__)

PAGE = 500
# How many bodies are read at once: fewer while they are large, since one may have four megabytes.
MOST_BODIES = 100
READ_BYTES = 8 << 20
AT_ONCE = float("-inf")
# Parsing makes way for requests after so long.
SLICE_SECONDS = 0.002


class Intake:
    """Reads while the lease is ours; `arrived` is set when there is something in hand."""

    def __init__(self, stream: Stream, hand: Hand, tenure: Tenure, gaps: Gaps, health: Health, times: Times) -> None:
        """Begin with the pending entries."""
        self.stream = stream
        self.hand = hand
        self.tenure = tenure
        self.gaps = gaps
        self.health = health
        self.times = times
        self.quiet = asyncio.Event()
        self.quiet.set()
        self.stopping = tenure.stopping
        self.arrived = asyncio.Event()
        self.next_sweep = AT_ONCE
        self.sweep_began = 0.0  # 0: none is under way
        self.swept_to = ""
        self.known = False
        self.lost = False
        self.failures = 0
        self.largest = 1
        self.more = False
        self.read_at = 0.0
        tenure.began.append(self.begin_again)

    def begin_again(self) -> None:
        """Look at the pending entries before anything new."""
        self.next_sweep, self.sweep_began = AT_ONCE, 0.0

    async def run(self) -> None:
        """Read until `stopping`."""
        while not self.stopping.is_set():
            if not self.tenure.active:
                await rest(self.times.stand_by / 5, self.stopping)
                continue
            try:
                await self.step()
                self.failures = 0
            except GroupLost:
                self.lost = True
                self.begin_again()
            except Unavailable as error:
                await self.wait_for_redis(error)

    @property
    def bodies(self) -> int:
        """How many bodies to read at once, judged by the largest of late."""
        return max(1, min(MOST_BODIES, READ_BYTES // max(1, self.largest)))

    async def step(self) -> None:
        """Sweep when it is time, else read new entries when there is room."""
        if time.monotonic() >= self.next_sweep:
            await self.sweep()
        elif self.hand.room:
            await self.read_new()
        else:
            await rest(self.times.block / 20, self.stopping)

    async def read_new(self) -> None:
        """Read new entries, and acknowledge in the same round trip what has ended since the last one.

        Soon after the last read some gather first. A backlog has no need of that; it gives way to deliveries that
        are being kept, since each would otherwise wait for a page of it at every step.
        """
        if self.more:
            await rest(self.times.give_way, self.quiet)
        else:
            await asyncio.sleep(max(0.0, self.read_at + self.times.gather - time.monotonic()))
        ended = self.hand.ended_plainly()
        with self.hand.acknowledging(ended):
            entries = await self.stream.fresh(self.bodies, self.times.block, ended)
        self.more = len(entries) >= self.bodies
        self.read_at = time.monotonic()
        await self.take_up(entries)

    async def sweep(self) -> None:
        """Page through the pending entries and take up each that is not in hand: a reply may have been lost.

        Each is taken up once in a sweep, also when it is put off and due again before the sweep ends.
        """
        if not self.known or self.lost:
            await self.create()
        if not self.sweep_began:
            await self.gaps.resume()
            self.sweep_began, self.swept_to = time.monotonic(), ""
        while ids := await self.stream.pending(self.swept_to, PAGE):
            if not await self.take_up_missing(ids):
                await self.pause_sweep()
                return
            self.swept_to = ids[-1]
        self.sweep_began, self.next_sweep = 0.0, time.monotonic() + self.times.sweep

    async def take_up_missing(self, ids: Sequence[str]) -> bool:
        """Take up those that are not in hand; say whether there was room for all."""
        missing = [one for one in ids if not self.hand.has(one, self.sweep_began)]
        while missing:
            if not self.hand.room or self.stopping.is_set():
                return False
            part, missing = missing[: self.bodies], missing[self.bodies :]
            await self.take_up(await self.fetch(part))
        return True

    async def pause_sweep(self) -> None:
        """Go on with the same entries when there is room; but for a first sweep, new ones have their turn before."""
        if self.next_sweep > AT_ONCE:
            self.next_sweep = time.monotonic() + self.times.block
        await rest(self.times.block / 20, self.stopping)

    async def fetch(self, ids: Sequence[str]) -> list[Entry]:
        """Return entries; one that was deleted while it was pending is taken off the list."""
        found = await self.stream.fetch(ids)
        gone = set(ids) - {entry.id for entry in found}
        if gone:
            await self.stream.drop_pending(sorted(gone))
            if self.tenure.active:
                log.warning("pending_entries_gone", entries=len(gone))
        return found

    async def take_up(self, entries: Sequence[Entry]) -> None:
        """Parse entries, with a look at other work in between."""
        self.largest = max([self.largest // 2, *(len(entry.body) for entry in entries)])
        began = time.perf_counter()
        for entry in entries:
            self.hand.take_up(entry)
            self.arrived.set()
            if time.perf_counter() - began > SLICE_SECONDS:
                await asyncio.sleep(0)
                began = time.perf_counter()

    async def create(self) -> None:
        """Make the stream and the group if they are missing; whatever is in the stream is read from its beginning.

        On a Redis that lost everything this is the first to notice. The answer may have been lost the first time.
        """
        created = await self.stream.create()
        if self.known and (created or self.lost):
            self.gaps.alarm(InboxLoss.GROUP)
        elif created:
            log.info("inbox_group_created")
            self.gaps.ask()
        self.known, self.lost = True, False

    async def wait_for_redis(self, error: Unavailable) -> None:
        """Back off; after a reconnect the pending entries come first."""
        self.failures += 1
        self.health.report(Dependency.REDIS, up=False, why=str(error))
        self.begin_again()
        await rest(self.hand.pause(self.failures, self.times.down_first, self.times.down_most), self.stopping)
