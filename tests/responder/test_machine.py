"""The ledger against everything at once: hypothesis delivers, kills, freezes, reorders, and looks for a wrong answer.

The real use cases run over a store in memory; every call that can fail or be overtaken waits at a gate until the
machine lets it go, or kills its caller there. truth.py is the model that it is held against; tests/README.md has the
table of what turns red when a condition is taken out.
"""

import asyncio
import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from services.responder.times import HOUR, SECOND
from tests.responder.events import CORE, EVENTS, Events
from tests.responder.machine import ROUNDS

POSTS = ["go", "sent_timeout", "sent_500", "timeout", "500", "refused_connection", "rejected"]
WHERE = ["model", "final", "save", "saved", "post", "posted", "record", "read"]
SHOWS = ["all", "newest", "none", "fails", "unreadable"]


class Machine(Events):
    @initialize(
        stale=st.sampled_from([12, 30]),
        same_words=st.sampled_from([False, False, False, True]),
        behind=st.sampled_from([0, 4 * SECOND]),
        shown_after=st.sampled_from([0, 0, 32 * SECOND]),
    )
    def begin(self, stale=12, same_words=False, behind=0, shown_after=0):
        self.choose({"stale": stale * HOUR})
        self.world.same_words, self.world.behind, self.world.shown_after = same_words, behind, shown_after
        self.say(0)

    # --- rules --------------------------------------------------------------------------------------------------------

    @rule(
        where=st.sampled_from(WHERE), what=st.sampled_from(EVENTS), pick=st.integers(0, 3), post=st.sampled_from(POSTS)
    )
    def meanwhile(self, where, what, pick, post):
        self.race(where, what, post, pick)

    def race(self, where, what, post, pick):
        """Something happens, whole, while a worker stands at one gate; then it goes on."""
        if not self.gates.waiting and (self.row() is None or self.row().due_at is None):
            self.say(0)
            self.run_on()
        name = self.at_gate(where, post)
        if name is None:
            return
        with self.frozen(self.gates.waiting):
            getattr(self, what)(pick)
            if what != "resend":
                self.run_on()
        if name in self.gates.waiting:
            self.open(name, {"post": post, "saved": "lost" if post == "500" else "go"}.get(where, "go"))
        if what.startswith("altered"):
            self.settle_altered(where, what)

    def at_gate(self, where, post):
        if where == "final":
            return self.at_final_text()
        if where == "record":
            name = self.bring_to("post")
            if name is not None:
                self.open(name, post)
                if name in self.gates.at("posted"):
                    self.open(name)
            return name if name in self.gates.at("save") else None
        if where == "read" and not self.unknown():
            self.lose("sent_timeout")
        return self.bring_to(where)

    def at_final_text(self):
        """A text was overtaken twice: the third goes without the version test."""
        for _ in range(2):
            name = self.bring_to("model")
            if name is None:
                return None
            with self.frozen(self.gates.waiting):
                self.say(0)
                self.run_on()
            self.open(name)
        return self.bring_to("model")

    def settle_altered(self, where, what):
        """Nobody can tell whose it is unless the POST's answer comes in time and somebody lives to write it down."""
        if where != "posted" or what != "altered_echo":
            self.truth.upset.add("altered")
        self.run_on()

    @rule(how=st.sampled_from(POSTS))
    def lose(self, how):
        """A part's POST comes to this."""
        name = self.bring_to("post")
        if name is not None:
            self.open(name, how)
            self.run_on(how)

    @rule(times=st.integers(1, 6), how=st.sampled_from(["go", "go", "timeout"]))
    def minutes_pass(self, times, how):
        """Whatever is due is done; perhaps no POST gets an answer."""
        for _ in range(times):
            self.take_up()
            self.run_on(how)

    @precondition(lambda self: self.unknown())
    @rule(shows=st.sampled_from(["none", "fails", "all"]))
    def an_outage_lasts(self, shows):
        """No read and no POST gets an answer for longer than anybody is willing to look."""
        self.reads_show(shows)
        for _ in range(70):
            if not self.take_up():
                return
            self.run_on("timeout")

    @rule(how=st.sampled_from(SHOWS))
    def reads_show(self, how):
        self.world.shows = how
        self.truth.doubts |= {how} - {"all"}

    @precondition(lambda self: not self.world.shown_after)
    @rule()
    def a_read_blinks(self):
        self.world.blinks = True

    @precondition(lambda self: self.world.delivered)
    @rule()
    def a_message_is_shown_altered(self):
        self.world.altered.add(self.world.delivered[-1][0])
        self.truth.doubts.add("altered")

    @rule(what=st.sampled_from(CORE), pick=st.integers(0, 3))
    def happens(self, what, pick):
        """Something begins; how far it gets is the other rules' choice."""
        getattr(self, what)(pick)

    @rule()
    def claim(self):
        self.claim_one()

    @precondition(lambda self: self.gates.waiting)
    @rule(data=st.data())
    def go_on(self, data):
        name = data.draw(st.sampled_from(sorted(self.gates.waiting)))
        what = self.gates.waiting[name][0]
        how = data.draw(st.sampled_from({"post": POSTS, "model": ["go", "down"]}.get(what, ["go"])))
        self.open(name, how)

    @precondition(lambda self: self.gates.waiting)
    @rule(data=st.data())
    def die(self, data):
        self.open(data.draw(st.sampled_from(sorted(self.gates.waiting))), "crash")

    @rule(posts=st.lists(st.sampled_from(POSTS), max_size=3), far=st.integers(1, 40), dies=st.booleans())
    def work(self, posts, far, dies):
        """A worker takes the conversation and gets so far, with these answers to its POSTs; then it may die."""
        self.claim_one()
        left = list(posts)
        for _ in range(far):
            for name in self.free():
                posting = self.gates.waiting[name][0] == "post"
                self.gates.open(name, left.pop(0) if posting and left else "go")
            self.settle()
        for name in self.free() if dies else ():
            self.gates.open(name, "crash")
        self.settle()

    @rule(ms=st.sampled_from([50, 900, 2_500, 7_000, 21_000, 46_000, 11 * 60_000, 13 * HOUR]))
    def time_passes(self, ms):
        self.pass_time(ms)

    # --- what must hold -----------------------------------------------------------------------------------------------

    @invariant()
    def holds(self):
        self.truth.nothing_is_broken()
        self.truth.no_message_is_answered_twice()
        self.truth.what_was_sent_is_history()

    def teardown(self):
        try:
            self.drain()
            self.holds()
            self.truth.judge()
        finally:
            for task in self.tasks.values():
                task.cancel()
            self.loop.run_until_complete(asyncio.sleep(0))
            self.loop.close()

    def drain(self):
        """Everything is delivered again until it was taken in, nothing fails any more, and time goes on."""
        self.world.shows, self.world.blinks = "all", False
        self.run_on()
        self.resume_everything(0)
        self.run_on()
        for event in [one for one in self.truth.begun if one not in self.truth.done]:
            self.hand_in(event)
            self.run_on()
        for round_ in range(10 * ROUNDS):
            self.claim_one()
            self.run_on()
            self.holds()
            if round_ % 3 == 2:
                self.echo_all()
            row = self.row()
            if row is None or (row.due_at is None and not self.tasks):
                return
            self.clock.ms += 3_000 if row.due_at and row.due_at - self.clock.ms < 60_000 else HOUR
        raise AssertionError(f"never comes to rest: {self.row()}")

    def echo_all(self):
        for mid, text, at in self.world.delivered:
            self.hand_in(self.echo(mid, text, at))
            self.run_on()


def examples(number):
    """So many examples; when their number is given from outside, one that fails is not made smaller."""
    given = os.environ.get("IGBOT_TEST_EXAMPLES")
    return settings(
        max_examples=int(given or number),
        stateful_step_count=25,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, *([] if given else [Phase.shrink])],
        print_blob=True,
    )


class LongMachine(Machine):
    """The same, with more examples."""


Machine.TestCase.settings = examples(150)
LongMachine.TestCase.settings = examples(1_200)
TestMachine = pytest.mark.usefixtures("quiet_logs")(Machine.TestCase)
TestLongMachine = pytest.mark.long(pytest.mark.usefixtures("quiet_logs")(LongMachine.TestCase))


@pytest.mark.usefixtures("quiet_logs")
@pytest.mark.parametrize("where", WHERE)
def test_every_race(where):
    """Each event at each gate, with each answer to the POST, one after the other: no luck is needed for these."""
    for what in EVENTS:
        for post in {"post": POSTS, "record": POSTS, "saved": ["go", "500"]}.get(where, ["go"]):
            machine = Machine()
            machine.begin(stale=30 if what == "day" else 12)
            machine.run_on()
            machine.race(where, what, post, 0)
            machine.run_on("go" if post == "rejected" else post)
            machine.teardown()


@pytest.mark.usefixtures("quiet_logs")
@pytest.mark.parametrize("how", ["sent_timeout", "timeout"])
@pytest.mark.parametrize("newer", [False, True])
@pytest.mark.parametrize("shows", [*SHOWS, "altered", "late", "behind", "blinks"])
def test_a_lost_post_is_settled_whatever_a_read_shows(shows, newer, how):
    machine = Machine()
    machine.begin(shown_after=32 * SECOND * (shows == "late"), behind=4 * SECOND * (shows == "behind"))
    machine.run_on()
    machine.lose(how)
    if newer:
        machine.pass_time(SECOND)
        machine.say(0)
        machine.run_on()
    if shows == "blinks":
        machine.reads_show("fails")
        machine.others(3)
        machine.reads_show("all")
        machine.a_read_blinks()
    elif shows in SHOWS:
        machine.reads_show(shows)
    elif shows == "altered" and machine.world.delivered:
        machine.a_message_is_shown_altered()
    machine.others(8)
    machine.teardown()
