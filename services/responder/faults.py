"""What a failed call to Instagram means beyond itself: the token service hears of it, the account is held.

A dead token, a limit or a permission that is gone is a fact about the account, whichever call shows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import structlog

from services.common.errors import BotError
from services.common.graph import GraphFailure
from services.responder.answers import Consequence, consequence
from services.responder.book import AccountBook
from services.responder.outside import Instagram, Lent, Reading, Talk, Tokens, unheard
from services.responder.times import Times

log = structlog.get_logger(__name__)


@dataclass
class Faults:
    """Carries out what follows from failures for accounts."""

    book: AccountBook
    tokens: Tokens
    times: Times

    async def meaning(self, lent: Lent, failure: GraphFailure, *, back_off: int = 0) -> Consequence:
        """Return what a failure leads to."""
        account = await self.book.current(lent.account)
        step = max(0, account.hold_step - self.book.holds(account))
        return consequence(failure, step=step, back_off=back_off, times=self.times)

    async def follow(self, what: Consequence, lent: Lent, failure: GraphFailure) -> None:
        """Report a refused token, which the token service probes before it believes; hold the account."""
        if what.report and failure.error is not None:
            try:
                await self.tokens.reject(lent, failure.error)
            except BotError as error:
                log.warning("rejection_not_reported", account=lent.account, error=type(error).__name__)
        if what.hold is not None:
            await self.book.hold(lent.account, what.hold, for_ms=what.hold_for, whole_app=what.whole_app)

    async def heed(self, lent: Lent, failure: GraphFailure) -> None:
        """Do what follows from a failed call that was no message."""
        try:
            await self.follow(await self.meaning(lent, failure), lent, failure)
        except BotError as error:
            log.warning("fault_not_heeded", account=lent.account, error=type(error).__name__)


@dataclass
class HeededInstagram:
    """Instagram for all but sending: whoever asks hears of a failure after it was heeded."""

    instagram: Instagram
    faults: Faults

    async def post_text(self, lent: Lent, person: str, text: str, *, human_agent: bool, within: float) -> str:
        """Send one message and return its mid; what a failure means for the part comes first: see post.py."""
        return await self.instagram.post_text(lent, person, text, human_agent=human_agent, within=within)

    async def ready(self, lent: Lent) -> None:
        """Raise BreakerOpen while nothing should be sent."""
        await self.instagram.ready(lent)

    async def act(self, lent: Lent, person: str, action: Literal["mark_seen", "typing_on"]) -> None:
        """Show that the message was seen, or that an answer is being typed."""
        async with self.heeded(lent):
            await self.instagram.act(lent, person, action)

    async def read(self, lent: Lent, person: str, *, waited: Callable[[float], None] = unheard) -> Reading | None:
        """Return the newest messages; None when Instagram lists no such conversation."""
        async with self.heeded(lent):
            return await self.instagram.read(lent, person, waited=waited)

    async def talks(self, lent: Lent, *, since: int) -> list[Talk]:
        """Return the account's conversations that changed since then, the last active first."""
        async with self.heeded(lent):
            return await self.instagram.talks(lent, since=since)

    async def username(self, lent: Lent, person: str) -> str:
        """Return the person's username, empty when the profile is hidden."""
        async with self.heeded(lent):
            return await self.instagram.username(lent, person)

    @asynccontextmanager
    async def heeded(self, lent: Lent) -> AsyncIterator[None]:
        """Heed a failure to the end, also when the caller has no more time for the answer."""
        try:
            yield
        except GraphFailure as failure:
            await asyncio.shield(self.faults.heed(lent, failure))
            raise
