"""Who is told that a conversation needs a person, or has one; what outlives the process that tells."""

import asyncio
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry

from services.common.errors import Unavailable
from services.responder.handover import Handovers
from services.responder.metrics import ResponderMetrics
from tests.responder.fakes import A
from tests.responder.town import ANNA, BEN, HOUR, MINUTE, SECOND, Outside, hold_one, opened

DAY = 24 * HOUR


class FakeNotes:
    def __init__(self, failures=0):
        self.failures, self.posted, self.all = failures, [], []

    @property
    def tried(self):
        return len(self.all)

    async def post(self, content):
        self.all.append(content)
        if self.failures:
            self.failures -= 1
            raise Unavailable("HANDOVER_URL answers 500")
        self.posted.append(content)


def told(town, failures=0):
    """Let the town tell a stand-in for HANDOVER_URL; return it."""
    notes = FakeNotes(failures)
    handovers = Handovers(notes, town.metrics, town.clock.now, town.store.conversations)
    town.worker.handover = handovers.tell
    return notes, handovers


async def work(town, handovers, for_ms):
    """Let time pass, and notes arrive, step by step."""
    for _ in range(for_ms // SECOND):
        await town.advance(SECOND)
        await asyncio.gather(*handovers.sending.values())


async def test_a_takeover_is_told_once_however_often_the_person_writes(town):
    notes, handovers = told(town)
    await town.say("hello")
    await town.advance(SECOND)
    first = await town.human("one")
    await work(town, handovers, SECOND)
    await town.human("two")
    await town.deliver(first)
    await work(town, handovers, MINUTE)
    assert [(one["reason"], one["account"], one["person"]) for one in notes.posted] == [("taken_over", A, ANNA)]
    assert "one" not in str(notes.posted)
    assert town.metric("igbot_handovers_total", reason="taken_over") == 1
    assert (await town.row()).handovers == ()


async def test_a_failed_and_a_held_conversation_are_told(town):
    from services.responder.outside import ModelRefused

    notes, handovers = told(town)
    await hold_one(town)
    town.writer.script = [ModelRefused("400")] * 8
    await town.say("hello", person=BEN)
    await town.run(for_ms=HOUR)
    await work(town, handovers, 10 * SECOND)
    assert [(one["reason"], one["person"]) for one in notes.posted] == [("held", ANNA), ("failed", BEN)]
    assert (await town.row(BEN)).due_at is None
    assert [one.person for one in await town.people.find(account=A, state="failed", limit=9)] == [BEN]


async def test_a_note_is_tried_again_under_the_same_id_until_it_is_taken(town):
    notes, handovers = told(town, failures=2)
    await town.human("a person")
    await work(town, handovers, MINUTE)
    assert (notes.tried, len(notes.posted)) == (3, 1)
    assert len({one["id"] for one in notes.all}) == 1
    assert town.metric("igbot_handovers_total", reason="taken_over") == 1


async def test_a_note_that_nobody_takes_is_given_up_after_a_day(town):
    notes, handovers = told(town, failures=10_000)
    await town.human("a person")
    for _ in range(26 * 60):
        await town.advance(MINUTE)
        await asyncio.gather(*handovers.sending.values())
    assert 24 * 6 < notes.tried < 26 * 6
    assert (await town.row()).handovers == ()


@pytest.mark.parametrize("died", ["before", "after"])
async def test_news_outlive_the_process_that_has_them_in_hand(file, died):
    """It died before it posted the note, or after that and before it wrote so."""
    outside = Outside(file)
    async with opened(file, outside=outside) as one:
        notes, handovers = told(one)
        if died == "before":
            notes.post = lambda _content: asyncio.sleep(60)
        else:
            handovers.rows = SimpleNamespace(load=lambda _account, _person: asyncio.sleep(60))
        await one.human("a person")
        await one.work()
        await asyncio.sleep(0)
        await handovers.close()
        assert len(notes.posted) == (died == "after")
    async with opened(file, outside=outside, owner="two") as two:
        again, handovers = told(two)
        await work(two, handovers, MINUTE)
        assert [note["reason"] for note in again.posted] == ["taken_over"]
        assert {note["id"] for note in notes.all} <= {note["id"] for note in again.all}
        assert (await two.row()).handovers == ()


async def test_takeovers_faster_than_people_write_raise_an_alarm(town):
    """Instagram's own automatic replies look like people who answer within seconds, again and again."""
    told(town)
    for n in range(5):
        await town.say("hello", person=str(n + 10))
        town.clock.ms += SECOND
        assert town.metric("igbot_automatic_replies_suspected") == 0
        await town.human("Thank you! We answer soon.", person=str(n + 10))
        await town.work()
    assert town.metric("igbot_automatic_replies_suspected") == 1
    for n in range(6):
        await town.say("hello", person=str(n + 20))
        town.clock.ms += MINUTE
        await town.human("hello", person=str(n + 20))
        await town.work()
    assert town.metric("igbot_automatic_replies_suspected") == 0


async def test_without_an_address_news_are_counted_all_the_same():
    metrics = ResponderMetrics(registry := CollectorRegistry())
    Handovers(None, metrics, lambda: 0, None).watch(A, quick=False)
    assert registry.get_sample_value("igbot_automatic_replies_suspected") == 0
