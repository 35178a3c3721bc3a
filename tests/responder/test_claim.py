"""Claiming: at once in the same process, fair between accounts, bounded; a lost lease can neither write nor send."""

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass

from msgspec.structs import replace

from services.responder import loops
from services.responder.account import HoldReason
from services.responder.loops import POLL, Alarm, Claimer, in_turn
from services.responder.message import key_of
from services.responder.model import Pending
from services.responder.outside import Written
from tests.responder.fakes import A, B
from tests.responder.stores import a_row
from tests.responder.town import ANNA, HOUR, LEASE, SECOND, Outside, opened


@dataclass
class RealClock:
    def now(self):
        return time.time_ns() // 1_000_000

    def monotonic(self):
        return time.monotonic()


@asynccontextmanager
async def claiming(file, *, workers=4, connected=(A, B)):
    """A town whose claimer runs, by the real clock and without quiet time."""
    async with opened(
        file, outside=Outside(file, clock=RealClock()), connected=connected, quiet=0, quiet_max=0
    ) as town:
        alarm = Alarm(town.clock.now)
        town.deliverer.wake = alarm.wake
        claimer = Claimer(town.store, town.book, town.worker, alarm, "one", LEASE, workers, town.stopping)
        running = asyncio.create_task(claimer.run())
        try:
            yield town, claimer
        finally:
            town.stopping.set()
            alarm.rung.set()  # it waits for the next poll no longer
            await running


async def until(fact, within=5.0):
    began = time.monotonic()
    while not fact():
        assert time.monotonic() < began + within
        await asyncio.sleep(0.005)
    return time.monotonic() - began


async def test_a_message_is_worked_on_at_once_in_the_process_that_took_it(file, monkeypatch):
    monkeypatch.setattr(loops, "POLL", 30.0)
    async with claiming(file) as (town, claimer):
        await until(lambda: claimer.alarm.rung is not None)
        await town.say("hello")
        await until(lambda: town.got() == ["answer 1"])  # long before the poll


async def test_a_held_accounts_next_conversation_probes_at_once_after_one_that_needed_no_message(file, monkeypatch):
    monkeypatch.setattr(loops, "POLL", 30.0)
    async with claiming(file, connected=(A,)) as (town, claimer):
        people = [f"{6_900_000_000_000_100 + n}" for n in range(5)]
        town.deliverer.wake = lambda _account, _at: None
        for person in people:
            await town.say("hello", person=person, at=town.clock.now() - 13 * HOUR)
        await town.say("hello")
        await town.book.hold(A, HoldReason.ACCOUNT_LIMITED, for_ms=0)
        claimer.alarm.ring(A)
        await until(lambda: town.got() == ["answer 1"])
        assert all(not town.got(person) for person in people)


async def test_what_another_replica_took_is_found_by_the_poll(file):
    async with claiming(file) as (town, _):
        town.deliverer.wake = lambda _account, _at: None
        await town.say("hello")
        assert await until(lambda: town.got() == ["answer 1"]) < 2 * POLL + 1


async def test_no_more_conversations_are_in_work_than_there_are_workers(file):
    async with claiming(file, workers=3) as (town, claimer):
        most = 0

        async def slow(turns, *, within):
            nonlocal most
            most = max(most, len(claimer.running))
            await asyncio.sleep(0.01)
            return await type(town.writer).write_reply(town.writer, turns, within=within)

        town.composer.writer = type("Slow", (), {"write_reply": staticmethod(slow)})()
        for n in range(12):
            await town.say("hello", person=str(n + 1))
        await until(lambda: len(town.instagram.arrived) == 12)
        assert most <= 3


async def test_one_accounts_backlog_does_not_delay_anothers_first(file):
    async with claiming(file, workers=2) as (town, _):
        for n in range(200):
            await town.store.conversations.save(a_row(str(n), account=A, due_at=1))
        events = [town.event(text="hello", person=str(n + 1000)) for n in range(60)]
        await town.deliver(*events)
        before = len(town.instagram.arrived)
        await town.say("hello", account=B)
        await until(lambda: town.got(account=B) != [], within=3)
        assert len(town.instagram.arrived) - before < 60


class SlowFor:
    """A model that takes long over whoever says this."""

    def __init__(self, word, seconds):
        self.word, self.seconds = word, seconds

    async def write_reply(self, turns, *, within):
        if turns[-1].text == self.word:
            await asyncio.sleep(self.seconds)
        return Written(text="answer")


async def test_ten_thousand_slow_replies_of_one_account_do_not_delay_anothers_first_by_more_than_a_second(file):
    async with claiming(file, workers=8) as (town, claimer):
        town.composer.writer = SlowFor("slow", 5)
        await town.book.mirror()
        people = [str(n + 1000) for n in range(10_000)]
        for start in range(0, len(people), 500):
            some = people[start : start + 500]
            await town.deliver(*[town.event(text="slow", person=person) for person in some])
        await until(lambda: len(claimer.running) == 6)
        await town.deliver(*[town.event(text="hello", account=B, person=person) for person in "12"])
        # A second on a machine that does nothing else. Whoever waits for a slow reply to end waits five.
        await until(lambda: town.got("1", account=B) == town.got("2", account=B) == ["answer"], within=3)
        assert len(town.got()) == 0
        for task in claimer.running:
            task.cancel()


async def test_an_account_alone_has_every_worker(file):
    async with claiming(file, workers=8, connected=(A,)) as (town, claimer):
        town.composer.writer = SlowFor("slow", 0.3)
        await town.book.mirror()
        await town.deliver(*[town.event(text="slow", person=str(n + 1000)) for n in range(20)])
        await until(lambda: len(claimer.running) == 8)
        await until(lambda: len(town.instagram.arrived) == 20)


# --- turns -----------------------------------------------------------------------------------------------------


def test_the_accounts_take_turns_beginning_behind_the_last():
    assert in_turn({"a", "b", "c"}, "a") == ["b", "c", "a"]
    assert in_turn({"a", "b", "c"}, "") == ["a", "b", "c"]
    assert in_turn(set(), "a") == []


async def test_a_store_that_is_away_pauses_the_claimer_and_loses_nothing(file):
    async with claiming(file) as (town, _):
        with town.store_down():
            await asyncio.sleep(POLL * 1.5)
        await town.say("hello")
        await until(lambda: town.got() == ["answer 1"])


async def test_when_told_to_stop_what_is_not_being_sent_is_released_at_once(file):
    async with claiming(file) as (town, claimer):

        async def endless():
            await asyncio.sleep(60)

        town.writer.meanwhile = [endless]
        await town.say("hello")
        await until(lambda: town.writer.prompts != [])
        town.stopping.set()
        await until(lambda: not claimer.running, within=10)
        row = await town.row()
        assert row.lease_until == 0
        assert row.due_at <= town.clock.now()
        assert town.instagram.posts == []


async def test_when_told_to_stop_the_part_that_is_being_sent_is_finished_and_no_other_begun(file):
    async with claiming(file) as (town, claimer):
        town.writer.script = ["a" * 900 + ".\n\n" + "b" * 900]

        async def stop(_mid):
            town.stopping.set()
            await asyncio.sleep(0.05)

        town.instagram.meanwhile = [stop]
        await town.say("hello")
        await until(lambda: town.stopping.is_set() and not claimer.running, within=10)
        assert len(town.got()) == 1
        assert await town.parts() == ["sent", "ready"]
        assert (await town.row()).lease_until == 0


# --- leases, by the settable clock ---------------------------------------------------------------------------


async def test_a_killed_workers_conversation_is_carried_on_when_its_lease_has_run_out(file):
    outside = Outside(file)
    async with opened(file, outside=outside) as one, opened(file, outside=outside, owner="two") as two:
        await one.say("hello")
        outside.clock.ms += 2 * SECOND
        assert await one.claim() is not None  # and dies
        outside.clock.ms += LEASE - 1
        assert await two.claim() is None
        outside.clock.ms += 1
        await two.work()
        assert two.got() == ["answer 1"]


async def test_a_worker_that_lost_its_lease_neither_writes_nor_sends(file):
    outside = Outside(file)
    async with opened(file, outside=outside) as one, opened(file, outside=outside, owner="two") as two:
        await one.say("hello")
        outside.clock.ms += 2 * SECOND

        async def frozen():
            outside.clock.ms += LEASE
            await two.work()  # the other carries on, and answers

        outside.writer.meanwhile = [frozen]
        await one.worker.handle_message(await one.claim())
        assert two.got() == ["answer 2"]
        row = await two.row()
        assert (row.reply, row.unanswered) == (None, ())


async def test_a_worker_that_was_frozen_before_its_post_does_not_post_and_begins_anew(town):
    message, posts = await town.say("hello"), []
    town.clock.ms += 2 * SECOND

    def freeze(step):
        posts.append((step, len(town.instagram.posts)))
        if step == "after_begin":
            town.clock.ms += 2 * SECOND + 1

    town.poster.reached = freeze
    await town.work()
    assert town.got() == ["answer 1"]
    assert [step for step, _ in posts[:4]] == ["before_begin", "after_begin", "before_part", "after_part"]
    reply = await town.store.sends.get(await town.answered_by(message))
    assert reply.parts[0].attempt == 2


async def test_the_answer_to_a_post_is_recorded_whoever_holds_the_conversation_by_then(file):
    outside = Outside(file)
    async with opened(file, outside=outside) as one, opened(file, outside=outside, owner="two") as two:
        message = await one.say("hello")
        outside.clock.ms += 2 * SECOND

        async def frozen(_mid):
            outside.clock.ms += LEASE
            await two.work()  # finds the part in `sending`: unknown

        outside.instagram.meanwhile = [frozen]
        await one.worker.handle_message(await one.claim())
        assert await two.parts() == ["sent"]
        await two.work()
        assert (await two.row()).reply is None
        assert len(outside.instagram.posts) == 1
        assert (await two.answered_by(message)).startswith("reply")


async def test_the_lease_is_renewed_while_a_reply_is_being_written(file):
    async with opened(file) as town:
        town.worker.lease_ms = 30

        async def slowly():
            await asyncio.sleep(0.05)

        town.writer.meanwhile = [slowly]
        await town.say("hello")
        town.clock.ms += 2 * SECOND
        row = await town.store.conversations.claim(A, "one", 30)
        town.clock.ms += 1
        await town.worker.handle_message(row)
        assert town.got() == ["answer 1"]


async def test_a_row_that_lost_its_mark_to_a_crash_is_not_answered_twice(town):
    """The message knows who answered it, and the row's list may be behind: the message is right."""
    message = await town.say("hello")
    await town.run()
    row = await town.row()
    key = key_of(A, "message", message.mid)
    again = Pending(key=key, mid=message.mid, at=message.at, recorded_at=town.clock.now())
    await town.store.conversations.save(replace(row, unanswered=(again,), due_at=town.clock.now()))
    await town.run()
    assert town.got(ANNA) == ["answer 1"]
