"""From the inbox to the responder: one dispatcher is active among all gateways; what it drops, the next takes up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from random import Random
from typing import Any

import structlog

from services.common.errors import Unavailable
from services.common.metrics import Dependency
from services.common.ops import Health
from services.common.request_id import bound
from services.gateway.gaps import Gaps
from services.gateway.hand import Hand
from services.gateway.handed_on import tell
from services.gateway.intake import Intake
from services.gateway.metrics import DeliverOutcome, GatewayMetrics
from services.gateway.ports import (
    DeadLetters,
    Finished,
    Lease,
    Responder,
    ResponderDown,
    ResponderFault,
    ResponderSlow,
    Stream,
)
from services.gateway.tenure import Tenure, lifelong, rest
from services.gateway.times import Times
from services.gateway.works import Batch

log = structlog.get_logger(__name__)

UNKNOWN_LOG_SECONDS = 60


class Dispatcher:
    """Holds the lease, reads, delivers, acknowledges, each in its own task. `run` lives until `stop`."""

    def __init__(
        self,
        stream: Stream,
        dead: DeadLetters,
        lease: Lease,
        responder: Responder,
        gaps: Gaps,
        metrics: GatewayMetrics,
        health: Health,
        times: Times,
    ) -> None:
        """Begin without the lease."""
        self.stream = stream
        self.dead = dead
        self.responder = responder
        self.gaps = gaps
        self.metrics = metrics
        self.health = health
        self.times = times
        self.stopping = asyncio.Event()
        self.ended = asyncio.Event()
        self.hand = Hand(times, Random())  # noqa: S311 - jitter, no secret
        self.tenure = Tenure(lease, metrics, times, self.stopping)
        self.tenure.ended.append(self.hand.clear)  # another has them now
        self.intake = Intake(stream, self.hand, self.tenure, gaps, health, times)
        self.delivered = False
        self.failures = 0
        self.told = float("-inf")

    def give_way(self, quiet: asyncio.Event) -> None:
        """Drain a backlog preferably while this is set: no delivery waits to be kept."""
        self.intake.quiet = quiet

    async def run(self) -> None:
        """Dispatch until `stop`, or until cancelled; then acknowledge what was delivered and give the lease up."""
        acknowledging = asyncio.create_task(self.live(self.acknowledge))
        try:
            await asyncio.gather(*map(self.live, (self.tenure.run, self.intake.run, self.deliver)))
        finally:
            self.delivered = True
            self.ended.set()
            await acknowledging
            self.gaps.stop()
            await self.tenure.give_up()

    async def live(self, part: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run one of the loops until `stop`."""
        await lifelong(part, self.metrics.crashes, self.stopping)

    def stop(self) -> None:
        """End `run` after the calls that are under way."""
        self.stopping.set()
        self.intake.arrived.set()

    async def deliver(self) -> None:
        """Deliver what is in hand, batch after batch."""
        while not self.stopping.is_set():
            batch = self.hand.batch(time.monotonic()) if self.tenure.active else []
            if not batch:
                await self.wait_for_work()
                continue
            await self.deliver_batch(batch)
            self.report()

    async def wait_for_work(self) -> None:
        """Wait until something arrives or a parked event is due."""
        self.report()
        due = self.hand.next_due()
        most = self.times.block if self.tenure.active else self.times.stand_by / 5
        self.intake.arrived.clear()
        await rest(most if due is None else min(most, max(0.0, due - time.monotonic())), self.intake.arrived)

    async def deliver_batch(self, batch: Batch) -> None:
        """Deliver a batch; halve it down to the event that makes the responder fail."""
        parts = [batch]
        while parts:
            part = parts.pop(0)
            try:
                await self.call(part)
            except ResponderFault:
                parts[:0] = self.hand.split(part, time.monotonic())
            except ResponderDown as error:
                for left in reversed(parts):
                    self.hand.put_back(left)
                await self.back_off(part, error)
                return
            if self.hand.finished:
                self.ended.set()

    async def call(self, batch: Batch) -> None:
        """Make one call and note its verdicts."""
        works = [work for group in batch for work in group]
        try:
            with bound(work.delivery.entry.request for work in works):
                verdicts = await self.responder.deliver([(work.delivery.entry, work.event) for work in works])
        except (ResponderDown, ResponderFault) as error:
            self.metrics.deliver_calls.labels(outcome_of(error)).inc()
            raise
        self.metrics.deliver_calls.labels(DeliverOutcome.OK).inc()
        self.health.report(Dependency.RESPONDER, up=True)
        self.failures = 0
        tell(works, verdicts)
        self.hand.settle(batch, verdicts, time.monotonic())

    async def back_off(self, batch: Batch, error: ResponderDown) -> None:
        """Wait for the responder, for ever if need be; what is in hand keeps its order."""
        if isinstance(error, ResponderSlow):
            self.hand.shrink(batch, time.monotonic())
        else:
            self.hand.put_back(batch)
        if not self.failures:
            log.warning("responder_down", error=str(error))
        self.failures += 1
        self.health.report(Dependency.RESPONDER, up=False, why=str(error))
        pause = self.hand.pause(self.failures, self.times.down_first, self.times.down_most)
        await rest(pause, self.stopping)

    async def acknowledge(self) -> None:
        """Finish deliveries in Redis as their last verdicts come; at the end those that are left, if Redis answers."""
        failures = 0
        while not (self.delivered and (failures or not self.hand.finished)):
            await rest(self.times.block, self.ended)
            if not self.delivered:
                await asyncio.sleep(self.times.finish)  # under load the next read takes them along
            self.ended.clear()
            ended = self.hand.ended()
            try:
                with self.hand.acknowledging(ended):
                    await self.finish(ended)
            except Unavailable as error:
                failures += 1
                log.warning("acknowledging_put_off", error=str(error), deliveries=len(ended))
                await rest(self.hand.pause(failures, self.times.down_first, self.times.down_most), self.stopping)
            else:
                failures = 0

    async def finish(self, ended: Sequence[Finished]) -> None:
        """Take what was taken back out of the dead letters, then finish deliveries."""
        if self.hand.taken_back:
            mids = tuple(self.hand.taken_back)
            await self.dead.scrub(mids)
            del self.hand.taken_back[: len(mids)]
        if ended:
            await self.stream.finish(ended)

    def report(self) -> None:
        """Write what happened into the metrics."""
        unknown = 0
        for (what, word), times in self.hand.counts.items():
            if what == "ignored":
                self.metrics.items_ignored.labels(word).inc(times)
            elif what == "dead":
                self.metrics.items_dead.labels(word).inc(times)
            else:
                self.metrics.events.labels(word).inc(times)
                unknown += times if word == "unknown_account" else 0
        self.hand.counts.clear()
        if unknown and time.monotonic() - self.told >= UNKNOWN_LOG_SECONDS:
            self.told = time.monotonic()
            log.warning("events_of_unknown_accounts", events=unknown, note="said once a minute at most")


def outcome_of(error: ResponderDown | ResponderFault) -> DeliverOutcome:
    """Return the metric's word for a failed call."""
    if isinstance(error, ResponderSlow):
        return DeliverOutcome.SLOW
    return DeliverOutcome.DOWN if isinstance(error, ResponderDown) else DeliverOutcome.FAULT
