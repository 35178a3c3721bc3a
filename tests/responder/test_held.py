"""Replies of which nobody could find out whether they arrived, and what a person decides about them."""

from contextlib import suppress

import pytest

from services.common.errors import NotFound, Refused, Undeliverable
from tests.responder.fakes import SILENCE, A
from tests.responder.town import ANNA, HOUR, MINUTE, hold_one, opened

DAY = 24 * HOUR


async def test_a_part_that_nobody_can_find_is_held_after_ten_minutes_listed_and_counts_as_answered(town):
    message = await hold_one(town)
    held = await town.people.held(A)
    assert [[str(part.state) for part in one.parts] for one in held] == [["held"]]
    assert await town.answered_by(message) == held[0].id
    assert [one.person for one in await town.people.find(account=A, state="held", limit=9)] == [ANNA]
    await town.run()
    assert len(town.instagram.posts) == 1


async def test_a_held_part_is_counted_once_among_the_sends(town):
    await hold_one(town)
    await town.run(for_ms=HOUR)
    assert town.metric("igbot_sends_total", outcome="held") == 1


async def test_waiting_for_a_turn_at_the_conversations_api_does_not_count_towards_the_ten_minutes(town):
    town.instagram.script = [SILENCE]
    town.instagram.unreadable = True
    town.instagram.queue = 2 * MINUTE
    await town.say("hello")
    await town.run(for_ms=HOUR)
    assert len(town.instagram.reads) > 20
    assert await town.parts() == ["unknown"]
    town.instagram.queue = 0
    await town.run(for_ms=9 * MINUTE)
    assert len(await town.people.held(A)) == 1


async def test_neither_does_the_time_that_nobody_looked(town):
    town.instagram.script = [SILENCE]
    town.instagram.unreadable = True
    await town.say("hello")
    await town.run(for_ms=MINUTE)
    town.clock.ms += HOUR  # the responder is down
    await town.run(for_ms=MINUTE)
    assert await town.parts() == ["unknown"]


async def test_a_held_part_is_sent_again_when_a_person_says_so_and_answers_nothing_newer(town):
    await hold_one(town)
    newer = await town.say("and this?", at=town.clock.now())
    reply = (await town.people.held(""))[0]
    await town.people.resolve(reply.id, 0, "resend")
    with suppress(NotFound):
        await town.people.resolve(reply.id, 0, "resend")  # a second click
    await town.run()
    assert town.got() == ["answer 1", "answer 2"]
    assert (await town.answered_by(newer)).startswith("reply")
    assert await town.people.held("") == []
    assert (await town.row()).held == ()


async def test_a_held_part_that_is_dropped_is_never_sent(town):
    await hold_one(town)
    reply = (await town.people.held(""))[0]
    await town.people.resolve(reply.id, 0, "drop")
    await town.run()
    assert town.got() == []
    assert await town.people.held("") == []
    assert await town.people.find(account=A, state="held", limit=9) == []


async def test_a_held_part_is_not_sent_again_outside_the_window(file):
    async with opened(file, human_agent=True) as town:
        await hold_one(town)
        town.clock.ms += DAY
        with pytest.raises(Undeliverable):
            await town.people.resolve((await town.people.held(""))[0].id, 0, "resend")
        assert len(await town.people.held("")) == 1


async def test_a_held_part_whose_words_are_gone_is_not_sent_again_and_stays_listed(town):
    await hold_one(town)
    town.clock.ms += MINUTE
    await town.say("are you there?")
    await town.store.erasing.purge(town.clock.now())
    reply = (await town.people.held(""))[0]
    with pytest.raises(Undeliverable, match="text_gone"):
        await town.people.resolve(reply.id, 0, "resend")
    assert [one.id for one in await town.people.held("")] == [reply.id]
    await town.people.resolve(reply.id, 0, "drop")
    assert await town.people.held("") == []


@pytest.mark.parametrize(("reply", "part", "decision"), [("nope", 0, "drop"), ("known", 7, "drop"), ("known", 0, "x")])
async def test_a_wrong_decision_about_a_held_part_changes_nothing(town, reply, part, decision):
    await hold_one(town)
    known = (await town.people.held(""))[0].id
    with pytest.raises((NotFound, Refused)):
        await town.people.resolve(known if reply == "known" else reply, part, decision)
    assert len(await town.people.held("")) == 1
