"""What runs by itself: claiming what is due, mirroring accounts, gauges, retention, the gap check."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from services.common.errors import BotError, NotConnected, SchemaTooNew, Unavailable
from services.common.request_id import bound
from services.responder import ledger
from services.responder.book import AccountBook
from services.responder.model import Conversation
from services.responder.ports import Store
from services.responder.work import Worker

log = structlog.get_logger(__name__)

POLL = 0.5
"""A wake-up that got lost costs at most this many seconds."""

SHARE = 3
"""An account has at most so many workers in work for each that is free: three quarters of all when it is alone."""


@dataclass
class Alarm:
    """Wakes the claimer when something is due: at once, or at its time."""

    now: Callable[[], int]
    rung: asyncio.Event = field(default_factory=asyncio.Event)
    accounts: set[str] = field(default_factory=set)

    def wake(self, account: str, due_at: int) -> None:
        """Ring for this account at `due_at`, by the store's clock; a little later, since clocks are compared."""
        wait = (due_at - self.now()) / 1000
        if wait <= 0:
            self.ring(account)
        else:
            asyncio.get_running_loop().call_later(wait + 0.002, self.ring, account)

    def ring(self, account: str) -> None:
        """Ring now."""
        self.accounts.add(account)
        self.rung.set()

    async def heard(self, within: float) -> set[str]:
        """Wait for a ring, no longer than `within` seconds; return whom it was for."""
        try:
            async with asyncio.timeout(within):
                await self.rung.wait()
        except TimeoutError:
            return set()
        self.rung.clear()
        heard, self.accounts = self.accounts, set()
        return heard


@dataclass
class Claimer:
    """Claims due conversations, one at a time, the accounts in turn, never more than `workers` at once."""

    store: Store
    book: AccountBook
    worker: Worker
    alarm: Alarm
    owner: str
    lease_ms: int
    workers: int
    stopping: asyncio.Event
    running: dict[asyncio.Task[None], str] = field(default_factory=dict)  # with the account that it is for
    crowded: set[str] = field(default_factory=set)  # accounts that rang when no worker was free for them
    last: str = ""
    polled: float = 0.0

    async def run(self) -> None:
        """Claim until told to stop, whatever a round meets; then wait for what is under way."""
        while not self.stopping.is_set():
            heard = await self.alarm.heard(POLL)
            try:
                await self.claim_all(await self.due(heard))
            except Unavailable as error:
                log.warning("claiming_paused", error=str(error))
                await asyncio.sleep(POLL)
            except Exception:
                log.exception("claiming_failed")
                await asyncio.sleep(POLL)
        if self.running:
            await asyncio.wait(set(self.running))

    async def due(self, heard: set[str]) -> set[str]:
        """Return the accounts with something due: those that rang, and every half second all."""
        now = asyncio.get_running_loop().time()
        if heard and now - self.polled < POLL:
            return heard
        self.polled = now
        return heard | set(await self.store.conversations.due_accounts())

    async def claim_all(self, due: set[str]) -> None:
        """Take one conversation of each account in turn until nothing is left or no worker is free for any.

        After a few it comes back for whoever rang meanwhile: nobody's backlog may delay another account's first.
        """
        turn, taken = in_turn(due, self.last), 0
        while turn and not self.stopping.is_set():
            if taken >= self.workers:
                self.alarm.accounts |= set(turn)
                self.alarm.rung.set()
                return
            account = turn.pop(0)
            if not self.has_room(account):
                self.crowded.add(account)
                continue
            row = await self.claim(account)
            if row is not None:
                self.last = account
                taken += 1
                self.start(row)
                turn.append(account)

    def has_room(self, account: str) -> bool:
        """Whether a worker is free for the account: with several accounts, while it has few enough.

        So an account whose replies take long, thousands of them, leaves workers for another's first ones:
        https://doi.org/10.1109/90.664262 (dynamic thresholds).
        """
        free = self.workers - len(self.running)
        if not self.book.has_several:
            return free > 0
        mine = sum(one == account for one in self.running.values())
        return mine < SHARE * free

    async def claim(self, account: str) -> Conversation | None:
        """Claim the account's next conversation, if anything of it may be worked on."""
        try:
            if not await self.book.may_work(account):
                return await self.claim_words(account)
            row = await self.store.conversations.claim(account, self.owner, self.lease_ms)
        except SchemaTooNew:  # the newer igbot beside this one can read it, when the lease is over
            log.exception("claim_unreadable", account=account)
            return None
        if row is None:
            await self.book.give_back(account, self.book.probing.get(account))
        return row

    async def claim_words(self, account: str) -> Conversation | None:
        """Claim a conversation in which a person's own words wait: they go out though the account is paused.

        Who was to speak and did not, because their process died or lost a race, is forgotten: the claim has changed
        the row's `rev`, so words that were on their way name their person again.
        """
        whose = await self.book.current(account)
        for person in whose.speaking if self.book.lets_speak(whose) else ():
            row = await self.store.conversations.claim(account, self.owner, self.lease_ms, person=person)
            if row is not None and ledger.has_words(ledger.replies_in(row)):
                return row
            if row is not None:
                await self.book.said_nothing(whose, person)
                await self.store.conversations.save(row, release=True)
                return None  # the account's row was read before: the others have their turn with the next claim
        return None

    def start(self, row: Conversation) -> None:
        """Work on it beside the others."""
        task = asyncio.create_task(self.work(row))
        self.running[task] = row.account
        task.add_done_callback(self.ended)

    def ended(self, task: asyncio.Task[None]) -> None:
        """A worker is free again: ring for those that found none, and for whom its probe may have been given back."""
        whose = self.running.pop(task)
        crowded, self.crowded = self.crowded, set()
        _, seen = self.book.seen.get(whose, (0, None))
        for account in crowded if seen is None or seen.hold is None else crowded | {whose}:
            self.alarm.ring(account)

    async def work(self, row: Conversation) -> None:
        """Work on one conversation; whatever happens, the loop lives and the lease lets another try."""
        with bound(requests_of(row), account=row.account, person=row.person):
            try:
                await self.worker.handle_message(row)
            except Unavailable as error:
                log.warning("pass_interrupted", error=str(error))
            except Exception as error:
                log.exception("pass_failed")
                await self.worker.blame(row, error)


def requests_of(row: Conversation) -> list[str]:
    """Return the ids that follow the messages which a pass is about."""
    answered = row.reply.answers if row.reply else ()
    return [one.request for one in (*answered, *row.unanswered)]


def in_turn(due: set[str], last: str) -> list[str]:
    """Return the accounts in a fixed order, beginning behind the one that had its turn last."""
    ordered = sorted(due)
    return [one for one in ordered if one > last] + [one for one in ordered if one <= last]


async def every(seconds: float, work: Callable[[], Awaitable[None]], stopping: asyncio.Event, *, name: str) -> None:
    """Do something now and then again and again until told to stop; a failure is logged and waited out."""
    while not stopping.is_set():
        try:
            await work()
        except (BotError, NotConnected, TimeoutError) as error:
            log.info("round_skipped", loop=name, error=str(error))
        except Exception:
            log.exception("round_failed", loop=name)
        try:
            async with asyncio.timeout(seconds):
                await stopping.wait()
        except TimeoutError:
            continue
