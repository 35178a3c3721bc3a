"""The rounds that keep the responder's view true: accounts, gauges, health, retention, gaps."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

import structlog

from services.common.errors import BotError, Unavailable
from services.common.metrics import Dependency
from services.common.ops import Health
from services.responder.account import HoldReason
from services.responder.book import AccountBook
from services.responder.gaps import Gaps
from services.responder.holds import held_for
from services.responder.metrics import ResponderMetrics
from services.responder.ports import Store

log = structlog.get_logger(__name__)

BETWEEN_ACCOUNTS = 2.0
OF_ONE_ACCOUNT = 8
"""Conversations that the gap check reads of one account, in some 30 s; in the next round it goes on there."""


@dataclass
class Upkeep:
    """One method a round."""

    store: Store
    book: AccountBook
    metrics: ResponderMetrics
    health: Health
    keep_ms: int

    async def mirror(self) -> None:
        """Take over the accounts' states from the token service."""
        try:
            await self.book.mirror()
        except Unavailable as error:
            self.health.report(Dependency.TOKENS, up=False, why=str(error))
            raise
        self.health.report(Dependency.TOKENS, up=True)

    async def gauges(self) -> None:
        """Set the store-wide gauges; every replica exports the same."""
        now = self.store.clock.now()
        accounts = await self.store.accounts.all()
        silent = [one.account for one in accounts if self.book.silent(one)]
        figures = await self.store.conversations.figures(silent)
        held = Counter(reason for one in accounts if (reason := held_for(one, now=now)) is not None)
        for reason in HoldReason:
            self.metrics.accounts_held.labels(reason).set(held[reason])
        self.metrics.failed.set(figures.failed)
        self.metrics.due.set(figures.due)
        self.metrics.sends_held.set(figures.held)
        oldest = figures.due_oldest_at
        self.metrics.due_oldest.set(max(0, now - oldest) / 1000 if oldest is not None else 0)

    async def ping(self) -> None:
        """Report whether the store answers."""
        try:
            await self.store.ping()
        except Unavailable as error:
            self.health.report(Dependency.DATABASE, up=False, why=str(error))
            raise
        self.health.report(Dependency.DATABASE, up=True)

    async def retention(self) -> None:
        """Take the words out of what is older than the retention; ids stay, so nothing is answered again."""
        purged = await self.store.erasing.purge(self.store.clock.now() - self.keep_ms)
        if purged:
            log.info("retention_applied", documents=purged)

    async def gaps(self, gaps: Gaps) -> None:
        """Look for messages that no delivery brought, account by account."""
        for account in await self.store.accounts.all():
            try:
                await gaps.check_all([account], most=OF_ONE_ACCOUNT)
            except (BotError, TimeoutError) as error:
                log.info("gap_check_skipped", account=account.account, error=str(error))
            except Exception:  # nobody's oddity keeps the others from being looked at
                log.exception("gap_check_failed", account=account.account)
            await asyncio.sleep(BETWEEN_ACCOUNTS)
