"""The gap check: what Instagram shows and no delivery brought is recorded as if it had been delivered."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog

from services.common.account_state import AccountState
from services.common.errors import BotError, NotConnected, Unavailable
from services.common.graph import GraphFailure
from services.responder.account import Account, HoldReason
from services.responder.answers import LATER
from services.responder.book import AccountBook
from services.responder.deliver import Deliver
from services.responder.incoming import Incoming, IncomingKind, Outcome
from services.responder.message import Kind, key_of
from services.responder.metrics import ResponderMetrics
from services.responder.outside import AccountHeld, BreakerOpen, Instagram, Lent, Shown, Talk, Tokens
from services.responder.ports import Store
from services.responder.stubs import is_stub
from services.responder.taps import tapped
from services.responder.times import MINUTE, Policy

log = structlog.get_logger(__name__)

TOO_YOUNG = 1 * MINUTE
"""Younger messages are probably on their way."""
LATE = 10 * MINUTE
"""Instagram may list a change of a conversation this late."""
TOGETHER = 8
"""Accounts that are looked at side by side: each has its own pace, and waits most of the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What a check came to: accounts that were looked at, messages that were missing, accounts that could not be."""

    accounts: int
    messages: int
    skipped: int = 0


@dataclass
class Compared:
    """What was compared of one account. A person stands here as a keyed hash, which an erasure may leave behind."""

    until: int = 0  # every conversation that changed before was compared
    talks: dict[bytes, int] = field(default_factory=dict)  # those that changed since -> their updated_at
    unread: set[bytes] = field(default_factory=set)  # those that could not be compared the last time
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass
class Gaps:
    """Compares recent messages with the store, account by account."""

    store: Store
    book: AccountBook
    tokens: Tokens
    instagram: Instagram
    deliver: Deliver
    metrics: ResponderMetrics
    policy: Policy
    compared: dict[bytes, Compared] = field(default_factory=dict)
    key: bytes = field(default_factory=partial(secrets.token_bytes, 32), repr=False)

    async def check_all(self, accounts: Sequence[Account], *, most: int | None = None) -> Looked:
        """Check the active ones, of each so many conversations at most; one that fails stops no other.

        When an account was connected is the mirror's news: what was said before is none of our business, so an account
        of which nobody told that yet waits for it. Raises Unavailable when it is no account's fault: the store is down,
        or the token service for all.
        """
        active = [one for one in accounts if one.state == AccountState.ACTIVE and one.connected_at]
        room = asyncio.Semaphore(TOGETHER)

        async def one(account: Account) -> int:
            async with room:
                return await self.check(account, most)

        outcomes = await asyncio.gather(*(one(account) for account in active), return_exceptions=True)
        found, failures = sorted_out(active, outcomes)
        if failures:
            await self.store.ping()
            if not found and all(map(nobodys, failures)):
                raise failures[0]
        return Looked(accounts=len(found), messages=sum(found), skipped=len(failures))

    async def check(self, account: Account, most: int | None) -> int:
        """Record what is missing of one account; return how many messages that were.

        It may be stopped anywhere, or after so many conversations: the next check goes on with those that are left.
        What keeps one from being compared keeps no other from it, and is raised at the end.
        """
        compared = self.compared.setdefault(self.hashed(account.account), Compared())
        async with compared.turn:
            await self.stand_back(account)
            lent = await self.tokens.lend(account.account)
            now = self.store.clock.now()
            since = max(account.connected_at, now - self.policy.stale, compared.until)
            compared.talks = {one: at for one, at in compared.talks.items() if at >= since}
            changed = [one for one in await self.instagram.talks(lent, since=since) if one.updated_at >= since]
            changed = [one for one in changed if compared.talks.get(self.hashed(one.person)) != one.updated_at]
            # Those that could not be read come last, and before them those that will be looked at again anyway.
            changed.sort(
                key=lambda one: (self.hashed(one.person) in compared.unread, one.updated_at >= now - TOO_YOUNG)
            )
            compared.unread &= {self.hashed(one.person) for one in changed}
            missing, failure = await self.check_each(account, lent, changed[:most], compared)
            if failure is not None:
                raise failure
            if changed[:most] == changed:
                compared.until = max(compared.until, now - LATE)
        return missing

    async def check_each(
        self, account: Account, lent: Lent, talks: Sequence[Talk], compared: Compared
    ) -> tuple[int, BotError | TimeoutError | None]:
        """Return how many messages were missing, and the first failure; one that goes for all is raised at once."""
        missing, first = 0, None
        for talk in talks:
            hashed = self.hashed(talk.person)
            try:
                missing += await self.check_changed(account, lent, talk, compared)
                compared.unread.discard(hashed)
            except (BotError, TimeoutError) as error:
                compared.unread.add(hashed)
                if not of_one_talk(error):
                    raise
                log.info("conversation_not_compared", account=account.account, error=str(error) or type(error).__name__)
                first = first or error
        return missing, first

    async def stand_back(self, account: Account) -> None:
        """Raise AccountHeld while the account is held or near a limit: whoever can wait makes no calls then."""
        row = await self.book.current(account.account)
        if self.store.clock.now() < self.book.left_alone_until(row):
            raise AccountHeld(row.hold or HoldReason.RATE_LIMITED)

    async def check_changed(self, account: Account, lent: Lent, talk: Talk, compared: Compared) -> int:
        """Record what is missing of one conversation, and remember that it was compared as it is now."""
        await self.stand_back(account)
        now = self.store.clock.now()
        missing = await self.check_talk(account, lent, talk.person)
        if talk.updated_at < now - TOO_YOUNG:
            compared.talks[self.hashed(talk.person)] = talk.updated_at
        return missing

    async def check_talk(self, account: Account, lent: Lent, person: str) -> int:
        """Record what is missing of one conversation."""
        reading = await self.instagram.read(lent, person)
        now = self.store.clock.now()
        oldest = max(account.connected_at, now - self.policy.stale)
        shown = [one for one in (reading.messages if reading else ()) if oldest <= one.at <= now - TOO_YOUNG]
        lost = [as_incoming(one, account, person) for one in await self.unknown(account, person, shown)]
        verdicts = await self.deliver.deliver(lost) if lost else []
        found = sum(verdict.outcome is Outcome.STORED for verdict in verdicts)
        self.metrics.gap_messages.inc(found)
        if found:
            log.warning("gap_found", account=account.account, messages=found)
        if any(verdict.outcome is Outcome.LATER for verdict in verdicts):
            raise Unavailable("a missing message could not be recorded yet")
        return found

    async def unknown(self, account: Account, person: str, shown: Sequence[Shown]) -> list[Shown]:
        """Return those shown messages that no delivery brought, neither as a message nor as a tap."""
        keys = {key_of(account.account, kind_of(one, account), one.mid): one for one in shown}
        known = {one.key for one in await self.store.messages.get(list(keys)) if not is_stub(one)}
        lost = [one for key, one in keys.items() if key not in known]
        theirs = [one for one in lost if kind_of(one, account) is Kind.MESSAGE]
        delivered = await tapped(self.store.messages, account.account, person, theirs) if theirs else set()
        return [one for one in lost if one.mid not in delivered]

    def hashed(self, name: str) -> bytes:
        """Return what stands for an id in this process's memory."""
        return hashlib.blake2b(name.encode(), key=self.key, digest_size=16).digest()


def sorted_out(
    accounts: Sequence[Account], outcomes: Sequence[int | BaseException]
) -> tuple[list[int], list[BotError | TimeoutError]]:
    """Return what was found, account by account, and what kept others from being looked at. Raises what is a fault."""
    found, failures = [], []
    for account, outcome in zip(accounts, outcomes, strict=True):
        if isinstance(outcome, int):
            found.append(outcome)
        elif isinstance(outcome, (BotError, TimeoutError)):
            failures.append(outcome)
            log.info("gap_check_skipped", account=account.account, error=str(outcome) or type(outcome).__name__)
        else:
            raise outcome
    return found, failures


def nobodys(failure: BotError | TimeoutError) -> bool:
    """Whether a failure says nothing of its account: ours, or the token service's."""
    return isinstance(failure, Unavailable) and not isinstance(failure, (GraphFailure, BreakerOpen, AccountHeld))


def of_one_talk(failure: BotError | TimeoutError) -> bool:
    """Whether the account's other conversations may be compared all the same."""
    if isinstance(failure, GraphFailure):
        return failure.fault not in LATER
    return not isinstance(failure, (Unavailable, NotConnected))


def kind_of(one: Shown, account: Account) -> Kind:
    """Return the kind under which its delivery would be stored."""
    return Kind.ECHO if one.sender in {account.account, account.app_scoped_id} else Kind.MESSAGE


def as_incoming(one: Shown, account: Account, person: str) -> Incoming:
    """Return a message that Instagram shows as the event that should have come."""
    outgoing = kind_of(one, account) is Kind.ECHO
    return Incoming(
        kind=IncomingKind.MESSAGE,
        account=account.account,
        sender=account.account if outgoing else person,
        recipient=person if outgoing else account.account,
        at=one.at,
        mid=one.mid,
        text=one.text,
        is_echo=outgoing,
        is_unsupported=not one.text and not outgoing,
    )
