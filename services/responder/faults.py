"""What a failed call to Instagram means beyond itself: the token service hears of it, the account is held.

A dead token, a limit or a permission that is gone is a fact about the account, whichever read shows it. Not so what
answers do well without, "seen", "typing" and profiles: they may be refused while messages are sent as ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import structlog

from services.common.errors import BotError
from services.common.graph import GraphFailure
from services.common.graph_errors import Fault
from services.responder.account import HoldReason
from services.responder.answers import Consequence, consequence
from services.responder.book import AccountBook
from services.responder.outside import BreakerOpen, Instagram, Lent, Reading, Talk, Tokens, unheard
from services.responder.times import Times

log = structlog.get_logger(__name__)

Resting = dict[str, int]
"""Until when a call is left out, account by account."""
ALL = ""
"""Stands for every account: the limit was the app's."""
ANY = frozenset(Fault)


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
        if what.report:
            await self.report(lent, failure)
        if what.hold is not None:
            await self.book.hold(lent.account, what.hold, for_ms=what.hold_for, whole_app=what.whole_app)

    async def report(self, lent: Lent, failure: GraphFailure) -> None:
        """Tell the token service what Instagram said of the token."""
        if failure.error is None:
            return
        try:
            await self.tokens.reject(lent, failure.error)
        except BotError as error:
            log.warning("rejection_not_reported", account=lent.account, error=type(error).__name__)

    async def heed(self, lent: Lent, failure: GraphFailure) -> None:
        """Do what follows from a failed call that was no message."""
        try:
            await self.follow(await self.meaning(lent, failure), lent, failure)
        except BotError as error:
            log.warning("fault_not_heeded", account=lent.account, error=type(error).__name__)

    async def spare(self, lent: Lent, failure: GraphFailure, resting: Resting) -> None:
        """Have such calls rest for as long as the account would be held; of what they show, report a dead token alone.

        The token service believes a dead token only when it has looked itself; a limit it would believe at once.
        """
        try:
            what = await self.meaning(lent, failure)
        except BotError as error:
            log.warning("fault_not_heeded", account=lent.account, error=type(error).__name__)
            return
        if what.hold is not None:
            log.info("calls_left_out", account=lent.account, error=what.result.error, seconds=what.hold_for / 1000)
            resting[ALL if what.whole_app else lent.account] = self.book.clock.now() + what.hold_for
        if what.hold is HoldReason.TOKEN_DEAD:
            await self.report(lent, failure)


@dataclass
class HeededInstagram:
    """Instagram for all but sending: whoever asks hears of a failure after it was heeded."""

    instagram: Instagram
    faults: Faults
    spared: frozenset[Fault] = frozenset()  # a read that meets one of these makes nothing wait but such reads
    reads: Resting = field(default_factory=dict)
    acts: Resting = field(default_factory=dict)
    profiles: Resting = field(default_factory=dict)

    async def post_text(self, lent: Lent, person: str, text: str, *, human_agent: bool, within: float) -> str:
        """Send one message and return its mid; what a failure means for the part comes first: see post.py."""
        return await self.instagram.post_text(lent, person, text, human_agent=human_agent, within=within)

    async def ready(self, lent: Lent) -> None:
        """Raise BreakerOpen while nothing should be sent."""
        await self.instagram.ready(lent)

    async def act(self, lent: Lent, person: str, action: Literal["mark_seen", "typing_on"]) -> None:
        """Show that the message was seen, or that an answer is being typed."""
        async with self.heeded(lent, self.acts, ANY):
            await self.instagram.act(lent, person, action)

    async def read(self, lent: Lent, person: str, *, waited: Callable[[float], None] = unheard) -> Reading | None:
        """Return the newest messages; None when Instagram lists no such conversation."""
        async with self.heeded(lent, self.reads, self.spared):
            return await self.instagram.read(lent, person, waited=waited)

    async def talks(self, lent: Lent, *, since: int) -> list[Talk]:
        """Return the account's conversations that changed since then, the last active first."""
        async with self.heeded(lent, self.reads, self.spared):
            return await self.instagram.talks(lent, since=since)

    async def username(self, lent: Lent, person: str) -> str:
        """Return the person's username, empty when the profile is hidden."""
        async with self.heeded(lent, self.profiles, ANY):
            return await self.instagram.username(lent, person)

    @asynccontextmanager
    async def heeded(self, lent: Lent, resting: Resting, spared: frozenset[Fault]) -> AsyncIterator[None]:
        """Heed a failure to the end, also when the caller has no more time for the answer.

        For a fault that is spared, such calls are left out for a while, and nothing else: a send finds out by itself.
        """
        if self.faults.book.clock.now() < max(resting.get(one, 0) for one in (lent.account, ALL)):
            raise BreakerOpen("such a call was refused a moment ago")
        try:
            yield
        except GraphFailure as failure:
            spare = failure.fault in spared
            await asyncio.shield(
                self.faults.spare(lent, failure, resting) if spare else self.faults.heed(lent, failure)
            )
            raise
