"""A responder in this process: the real store and use cases, a clock that tests move, fakes for the world outside.

After every pass the harness checks what design.md promises of each: it ends answered, or with nothing due, or due at
least a second ahead with a reason in `waiting_for`.
"""

import asyncio
import itertools
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from services.common.graph_errors import LIMITS
from services.responder import ledger
from services.responder.book import AccountBook
from services.responder.compose_reply import Composer
from services.responder.deliver import Deliver
from services.responder.faults import Faults, HeededInstagram
from services.responder.gaps import Gaps
from services.responder.incoming import Incoming, IncomingKind
from services.responder.loops import Alarm, Claimer
from services.responder.message import Author, Kind, key_of
from services.responder.metrics import ResponderMetrics
from services.responder.model import PartState
from services.responder.outside import Shown
from services.responder.people import People
from services.responder.post import Poster
from services.responder.sqlite_store import SqliteStore
from services.responder.times import DAY, Policy, Times
from services.responder.work import Worker
from tests.canary import WORDS
from tests.responder.fakes import NAMES, SCOPED, SILENCE, A, Clock, FakeInstagram, FakeTokens, FakeWriter, at_once

ANNA, BEN = "6900000000000001", "6900000000000002"
SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
LEASE = 6 * SECOND


class Died(BaseException):
    """The process that made this call is gone."""


@dataclass
class Outside:
    """What all replicas of a test share: time, the world, one file."""

    path: object
    clock: Clock = field(default_factory=Clock)
    tokens: Any = field(default_factory=FakeTokens)
    writer: FakeWriter = field(default_factory=FakeWriter)
    instagram: FakeInstagram = field(init=False)
    numbers: object = field(default_factory=itertools.count)

    def __post_init__(self):
        self.instagram = FakeInstagram(self.clock)


class Town:
    """One replica, and what customers, people and tests do to it."""

    def __init__(self, outside, policy, *, times=None, gap_check=False, owner="one"):
        self.outside, self.policy, self.times, self.owner = outside, policy, times or Times(), owner
        self.clock, self.tokens = outside.clock, outside.tokens
        self.writer, self.instagram = outside.writer, outside.instagram
        self.store = SqliteStore(outside.path, self.clock)
        self.registry = CollectorRegistry()
        self.metrics = ResponderMetrics(self.registry)
        self.woken, self.kill_at, self.rows = [], "", []
        self.stopping = asyncio.Event()
        self.build(gap_check)

    def build(self, gap_check):
        store, tokens, instagram, policy = self.store, self.tokens, self.instagram, self.policy
        self.book = AccountBook(store.accounts, tokens, self.clock, self.times)
        reading = HeededInstagram(instagram, Faults(self.book, tokens, self.times))
        wake, skips = lambda account, at: self.woken.append((account, at)), self.metrics.skips
        self.deliverer = Deliver(
            store, self.book, policy, wake, skipped=lambda why: skips.labels(why).inc(), times=self.times
        )
        self.composer = Composer(
            store, self.book, reading, self.writer, policy, "Be kind.", self.new_id, gap_check=gap_check
        )
        self.poster = Poster(
            store,
            self.book,
            tokens,
            instagram,
            self.metrics,
            policy,
            self.times,
            at_once,
            self.clock.monotonic,
            self.reached,
            lambda: 0.5,
        )
        self.worker = Worker(
            store,
            self.book,
            tokens,
            reading,
            self.composer,
            self.poster,
            self.metrics,
            policy,
            self.times,
            LEASE,
            lambda: 0.5,
            self.stopping,
        )
        self.claimer = Claimer(
            store, self.book, self.worker, Alarm(self.clock.now), self.owner, LEASE, 4, self.stopping
        )
        self.people = People(store, self.book, policy, self.times, wake, self.new_id)
        unhurried = HeededInstagram(instagram, reading.faults, spared=LIMITS)
        self.gaps = Gaps(store, self.book, tokens, unhurried, self.deliverer, self.metrics, policy)

    def new_id(self):
        return f"reply{next(self.outside.numbers)}"

    def reached(self, step):
        if step == self.kill_at:
            self.kill_at = ""
            raise Died(step)

    def metric(self, name, **labels):
        return self.registry.get_sample_value(name, labels) or 0

    @contextmanager
    def store_down(self):
        """The database does not answer."""
        file = self.store.file
        connections = file.writer, file.reader, file.looker
        file.writer = file.reader = file.looker = None
        try:
            yield
        finally:
            file.writer, file.reader, file.looker = connections

    # --- what happens in Instagram -----------------------------------------------------------------------------------

    def event(self, kind=IncomingKind.MESSAGE, *, person=ANNA, account=A, outgoing=False, **fields):
        sides = (account, person) if outgoing else (person, account)
        known = {"at": self.clock.now(), "mid": f"mid{next(self.outside.numbers)}"} | fields
        return Incoming(kind=kind, account=account, sender=sides[0], recipient=sides[1], is_echo=outgoing, **known)

    async def deliver(self, *events):
        verdicts = await self.deliverer.deliver(events)
        return [str(one.outcome) for one in verdicts]

    async def say(self, text=f"hello, {WORDS}", **fields):
        """The customer writes; return the event."""
        event = self.event(text=text, **fields)
        shown = Shown(mid=event.mid, sender=event.sender, at=event.at, text=text)
        self.instagram.put(event.account, event.sender, shown)
        await self.deliver(event)
        return event

    async def human(self, text=f"a person speaks {WORDS}", **fields):
        """A person writes in the Instagram app, and the echo comes."""
        event = self.event(text=text, outgoing=True, **fields)
        shown = Shown(mid=event.mid, sender=event.account, at=event.at, text=text)
        self.instagram.put(event.account, event.recipient, shown)
        await self.deliver(event)
        return event

    async def echo(self, mid, text, **fields):
        """The echo of something the bot sent."""
        await self.deliver(self.event(text=text, mid=mid, outgoing=True, **fields))

    async def speak(self, text="me", *, person=ANNA, request_id="r"):
        """A person writes through igbot; return, once the row has the words, what waits for what becomes of them."""
        speaking = asyncio.create_task(self.people.say(account=A, person=person, text=text, request_id=request_id))
        async with asyncio.timeout(5):
            while not await self.has_words(person):
                await asyncio.sleep(0.001)
        return speaking

    async def has_words(self, person):
        """Whether a person's words are in the row, and what made way for them in the ledger: then all is handed in."""
        row = await self.row(person)
        made_way = [await self.store.sends.get(one.id) for one in row.unsettled if one.author is Author.BOT]
        return any(one.author is Author.HUMAN for one in ledger.replies_in(row)) and None not in made_way

    async def unsend(self, event):
        at = self.clock.now()
        await self.deliver(replace(event, kind=IncomingKind.UNSEND, text="", at=at))

    async def edit(self, event, text, number=1):
        at = self.clock.now()
        await self.deliver(replace(event, kind=IncomingKind.EDIT, text=text, num_edit=number, at=at))

    # --- time and work -----------------------------------------------------------------------------------------------

    async def advance(self, ms):
        self.clock.ms += ms
        await self.work()

    async def work(self):
        """Do everything that is due now, as a claimer would; check each pass."""
        for _ in range(500):
            row = await self.claim()
            if row is None:
                return
            await self.pass_over(row)
        raise AssertionError("a hot loop: 500 passes without the clock moving")

    async def claim(self):
        for account in sorted(await self.store.conversations.due_accounts()):
            row = await self.claimer.claim(account)
            if row is not None:
                return row
        return None

    async def pass_over(self, row):
        try:
            await self.worker.handle_message(row)
        except Died:
            return
        except Exception as error:  # noqa: BLE001 - the claimer's loop does the same
            await self.worker.blame(row, error)
        await self.settle()
        after = await self.store.conversations.load(row.account, row.person)
        if after is not None and after.fence == row.fence:
            self.check(after)

    def check(self, row):
        """What every pass must leave behind."""
        assert row.lease_until == 0, "a pass must release its conversation"
        if row.due_at is None:
            waits = row.failed or (row.waiting_for is not None and "paused" in row.waiting_for)
            assert not row.unanswered or waits, "unanswered messages with nobody to wake them"
            assert row.reply is None or row.failed, "a reply in hand that nobody will carry on"
        else:
            assert row.due_at >= self.clock.now() + self.times.pass_floor, "due again at once: a hot loop"
            assert row.waiting_for is not None, "it waits and nobody knows for what"

    async def settle(self):
        while self.composer.aside:
            await asyncio.gather(*self.composer.aside)

    async def run(self, for_ms=0):
        """Let time pass until nothing is left to do, or for so long; the clock jumps from due to due."""
        end = self.clock.now() + (for_ms or 2 * DAY)
        while True:
            await self.work()
            upcoming = await self.next_due()
            if upcoming is None or upcoming > end:
                self.clock.ms = end if for_ms else self.clock.ms
                return
            self.clock.ms = max(self.clock.now() + 1, upcoming)

    async def next_due(self):
        rows = await self.store.conversations.find(limit=10_000)
        dues = [max(row.due_at, row.lease_until) for row in rows if row.due_at is not None]
        now = self.clock.now()
        later = [due for due in dues if due > now]
        if len(later) < len(dues):  # due and not claimable: its account is held
            later.append(now + MINUTE)
        if later:
            ends = [one.hold_until for one in await self.store.accounts.all()] + [self.book.app_held_until]
            ends += self.book.tokenless.values()
            later += [end for end in ends if end > now]
        return min(later, default=None)

    # --- what is looked at -------------------------------------------------------------------------------------------

    async def row(self, person=ANNA, account=A):
        return await self.store.conversations.load(account, person)

    async def message(self, event, kind=Kind.MESSAGE):
        found = await self.store.messages.get([key_of(event.account, kind, event.mid)])
        return found[0] if found else None

    async def answered_by(self, event):
        return (await self.message(event)).answered_by

    def got(self, person=ANNA, account=A):
        """What the customer has received, in order; a person's words typed in the app are not in it."""
        return [text for to, whom, _, text in self.instagram.arrived if (to, whom) == (account, person)]

    async def parts(self, person=ANNA, account=A):
        """The states of the parts of the reply in hand."""
        row = await self.row(person, account)
        return [str(part.state) for part in row.reply.parts] if row.reply else []

    async def held(self):
        return [one for one in await self.store.sends.held() if any(p.state is PartState.HELD for p in one.parts)]


async def hold_one(town):
    """Have one reply held: nobody can find out whether it arrived."""
    town.instagram.script = [SILENCE]
    town.instagram.unreadable = True
    message = await town.say("hello")
    await town.run(for_ms=20 * MINUTE)
    town.instagram.unreadable = False
    return message


@asynccontextmanager
async def opened(path, *, outside=None, connected=(A,), gap_check=False, times=None, owner="one", **policy):
    """A town with these accounts connected; `policy` are the operator's choices."""
    outside = outside or Outside(path)
    for account in connected:
        if account not in outside.tokens.known:
            outside.tokens.connect(account)
    town = Town(outside, Policy(**policy), times=times, gap_check=gap_check, owner=owner)
    await town.store.open()
    try:
        yield town
    finally:
        await town.store.close()


__all__ = ["ANNA", "BEN", "HOUR", "MINUTE", "NAMES", "SCOPED", "SECOND", "Died", "Outside", "Town", "opened"]
