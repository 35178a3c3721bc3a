"""What the state machine is made of: the real use cases over a store in memory, tasks that wait at gates, and time."""

import asyncio
import contextlib
from dataclasses import replace

from hypothesis.stateful import RuleBasedStateMachine
from prometheus_client import CollectorRegistry

from services.common.errors import BotError, Unavailable
from services.responder.book import AccountBook
from services.responder.compose_reply import Composer
from services.responder.deliver import Deliver
from services.responder.incoming import Incoming, IncomingKind
from services.responder.metrics import ResponderMetrics
from services.responder.model import PartState
from services.responder.people import People
from services.responder.post import Poster
from services.responder.times import HOUR, SECOND, Policy, Times
from services.responder.work import Worker
from tests.responder.memory import ACCOUNT, PERSON, Clock, Crash, Gates, MemoryStore, OneToken, World, account
from tests.responder.memory_store import MemoryConversations
from tests.responder.truth import Truth, sending

LEASE = 6 * SECOND
POST_GATES = ("post", "posted")
ROUNDS = 40


class Rows(MemoryConversations):
    """A move to `sending` passes one more gate before the write answers; the answer may be lost there."""

    async def save(self, row, *, release=False):
        before = await self.load(row.account, row.person)
        saved = await super().save(row, release=release)
        if sending(saved) - sending(before) and await self.store.gates.passed("saved") == "lost":
            raise Unavailable("the answer to a write was lost")
        return saved


class Words(People):
    """A person's words, without the wait for what becomes of them."""

    async def outcome(self, row, reply_id):
        return None


class Pieces(RuleBasedStateMachine):
    """The responder, taken apart; `held` are the tasks that are frozen for a while."""

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock, self.times = Clock(), Times()
        self.gates = Gates(self.clock)
        self.store = MemoryStore(self.clock, self.gates)
        self.store.conversations = Rows(self.store)
        self.store.books[ACCOUNT] = account()
        self.world = World(self.clock, self.gates)
        self.tasks, self.number, self.drafts, self.held = {}, 0, 0, set()
        self.policy = Policy(quiet=0, quiet_max=0, per_hour=0, per_day=0)
        self.truth = Truth(self.store, self.world, self.policy, self.times)
        self.store.on_save = self.truth.watch_save
        self.world.on_post, self.world.on_arrival = self.truth.watch_post, self.truth.watch_arrival

    def choose(self, policy):
        self.policy = self.truth.policy = replace(self.policy, **policy)

    def book(self):
        return AccountBook(self.store.accounts, OneToken(), self.clock, self.times)

    def deliverer(self):
        return Deliver(self.store, self.book(), self.policy, lambda _account, _at: None, times=self.times)

    def people(self):
        return Words(self.store, self.book(), self.policy, self.times, lambda _account, _at: None, self.new_id)

    def worker(self):
        book, metrics = self.book(), ResponderMetrics(CollectorRegistry())
        stopping = self.loop.run_until_complete(made(asyncio.Event))
        composer = Composer(
            self.store, book, self.world, self.world, self.policy, "system", self.new_id, gap_check=False
        )
        poster = Poster(
            self.store,
            book,
            OneToken(),
            self.world,
            metrics,
            self.policy,
            self.times,
            at_once,
            self.clock.monotonic,
            lambda _step: None,
            lambda: 0.5,
        )
        return Worker(
            self.store,
            book,
            OneToken(),
            self.world,
            composer,
            poster,
            metrics,
            self.policy,
            self.times,
            LEASE,
            lambda: 0.5,
            stopping,
        )

    def new_id(self):
        self.drafts += 1
        return f"reply{self.drafts}"

    # --- tasks --------------------------------------------------------------------------------------------------------

    def launch(self, name, coroutine):
        async def outer():
            with contextlib.suppress(Crash, BotError):
                await coroutine

        async def begin():
            self.tasks[name] = asyncio.get_running_loop().create_task(outer(), name=name)

        self.loop.run_until_complete(begin())
        self.settle()

    def settle(self):
        async def some_turns():
            for _ in range(12):
                await asyncio.sleep(0)

        self.loop.run_until_complete(some_turns())
        for name, task in list(self.tasks.items()):
            if task.done():
                del self.tasks[name]
                task.result()

    def open(self, name, how="go"):
        self.gates.open(name, how)
        self.settle()

    def free(self):
        """Who waits at a gate and is not frozen."""
        return sorted(self.gates.waiting.keys() - self.held)

    def run_on(self, how="go"):
        """Let everybody go on to the end who is not frozen; `how` is for those who post."""
        for _ in range(ROUNDS):
            names = self.free()
            if not names:
                return
            for name in names:
                self.gates.open(name, how if self.gates.waiting[name][0] == "post" else "go")
            self.settle()

    @contextlib.contextmanager
    def frozen(self, names):
        """These stay where they are meanwhile, as a stopped process does."""
        before = set(self.held)
        self.held |= set(names)
        yield
        self.held = before & self.gates.waiting.keys()

    def bring_to(self, *gates):
        """Run workers until one waits at one of the gates; return its name, None when none gets there."""
        for _ in range(ROUNDS):
            there = [name for name in self.gates.at(*gates) if name not in self.held]
            if there:
                return there[0]
            names = self.free()
            if not names and not self.take_up():
                return None
            for name in names:
                self.gates.open(name)
            self.settle()
        return None

    def claim_one(self):
        row = self.loop.run_until_complete(self.store.conversations.claim(ACCOUNT, "w", LEASE))
        if row is not None:
            self.number += 1
            self.launch(f"worker{self.number}", self.worker().handle_message(row))
        return row is not None

    def take_up(self):
        """Claim the conversation, after as much time as that takes, but not for long; False: nothing is due."""
        row = self.row()
        if row is None or row.due_at is None:
            return False
        wait = max(row.due_at, row.lease_until) - self.clock.ms
        if wait > self.times.newer_wait + 10 * SECOND:
            return False
        self.pass_time(max(0, wait))
        return self.claim_one()

    def row(self):
        return self.store.rows.get((ACCOUNT, PERSON))

    def unknown(self):
        row = self.row()
        return row is not None and any(p.state is PartState.UNKNOWN for p in (row.reply.parts if row.reply else ()))

    # --- time ---------------------------------------------------------------------------------------------------------

    def pass_time(self, ms):
        """A POST gives up after ten seconds, a process that stood still between `sending` and its POST makes none."""
        for name in self.gates.at(*POST_GATES):
            since = self.gates.waiting[name][1]
            if self.clock.ms + ms - since > self.times.post_timeout or ms > 2_500:
                self.gates.open(name, "timeout")
        self.settle()
        if ms > HOUR:
            self.truth.upset.add("time")
        self.clock.ms += ms

    # --- events -------------------------------------------------------------------------------------------------------

    def event(self, **fields):
        base = {"kind": IncomingKind.MESSAGE, "account": ACCOUNT, "sender": PERSON, "recipient": ACCOUNT}
        return Incoming(**(base | {"at": self.clock.now()} | fields))

    def echo(self, mid, text, at):
        return self.event(mid=mid, text=text, at=at, is_echo=True, sender=ACCOUNT, recipient=PERSON)

    def hand_in(self, event):
        self.number += 1
        resumes = self.truth.resumes
        self.truth.begins(event)

        async def deliver():
            await self.deliverer().deliver([event])
            self.truth.delivered(event, resumes)

        self.launch(f"deliver{self.number}", deliver())

    def operate(self, coroutine, after=lambda: None, ended=lambda: None):
        """Somebody uses the command line; `ended` is called as well when they die before they hear what came of it."""
        self.number += 1

        async def operated():
            try:
                await coroutine
                after()
            finally:
                ended()

        self.launch(f"operator{self.number}", operated())


async def made(factory):
    return factory()


async def at_once(_account):
    return None
