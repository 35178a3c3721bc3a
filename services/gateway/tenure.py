"""Being the active dispatcher: a lease that is taken when it is free and renewed while it is ours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from prometheus_client import Counter

from services.common.errors import Unavailable
from services.gateway.metrics import GatewayMetrics
from services.gateway.ports import Lease
from services.gateway.times import Times

log = structlog.get_logger(__name__)


async def rest(seconds: float, until: asyncio.Event) -> None:
    """Wait, or less when the event is set."""
    try:
        async with asyncio.timeout(seconds):
            await until.wait()
    except TimeoutError:
        return


async def lifelong(part: Callable[[], Coroutine[Any, Any, None]], crashes: Counter, stopping: asyncio.Event) -> None:
    """Run a loop that must live: what nobody foresaw is logged and counted, and the loop begins anew."""
    while True:
        try:
            await part()
        except Exception:  # a mistake in one loop must not end the others, which keep deliveries safe
            log.exception("loop_crashed", loop=part.__qualname__)
            crashes.inc()
            await rest(1.0, stopping)
        else:
            return


class Tenure:
    """Whether this process is the active dispatcher, by its own monotonic clock."""

    def __init__(self, lease: Lease, metrics: GatewayMetrics, times: Times, stopping: asyncio.Event) -> None:
        """Begin without the lease."""
        self.lease = lease
        self.metrics = metrics
        self.times = times
        self.stopping = stopping
        self.until = 0.0
        self.began: list[Callable[[], None]] = []
        self.ended: list[Callable[[], None]] = []

    @property
    def active(self) -> bool:
        """Whether the lease is ours now."""
        return time.monotonic() < self.until

    async def run(self) -> None:
        """Hold on to the lease until `stopping`."""
        while not self.stopping.is_set():
            await self.step()
            await rest(self.times.renew if self.active else self.times.stand_by, self.stopping)

    async def step(self) -> None:
        """Take or renew the lease once; its time runs from before the question."""
        asked, was = time.monotonic(), self.active
        try:
            ours = await self.lease.take()
        except Unavailable:
            return  # nobody knows: what we hold runs out by itself
        finally:
            self.metrics.dispatcher_active.set(self.active)
        self.until = asked + self.times.lease if ours else 0.0
        self.metrics.dispatcher_active.set(self.active)
        if ours and not was:
            log.info("dispatcher_took_over")
            tell(self.began)
        elif not ours and was:
            log.warning("dispatcher_lost_its_lease")
        if not ours:
            tell(self.ended)

    async def give_up(self) -> None:
        """Let the next one take over at once."""
        self.until = 0.0
        self.metrics.dispatcher_active.set(0)
        try:
            await self.lease.release()
        except Unavailable:
            log.info("lease_left_to_run_out")


def tell(listeners: list[Callable[[], None]]) -> None:
    """Call each listener."""
    for listener in listeners:
        listener()
