"""Asking the responder to look for messages that the inbox may have lost."""

from __future__ import annotations

import asyncio

import structlog

from services.common.errors import Unavailable
from services.gateway.metrics import GatewayMetrics, InboxLoss
from services.gateway.ports import Responder
from services.gateway.times import Times

log = structlog.get_logger(__name__)


class Gaps:
    """One question at a time, asked until it is answered."""

    def __init__(self, responder: Responder, metrics: GatewayMetrics, times: Times) -> None:
        """Ask nothing yet."""
        self.responder = responder
        self.metrics = metrics
        self.times = times
        self.task: asyncio.Task[None] | None = None

    def alarm(self, what: InboxLoss) -> None:
        """Redis has lost what it once kept: say so and ask."""
        self.metrics.inbox_lost.labels(what).inc()
        log.error("inbox_lost", what=str(what), advice="Redis must be append-only, fsync always, noeviction")
        self.ask()

    def ask(self) -> None:
        """Ask for every account; a question that is being asked is enough."""
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self.run())

    async def run(self) -> None:
        """Ask until the responder answers."""
        pause = self.times.down_first
        while True:
            try:
                check = await self.responder.check_gaps()
            except Unavailable as error:
                log.info("gap_check_put_off", error=str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, self.times.task_most)
            else:
                log.info("gap_check_done", found=check.found, skipped=check.skipped)
                return

    def stop(self) -> None:
        """Give up: the next gateway that takes over may ask again."""
        if self.task:
            self.task.cancel()
