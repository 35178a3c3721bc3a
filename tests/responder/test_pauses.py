"""Pauses and resumptions of a whole account, seen from its conversations."""

import pytest

from services.responder.message import Kind
from services.responder.pauses import paused_at
from services.responder.servicer import conversation
from tests.responder.fakes import A
from tests.responder.town import ANNA, BEN, HOUR, MINUTE, SECOND, Outside, opened

DAY = 24 * HOUR


async def test_the_pause_of_an_account_is_seen_on_each_of_its_conversations(town):
    await town.say("hello")
    until = town.clock.now() + HOUR
    await town.people.pause(account=A, person="", until=until)
    row, account = await town.row(), await town.store.accounts.get(A)
    now = town.clock.now()
    shown = conversation(row, account, now)
    assert (shown.state, shown.waiting_for, shown.paused_until_ms) == ("paused", "paused", until)
    assert [one.person for one in await town.people.find(account=A, state="paused", limit=9)] == [ANNA]
    town.clock.ms = until
    await town.run()
    assert conversation(await town.row(), account, until).state == "idle"


async def test_resuming_an_account_ends_the_takeovers_of_its_conversations_too(town):
    await town.human("a person", person=BEN)
    await town.human("a person")
    town.clock.ms += SECOND
    waits = await town.say("anybody?")
    skipped = await town.say("hello", person=BEN)
    await town.run(for_ms=MINUTE)
    assert (await town.row()).waiting_for == "paused"
    await town.people.resume(account=A, person="", answer_pending=True)
    town.clock.ms += SECOND
    await town.run(for_ms=MINUTE)
    assert (await town.answered_by(waits)).startswith("reply")
    assert (await town.answered_by(skipped)).startswith("reply")
    assert town.got() != []


async def test_resuming_an_account_without_answers_skips_what_came_in_its_takeovers(town):
    await town.human("a person")
    town.clock.ms += SECOND
    skipped = await town.say("anybody?")
    town.clock.ms += SECOND
    await town.people.resume(account=A, person="", answer_pending=False)
    await town.run(for_ms=MINUTE)
    assert await town.answered_by(skipped) == "paused"
    town.clock.ms += SECOND
    answered = await town.say("and now?")
    await town.run(for_ms=MINUTE)
    assert (await town.answered_by(answered)).startswith("reply")


@pytest.mark.parametrize("known", [True, False], ids=["a running conversation", "its first event"])
async def test_a_persons_words_from_before_the_resume_of_the_account_pause_nothing(town, known):
    await town.say("hello", person=ANNA if known else BEN)
    await town.run()
    town.clock.ms += MINUTE
    typed = town.clock.now()
    question = town.event(text="are you there?", at=typed - SECOND)
    town.clock.ms += SECOND
    await town.people.resume(account=A, person="", answer_pending=True)
    town.clock.ms += 2 * SECOND  # another replica's view of the account is a second old at most
    await town.deliver(question)
    late = await town.human("a person was quicker", at=typed)
    assert not paused_at(await town.row(), town.clock.now())
    assert (await town.row()).handovers == ()
    newer = await town.say("thanks, and now?")
    await town.run(for_ms=MINUTE)
    assert await town.answered_by(question) == "human"
    assert (await town.message(late, Kind.ECHO)).author == "human"
    assert (await town.answered_by(newer)).startswith("reply")


async def test_a_takeover_after_the_resume_of_the_account_stands(file):
    """Also where it was recorded by a replica that had not heard of the Resume yet."""
    outside = Outside(file)
    async with opened(file, outside=outside) as one, opened(file, outside=outside, owner="two") as two:
        await one.say("hello")
        await one.run()
        await two.book.current(A, fresh=True)
        await one.people.resume(account=A, person="", answer_pending=True)
        outside.clock.ms += 500
        await two.human("a person")
        outside.clock.ms += 2 * SECOND
        await one.say("thanks")
        await one.run(for_ms=HOUR)
        assert len(one.got()) == 1
