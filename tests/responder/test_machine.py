"""The ledger against everything at once: hypothesis delivers, kills, delays, reorders and looks for a wrong answer.

The real use cases run over a store in memory; every call that can fail or be overtaken waits at a gate until the
machine lets it go, or kills its caller there. tests/README.md has the table of what turns red when a condition is
taken out.
"""

import asyncio
import contextlib
import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from prometheus_client import CollectorRegistry

from services.responder.book import AccountBook
from services.responder.compose_reply import Composer
from services.responder.deliver import Deliver
from services.responder.incoming import Incoming, IncomingKind
from services.responder.message import Author
from services.responder.metrics import ResponderMetrics
from services.responder.model import PartState
from services.responder.post import Poster
from services.responder.times import Policy, Times
from services.responder.work import Worker
from tests.responder.memory import (
    ACCOUNT,
    PERSON,
    Clock,
    Crash,
    Gates,
    MemoryStore,
    OneToken,
    World,
    account,
)

LEASE = 6_000
HOUR = 3_600_000
POSTS = ["go", "sent_timeout", "sent_500", "timeout", "500", "refused_connection", "rejected", "go", "go"]
EXAMPLES = int(os.environ.get("IGBOT_TEST_EXAMPLES", "150"))
STEPS = int(os.environ.get("IGBOT_TEST_STEPS", "60"))


class Machine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock, self.gates = Clock(), Gates()
        self.store = MemoryStore(self.clock, self.gates)
        self.store.on_save = self.watch_save
        self.store.books[ACCOUNT] = account()
        self.world = World(self.clock, self.gates, on_post=self.watch_post)
        self.policy = Policy(quiet=0, quiet_max=0, per_hour=0, per_day=0, stale=30 * HOUR)
        self.tasks, self.number, self.drafts = {}, 0, 0
        self.sent_events, self.done_events = [], []
        self.echoes, self.taken, self.texts, self.human_at = [], {}, {}, []
        self.draining, self.jumped, self.edits = False, False, {}

    # --- the pieces ------------------------------------------------------------------------------------------------

    def deliverer(self):
        book = AccountBook(self.store.accounts, OneToken(), self.clock, Times())
        return Deliver(self.store, book, self.policy, lambda _account, _at: None)

    def worker(self):
        book = AccountBook(self.store.accounts, OneToken(), self.clock, Times())
        metrics = ResponderMetrics(CollectorRegistry())
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
            Times(),
            at_once,
            self.clock.monotonic,
            lambda _step: None,
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
            Times(),
            LEASE,
            lambda: 0.5,
            stopping,
        )

    def new_id(self):
        self.drafts += 1
        return f"reply{self.drafts}"

    def start(self, name, coroutine):
        async def outer():
            with contextlib.suppress(Crash):
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

    @property
    def stopped(self):
        """Whether a stop word counts: a word that is being taken back may or may not."""
        unsent = {one.mid for one in self.sent_events if one.kind is IncomingKind.UNSEND}
        return any(one.text == "stop" and one.mid not in unsent for one in self.done_events)

    # --- what is watched ---------------------------------------------------------------------------------------------

    def watch_save(self, before, after):
        """Each move to `sending` must respect everything that was recorded before it."""
        started = sending(after) - sending(before)
        if not started:
            return
        reply = after.reply
        assert reply.author is Author.BOT
        now = self.clock.now()
        assert now < after.window_closes_at, "sent outside the window"
        for one in reply.answers:
            assert one.mid not in self.taken, f"{one.mid} was taken back before it was answered"
        for at in self.human_at:
            assert now >= at + self.policy.takeover, "spoke over a person"
        assert not self.stopped or reply.confirms, "spoke to somebody who opted out"
        part = reply.parts[next(iter(started))[1]]
        if part.n == 0 and part.attempt == 1 and not reply.final:
            assert not after.unanswered, "a newer message was ignored"
        wanted = self.world.prompts.get(part.sha256)
        if wanted is not None and not reply.confirms and part.n == 0 and part.attempt == 1:
            for one in reply.answers:
                assert self.versions(one.mid) & set(wanted), f"the text answers {wanted}, not {self.versions(one.mid)}"
        if part.n:
            assert reply.parts[part.n - 1].state is PartState.SENT, "a later part before an earlier one"

    def versions(self, mid):
        """What a message may say now: its last recorded version, or one that is just being recorded."""
        under_way = [one for one in self.sent_events if one not in self.done_events and one.mid == mid]
        return {self.texts[mid], *(one.text for one in under_way)}

    def watch_post(self, text):
        assert text not in [one for _, one, _ in self.world.delivered], f"said twice: {text[:40]}"

    # --- what happens ------------------------------------------------------------------------------------------------

    @initialize()
    def first_message(self):
        self.say(0)

    def event(self, **fields):
        base = {"kind": IncomingKind.MESSAGE, "account": ACCOUNT, "sender": PERSON, "recipient": ACCOUNT}
        one = Incoming(**(base | {"at": self.clock.now()} | fields))
        self.sent_events.append(one)
        return one

    def hand_in(self, *events):
        self.number += 1
        name = f"deliver{self.number}"

        async def deliver():
            await self.deliverer().deliver(events)
            for event in events:
                self.delivered(event)

        self.start(name, deliver())

    def delivered(self, event):
        """Deliver has said yes: from here on the event must be respected."""
        if event.kind is IncomingKind.UNSEND:
            self.taken[event.mid] = True
        elif event.kind is IncomingKind.EDIT and event.num_edit >= self.edits.get(event.mid, 0):
            self.edits[event.mid] = event.num_edit
            self.texts[event.mid] = event.text
        elif event.is_echo and event.mid.startswith("human"):
            self.human_at.append(event.at)
        self.done_events.append(event)

    @rule(late=st.integers(0, 3))
    def say(self, late):
        if self.draining:
            return
        mid = f"m{len(self.texts)}"
        self.texts[mid] = f"text of {mid}"
        at = self.clock.now() - late * 700
        self.world.said.append((mid, PERSON, self.texts[mid], at))
        self.hand_in(self.event(mid=mid, text=self.texts[mid], at=at))

    @rule()
    def say_stop(self):
        if any(event.text == "stop" for event in self.sent_events):
            return
        mid = f"m{len(self.texts)}"
        self.texts[mid] = "stop"
        self.hand_in(self.event(mid=mid, text="stop"))

    @precondition(lambda self: self.texts)
    @rule(data=st.data())
    def unsend(self, data):
        mid = data.draw(st.sampled_from(sorted(self.texts)))
        self.hand_in(self.event(kind=IncomingKind.UNSEND, mid=mid))

    @precondition(lambda self: self.texts)
    @rule(data=st.data(), number=st.integers(1, 3))
    def edit(self, data, number):
        mid = data.draw(st.sampled_from(sorted(self.texts)))
        if self.texts[mid] == "stop":
            return
        self.hand_in(self.event(kind=IncomingKind.EDIT, mid=mid, num_edit=number, text=f"edit {number} of {mid}"))

    @rule(late=st.sampled_from([0, 0, 5_000]))
    def person_writes(self, late):
        mid = f"human{len(self.sent_events)}"
        at = self.clock.now() - late
        self.world.said.append((mid, ACCOUNT, f"words {mid}", at))
        echo = self.event(mid=mid, text=f"words {mid}", is_echo=True, sender=ACCOUNT, recipient=PERSON, at=at)
        self.hand_in(echo)

    @precondition(lambda self: any(what == "model" for what, _ in self.gates.waiting.values()))
    @rule(what=st.sampled_from(["say", "say", "say", "person", "stop", "edit", "unsend"]), data=st.data())
    def while_the_model_writes(self, what, data):
        """The commonest race: something is recorded between the prompt and the point of no return."""
        writing = [name for name, (where, _) in self.gates.waiting.items() if where == "model"]
        before = set(self.gates.waiting)
        if what == "say":
            self.say(0)
        elif what == "person":
            self.person_writes(data.draw(st.sampled_from([0, 5_000])))
        elif what == "stop":
            self.say_stop()
        elif what == "edit":
            self.edit(data, 3)
        else:
            self.unsend(data)
        for _ in range(12):
            for name in sorted(set(self.gates.waiting) - before):
                self.gates.open(name)
            self.settle()
        self.gates.open(writing[0])
        self.settle()

    @precondition(lambda self: self.world.delivered)
    @rule(data=st.data())
    def own_echo(self, data):
        mid, text, at = data.draw(st.sampled_from(self.world.delivered))
        self.hand_in(self.event(mid=mid, text=text, at=at, is_echo=True, sender=ACCOUNT, recipient=PERSON))

    @precondition(lambda self: self.sent_events)
    @rule(data=st.data())
    def again(self, data):
        self.hand_in(data.draw(st.sampled_from(self.sent_events)))

    @rule()
    def claim(self):
        row = self.loop.run_until_complete(self.store.conversations.claim(ACCOUNT, "w", LEASE))
        if row is not None:
            self.number += 1
            self.start(f"worker{self.number}", self.worker().handle_message(row))

    @precondition(lambda self: self.gates.waiting)
    @rule(data=st.data())
    def go_on(self, data):
        name = data.draw(st.sampled_from(sorted(self.gates.waiting)))
        what, _ = self.gates.waiting[name]
        how = data.draw(st.sampled_from(POSTS)) if what == "post" else "go"
        self.gates.open(name, how)
        self.settle()

    @precondition(lambda self: self.gates.waiting)
    @rule(data=st.data())
    def die(self, data):
        name = data.draw(st.sampled_from(sorted(self.gates.waiting)))
        self.gates.open(name, "crash")
        self.settle()

    @precondition(lambda self: self.gates.waiting)
    @rule()
    def run_on(self):
        for _ in range(30):
            for name in sorted(self.gates.waiting):
                self.gates.open(name)
            self.settle()

    @rule(posts=st.lists(st.sampled_from(POSTS), max_size=3), far=st.integers(1, 40), dies=st.booleans())
    def work(self, posts, far, dies):
        """A worker takes the conversation and gets so far, with these answers to its POSTs; then it may die."""
        self.claim()
        left = list(posts)
        for _ in range(far):
            for name in sorted(self.gates.waiting):
                what, _ = self.gates.waiting[name]
                self.gates.open(name, left.pop(0) if what == "post" and left else "go")
            self.settle()
        for name in sorted(self.gates.waiting) if dies else ():
            self.gates.open(name, "crash")
        self.settle()

    @rule(ms=st.sampled_from([50, 900, 2_500, 7_000, 21_000, 21_000, 13 * 3_600_000]))
    def time_passes(self, ms):
        for name, (what, _) in list(self.gates.waiting.items()):
            # A POST gives up after ten seconds; no clock of ours runs on while a request is under way for longer.
            if what in {"post", "posted"} and ms > 2_500:
                self.gates.open(name, "timeout")
        self.settle()
        self.jumped |= ms > HOUR
        self.clock.ms += ms

    # --- what must hold in the end -------------------------------------------------------------------------------

    @invariant()
    def no_message_is_answered_twice(self):
        answers = {}
        for reply in [*self.store.replies.values(), *in_rows(self.store)]:
            for one in reply.answers:
                answers.setdefault(one.mid, {})[reply.id] = reply
        for mid, replies in answers.items():
            arrived = [one for one in replies.values() if any(p.state is PartState.SENT for p in one.parts)]
            assert len(arrived) <= 1, f"{mid} is answered by {[one.id for one in arrived]}"

    def teardown(self):
        try:
            self.drain()
            self.judge()
        finally:
            for task in self.tasks.values():
                task.cancel()
            self.loop.run_until_complete(asyncio.sleep(0))
            self.loop.close()

    def drain(self):
        """Everything is delivered again until it was taken in, nothing fails any more, and time goes on."""
        self.draining = True
        self.run_on()
        for event in [one for one in self.sent_events if one not in self.done_events]:
            self.hand_in(event)
            self.run_on()
        for round_ in range(400):
            self.claim()
            self.run_on()
            if round_ % 3 == 2:
                for mid, text, at in self.world.delivered:
                    self.hand_in(self.event(mid=mid, text=text, at=at, is_echo=True, sender=ACCOUNT, recipient=PERSON))
                    self.run_on()
            row = self.store.rows.get((ACCOUNT, PERSON))
            if row is None or (row.due_at is None and not self.tasks):
                return
            self.clock.ms += 3_000 if row.due_at and row.due_at - self.clock.ms < 60_000 else 3_600_000
        raise AssertionError(f"never comes to rest: {row}")

    def judge(self):
        row = self.store.rows.get((ACCOUNT, PERSON))
        if row is None:
            return
        assert row.reply is None
        assert not row.unanswered
        assert not row.unsettled
        assert not row.marks
        assert not row.undecided
        ours = {mid for mid, _, _ in self.world.delivered}
        assert not [pause for pause in row.pauses if pause.mid in ours], "paused by its own echo"
        held = [one for one in self.store.replies.values() if any(p.state is PartState.HELD for p in one.parts)]
        # A person's words after the POST could be ours, altered: then nobody can tell, and a person must look.
        assert self.human_at or not held, "held although everything could be read"
        for message in self.store.docs.values():
            if message.author is Author.CUSTOMER and message.recorded_at and not message.taken_back:
                assert message.answered_by, f"{message.mid} was lost"
                self.judge_answer(message)
        for mid in self.taken:
            assert (
                "text of" not in (self.store.docs.get(f"{ACCOUNT}|message|{mid}|") or message).text
                or mid not in self.texts
            )

    def judge_answer(self, message):
        disturbed = any(one.text == "stop" or one.is_echo for one in self.sent_events)
        calm = not (self.jumped or disturbed)
        assert message.answered_by.startswith("reply") or not calm, f"{message.mid}: {message.answered_by}"
        if not message.answered_by.startswith("reply"):
            return
        reply = self.store.replies[message.answered_by]
        arrived = {text for _, text, _ in self.world.delivered}
        sent = [part for part in reply.parts if part.state is PartState.SENT]
        ended = any(part.state in {PartState.REFUSED, PartState.HELD} for part in reply.parts)
        assert sent or ended, f"{message.mid} counts as answered by a reply of which nothing was sent"
        for part in reply.parts:
            assert (part.text in arrived) == (part.state is PartState.SENT), "the ledger is wrong about a part"


def sending(row):
    if row is None or row.reply is None:
        return set()
    return {(row.reply.id, part.n, part.attempt) for part in row.reply.parts if part.state is PartState.SENDING}


def in_rows(store):
    return [one for row in store.rows.values() for one in (*([row.reply] if row.reply else []), *row.unsettled)]


async def made(factory):
    return factory()


async def at_once(_account):
    return None


Machine.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, *([] if "IGBOT_TEST_EXAMPLES" in os.environ else [Phase.shrink])],
    print_blob=True,
)
TestMachine = pytest.mark.usefixtures("quiet_logs")(Machine.TestCase)
