"""Deliver: each event is stored once and changes its conversation's row once, in whatever order it comes.

It may be stopped between any two lines and called again: messages are inserted under their key, and the rules of
record.py and echoes.py give the same row for an event that was applied before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
from msgspec.structs import replace

from services.common.errors import NotConnected, Unavailable, UnknownAccount
from services.responder import echoes, ledger, record, taps
from services.responder.account import Account
from services.responder.book import AccountBook
from services.responder.corrections import Corrections
from services.responder.incoming import (
    CORRECTIONS,
    Incoming,
    IncomingKind,
    Outcome,
    Verdict,
    answerable,
    as_echo,
    as_message,
    as_pending,
    is_outgoing,
    key_kinds,
    person_of,
    wrong,
)
from services.responder.late_echoes import LateEchoes
from services.responder.message import Author, Kind, Message, Stored, key_of
from services.responder.metrics import Skip
from services.responder.model import Conversation
from services.responder.pauses import caught_up
from services.responder.ports import Rule, Store
from services.responder.times import Policy, Times
from services.responder.words import digest, is_word

log = structlog.get_logger(__name__)

SAID = frozenset({IncomingKind.MESSAGE, IncomingKind.POSTBACK})


class ErasedMeanwhile(Exception):
    """The person was erased between two lines of a delivery: the row that it began with must not come back."""


def unheard(_: Skip) -> None:
    """Count nothing."""


Placed = tuple[int, Incoming]
"""An event with its place in the call, which is its verdict's place too."""


@dataclass
class Deliver:
    """The use case behind Responder.Deliver."""

    store: Store
    book: AccountBook
    policy: Policy
    wake: Callable[[str, int], None]  # account, when
    told: dict[str, int] = field(default_factory=dict)  # unknown account -> when it was last logged
    skipped: Callable[[Skip], None] = unheard  # counts what will get no reply
    times: Times = field(default_factory=Times)
    corrections: Corrections = field(init=False)
    late_echoes: LateEchoes = field(init=False)

    def __post_init__(self) -> None:
        """Correct messages and settle replies in the same store."""
        self.corrections = Corrections(self.store.messages)
        self.late_echoes = LateEchoes(self.store.sends, self.times)

    async def deliver(self, events: Sequence[Incoming]) -> list[Verdict]:
        """Return one verdict an event, in order. Raises Unavailable when the store is down."""
        verdicts = [wrong(event) for event in events]
        groups: dict[tuple[str, str], list[Placed]] = {}
        accounts: dict[str, Account | Verdict] = {}
        for place, event in enumerate(events):
            if verdicts[place] is not None:
                continue
            if event.account not in accounts:
                accounts[event.account] = await self.look_up(event.account)
            found = accounts[event.account]
            if isinstance(found, Verdict):
                verdicts[place] = found
                if found.reason == Skip.DISCONNECTED:
                    self.skipped(Skip.DISCONNECTED)
                continue
            person = await self.person(event, found)
            if person is None:
                verdicts[place] = Verdict(Outcome.INVALID, "neither_side_is_the_account")
            else:
                groups.setdefault((found.account, person), []).append((place, event))
        by_account = {row.account: row for row in accounts.values() if isinstance(row, Account)}
        done = await asyncio.gather(
            *(self.take_in(by_account[account], person, group) for (account, person), group in groups.items())
        )
        for group_verdicts in done:
            for place, verdict in group_verdicts:
                verdicts[place] = verdict
        return [verdict or Verdict(Outcome.LATER, "not_reached") for verdict in verdicts]

    async def look_up(self, account_id: str) -> Account | Verdict:
        """Return the account, or the verdict on all of its events."""
        try:
            return await self.book.resolve(account_id)
        except UnknownAccount:
            self.tell(account_id)
            return Verdict(Outcome.UNKNOWN_ACCOUNT, "")
        except NotConnected:
            return Verdict(Outcome.IGNORED, str(Skip.DISCONNECTED))
        except Unavailable:
            await self.store.ping()  # our own store down is UNAVAILABLE, tokens down is LATER
            return Verdict(Outcome.LATER, "tokens_unreachable")

    def tell(self, account_id: str) -> None:
        """Log an unknown account once a minute at most."""
        now = self.store.clock.now()
        self.told = {one: at for one, at in self.told.items() if now - at < 60_000}
        if account_id not in self.told:
            self.told[account_id] = now
            log.warning("account_unknown", account=account_id)

    async def person(self, event: Incoming, account: Account) -> str | None:
        """Return the customer; edits and unsends may come without one and are found by their mid."""
        person = person_of(event, account) if event.sender or event.recipient else ""
        if person != "":
            return person
        keys = [key_of(account.account, kind, event.mid) for kind in (Kind.MESSAGE, Kind.POSTBACK, Kind.ECHO)]
        found = await self.store.messages.get(keys)
        return found[0].person if found else ""

    async def take_in(self, account: Account, person: str, group: Sequence[Placed]) -> list[tuple[int, Verdict]]:
        """Store the events of one conversation, then change its row once."""
        placed = sorted(group, key=lambda one: one[1].at)
        row = await self.store.conversations.load(account.account, person) if person else None
        erased_at = row.erased_at if row else await self.store.erasing.erased_at(account.account, person)
        gone = [(place, Verdict(Outcome.IGNORED, "erased")) for place, event in placed if event.at <= erased_at]
        placed = [(place, event) for place, event in placed if event.at > erased_at]
        if not placed:
            return gone
        row = row or Conversation(account=account.account, person=person, erased_at=erased_at)
        try:
            stored, changed = await self.recorded(account, row, [event for _, event in placed])
        except ErasedMeanwhile:
            # What was put down here came after the erasure: it goes as well.
            await self.store.erasing.erase(account.account, person)
            return gone + [(place, Verdict(Outcome.LATER, "erased_meanwhile")) for place, _ in placed]
        if changed is not None and changed.due_at is not None:
            self.wake(account.account, changed.due_at)
        return gone + [
            (place, Verdict(Outcome.STORED if one.new else Outcome.DUPLICATE, ""))
            for (place, _), one in zip(placed, stored, strict=True)
        ]

    async def recorded(
        self, account: Account, row: Conversation, events: Sequence[Incoming]
    ) -> tuple[list[Stored], Conversation | None]:
        """Store the events, change the row; return both, the row None when it stays as it is."""
        if any(event.kind in CORRECTIONS or event.kind is IncomingKind.POSTBACK for event in events):
            stored = await self.put_down(account, row.person, events)
            return stored, await self.change_row(account, row, list(zip(events, stored, strict=True)))
        now = self.store.clock.now()
        messages = [as_message(event, account, row.person, now=now) for event in events]
        stored, after, saved = await self.store.record(messages, row, await self.rule(account, row, events))
        self.count(events, stored)
        return stored, await self.change_row(account, row, list(zip(events, stored, strict=True)), (after, saved))

    def count(self, events: Sequence[Incoming], stored: Sequence[Stored]) -> None:
        """Count what is new and needs no answer."""
        for event, one in zip(events, stored, strict=True):
            if one.new and one.message.answered_by == Skip.NOTHING_TO_ANSWER and event.kind in SAID:
                self.skipped(Skip.NOTHING_TO_ANSWER)

    async def put_down(self, account: Account, person: str, events: Sequence[Incoming]) -> list[Stored]:
        """Store each event under its key, in the order of the events."""
        now = self.store.clock.now()
        plain = [event for event in events if event.kind not in CORRECTIONS]
        messages = [as_message(event, account, person, now=now) for event in plain]
        added = await taps.add(self.store.messages, messages)
        self.count(plain, added)
        by_event = {
            id(event): await self.corrections.of_tap(one) if one.message.kind is Kind.POSTBACK else one
            for event, one in zip(plain, added, strict=True)
        }
        for event in events:
            if id(event) not in by_event:
                by_event[id(event)] = await self.corrections.correct(event, account, person, now=now)
        return [by_event[id(event)] for event in events]

    async def change_row(
        self,
        account: Account,
        row: Conversation,
        pairs: Sequence[tuple[Incoming, Stored]],
        tried: tuple[Conversation, Conversation | None] | None = None,
    ) -> Conversation | None:
        """Apply the events to the row and write it, again until nobody was faster. None: nothing changed.

        `tried` is what came of a first try: the row as wanted, and as written. The messages are always read after the
        row: one that the row does not hold any more shows who answered it.
        """
        if not row.person:
            return None
        events, messages = [event for event, _ in pairs], [stored.message for _, stored in pairs]
        while True:
            after, saved = tried or await self.change_once(account, row, events, messages)
            if saved is not None:
                await self.still_known(row)
                return saved
            tried = None
            newest = await self.store.conversations.load(row.account, row.person)
            if after == row and (newest.rev if newest else 0) == row.rev:
                return None  # nothing to change, and that is still so: a row read too early proves nothing
            if newest is None:
                raise ErasedMeanwhile
            row = newest
            known = {one.key: one for one in await self.store.messages.get([one.key for one in messages])}
            messages = [known.get(one.key, one) for one in messages]

    async def change_once(
        self, account: Account, row: Conversation, events: Sequence[Incoming], messages: Sequence[Message]
    ) -> tuple[Conversation, Conversation | None]:
        """Apply the events to the row; return it as wanted, and as written."""
        after = (await self.rule(account, row, events))(messages)
        return after, None if after == row else await self.store.conversations.save(after)

    async def rule(self, account: Account, row: Conversation, events: Sequence[Incoming]) -> Rule:
        """Return what makes the row afterwards of the messages of these events."""
        echoes = [event for event in events if may_be_ours(event, account)]
        # The row was read before this question: a reply is in `sends` before it leaves the row.
        ours = {event.mid for event in echoes if await self.store.sends.owns(account.account, event.mid)}
        strangers = [one for one in echoes if one.mid not in ours and not self.is_of_row(row, one)]
        ours |= await self.late_echoes.settle(row, strangers)
        held = await self.late_echoes.still_held(row) if row.held and echoes else row.held

        def rule(messages: Sequence[Message]) -> Conversation:
            after = replace(caught_up(row, account), held=held)
            for event, message in zip(events, messages, strict=True):
                if may_be_ours(event, account) and event.mid in ours:
                    after = ledger.disown_pause(after, event.mid)
                else:
                    after = self.apply(after, event, message, account)
            return after

        return rule

    def is_of_row(self, row: Conversation, echo: Incoming) -> bool:
        """Whether an echo is of a part of the replies in the row."""
        meant = ledger.meant(row, digest(echo.text), echo.at, self.times)
        return echo.mid in ledger.mids_in(row) or meant is not None

    async def still_known(self, row: Conversation) -> None:
        """Raise ErasedMeanwhile when a row that was just inserted began before an erasure and was written after it."""
        if row.rev == 0 and await self.store.erasing.erased_at(row.account, row.person) != row.erased_at:
            raise ErasedMeanwhile

    def apply(self, row: Conversation, event: Incoming, message: Message, account: Account) -> Conversation:
        """Return the row after one event."""
        now = self.store.clock.now()
        stop = is_word(message.text, self.policy.stop_words)
        start = is_word(message.text, self.policy.start_words)
        if event.kind is IncomingKind.UNSEND:
            for kind in key_kinds(event, account):
                row = record.take_back(row, key_of(account.account, kind, event.mid), now=now)
            return row
        if event.kind is IncomingKind.EDIT:
            counts = message.recorded_at and message.author is Author.CUSTOMER
            return record.edit(row, message, stop=stop, start=start, now=now) if counts else row
        if event.kind not in SAID or event.standby:
            return row
        if is_outgoing(event, account):
            if event.kind is IncomingKind.POSTBACK:
                return row
            return echoes.take_in(row, as_echo(event, message), now=now, times=self.times, policy=self.policy)
        if message.taken_back:
            return record.taken_back_before(row, message, now=now)
        if not answerable(event):
            return record.seen(row, event.at, now=now)
        read_before = message.answered_by == Skip.NOTHING_TO_ANSWER  # as history, before its delivery came
        if message.answered_by and not read_before:
            return row
        one = as_pending(message, stop=stop, request=event.request)
        added = record.add_message(row, one, start=start, now=now, policy=self.policy)
        return record.unmarked(added, message) if read_before and added != row else added


def may_be_ours(event: Incoming, account: Account) -> bool:
    """Whether the event shows something that the account wrote, which may be in one of its replies."""
    return event.kind is IncomingKind.MESSAGE and not event.standby and is_outgoing(event, account)
