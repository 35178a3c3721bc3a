"""Asking the responder to look for messages that the inbox may have lost, until it has answered.

The question is kept in Redis while it is open: this gateway may be told to stop, or never hear that it made the group.
"""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from services.common.errors import Unavailable
from services.gateway.metrics import GatewayMetrics, InboxLoss
from services.gateway.ports import Question, Responder
from services.gateway.times import Times

log = structlog.get_logger(__name__)

NOT_SAFE = "Redis must be append-only, fsync always, noeviction"
FAILED_OVER = "a replica took over, which may lack what the last primary acknowledged"


class Gaps:
    """One question at a time, asked until it is answered; one more for a loss that comes meanwhile."""

    def __init__(self, responder: Responder, question: Question, metrics: GatewayMetrics, times: Times) -> None:
        """Ask nothing yet."""
        self.responder = responder
        self.question = question
        self.metrics = metrics
        self.times = times
        self.task: asyncio.Task[None] | None = None
        self.wanted = False

    def alarm(self, what: InboxLoss) -> None:
        """Redis has lost, or may have lost, what it once kept: say so and ask."""
        self.metrics.inbox_lost.labels(what).inc()
        log.error("inbox_lost", what=str(what), advice=FAILED_OVER if what is InboxLoss.FAIL_OVER else NOT_SAFE)
        self.ask()

    def ask(self) -> None:
        """Ask for every account; again if one is asked already, which may have looked before this loss."""
        self.wanted = True
        if not self.asking:
            self.task = asyncio.create_task(self.run())

    @property
    def asking(self) -> bool:
        """Whether a question is under way."""
        return self.task is not None and not self.task.done()

    async def resume(self) -> None:
        """Ask what was not answered while another gateway asked, or nobody; raises Unavailable."""
        if not self.asking and await self.question.is_open():
            self.ask()

    async def run(self) -> None:
        """Ask until the responder has answered, and nothing was lost since it was asked."""
        while self.wanted:
            self.wanted = False
            with contextlib.suppress(Unavailable):  # it is asked all the same
                await self.question.keep()
            pause = self.times.down_first
            while not await self.answered():
                await asyncio.sleep(pause)
                pause = min(pause * 2, self.times.task_most)
            if not self.wanted:
                with contextlib.suppress(Unavailable):  # at worst it is asked once more
                    await self.question.close()

    async def answered(self) -> bool:
        """Ask once; say whether the responder has looked."""
        try:
            check = await self.responder.check_gaps()
        except Unavailable as error:
            log.info("gap_check_put_off", error=str(error))
            return False
        log.info("gap_check_done", found=check.found, skipped=check.skipped)
        return True

    def stop(self) -> None:
        """Leave an open question to the next gateway that takes over."""
        if self.task:
            self.task.cancel()
