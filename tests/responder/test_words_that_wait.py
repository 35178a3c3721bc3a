"""A person's words through igbot that meet a reply under way, or cannot go out: nothing of them is lost in silence."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from services.common.errors import NotFound, Unavailable
from services.responder import ledger
from tests.responder.fakes import REFUSED_CONNECTION, SILENCE, A
from tests.responder.test_people import say
from tests.responder.town import ANNA, HOUR, MINUTE, SECOND, hold_one

LONG = "a" * 900 + ".\n\n" + "b" * 900


@asynccontextmanager
async def saying(town, text="A person's words"):
    """The words are in the row when this begins; it gives what becomes of them, and does not wait for that."""
    outcome = asyncio.create_task(town.people.say(account=A, person=ANNA, text=text, request_id="r1"))
    async with asyncio.timeout(5):
        while not ledger.has_words(ledger.replies_in(await town.row())):
            await asyncio.sleep(0.001)
    try:
        yield outcome
    finally:
        outcome.cancel()


# --- a reply of the bot's is under way -------------------------------------------------------------------------


async def test_words_go_out_although_the_bot_was_in_the_middle_of_a_reply_when_its_account_was_paused(town):
    town.writer.script = [LONG]
    town.instagram.script = ["ok", REFUSED_CONNECTION]
    await town.say("hello")
    await town.advance(2 * SECOND)
    await town.people.pause(account=A, person="", until=0)
    assert await town.parts() == ["sent", "dropped"]
    said = await say(town, "me")
    assert (said.outcome, [text[0] for text in town.got()]) == ("sent", ["a", "m"])
    assert {one.outcome for one in (await town.people.get(A, ANNA)).replies} == {"partly_sent", "sent"}


async def test_words_do_not_wait_for_the_second_part_of_a_reply_that_is_in_back_off(town):
    town.writer.script = [LONG]
    town.instagram.script = ["ok", *[REFUSED_CONNECTION] * 6]
    await town.say("hello")
    await town.run(for_ms=MINUTE)
    assert await town.parts() == ["sent", "ready"]
    town.instagram.script = []
    assert (await say(town, "me")).outcome == "sent"
    assert [text[0] for text in town.got()] == ["a", "m"]


async def test_words_go_out_in_a_paused_account_whose_worker_died_while_it_was_sending(town):
    await town.say("hello")
    town.kill_at = "after_post"
    await town.advance(2 * SECOND)
    assert await town.parts() == ["sending"]
    await town.people.pause(account=A, person="", until=0)
    with pytest.raises(Unavailable, match="being sent"):  # as long as the worker may be alive
        await say(town, "me")
    await town.run(for_ms=MINUTE)
    assert (await say(town, "me")).outcome == "sent"
    await town.run(for_ms=MINUTE)
    assert town.got() == ["answer 1", "me"]
    assert [one.outcome for one in (await town.people.get(A, ANNA)).replies] == ["sent", "sent"]


# --- the words cannot go out -----------------------------------------------------------------------------------


async def test_the_second_part_of_a_persons_words_goes_out_although_the_customer_wrote_meanwhile(town):
    await town.say("hello")
    town.instagram.script = [("arrives", SILENCE)]
    town.instagram.unreadable = True
    async with saying(town, LONG):
        await town.work()
        assert await town.parts() == ["unknown", "ready"]
        await town.say("anybody?")
        await town.run(for_ms=3 * MINUTE)
        town.instagram.unreadable = False
        await town.run(for_ms=20 * MINUTE)
    assert [text[0] for text in town.got()] == ["a", "b"]


async def words_that_made_way(town):
    """A person's words, as they are held: no part arrived, and the bot answered something newer meanwhile."""
    await town.say("hello")
    town.instagram.script = [SILENCE]
    town.instagram.unreadable = True
    async with saying(town, LONG):
        await town.work()
        await town.people.resume(account=A, person=ANNA, answer_pending=False)  # so the bot answers what is newer
        await town.say("anybody?")
        await town.run(for_ms=2 * MINUTE)
        assert town.got() == ["answer 1"]
        town.instagram.unreadable = False
        await town.run(for_ms=20 * MINUTE)
    (held,) = await town.people.held(A)
    return held


async def test_words_that_made_way_and_never_arrived_are_held_and_can_be_sent_again(town):
    held = await words_that_made_way(town)
    assert [str(part.state) for part in held.parts] == ["held", "held"]
    for n in (0, 1):
        await town.people.resolve(held.id, n, "resend")
        await town.run(for_ms=MINUTE)
    assert [text[0] for text in town.got()] == ["a", "a", "b"]
    assert town.got()[0] == "answer 1"
    assert await town.people.held(A) == []
    assert (await town.row()).held == ()


async def test_a_held_part_that_is_sent_again_in_vain_is_listed_again(town):
    await hold_one(town)
    (held,) = await town.people.held(A)
    town.instagram.script = [SILENCE]
    town.instagram.unreadable = True
    await town.people.resolve(held.id, 0, "resend")
    await town.work()
    town.writer.down = True
    await town.say("anybody?")
    await town.run(for_ms=2 * MINUTE)
    town.instagram.unreadable = False
    await town.run(for_ms=30 * MINUTE)
    assert town.got() == []
    assert [one.id for one in await town.people.held(A)] == [f"{held.id}-0-again"]
    assert (await town.row()).held == (f"{held.id}-0-again",)


async def test_one_of_two_held_parts_keeps_the_conversation_held(town):
    held = await words_that_made_way(town)
    await town.people.resolve(held.id, 0, "drop")
    assert (await town.row()).held == (held.id,)
    await town.people.resolve(held.id, 1, "drop")
    assert (await town.row()).held == ()


async def test_words_that_never_went_out_answer_nothing(town):
    question = await town.say("Do you deliver?")
    typo = await town.say("lol")
    town.instagram.script = [REFUSED_CONNECTION]
    async with saying(town) as outcome:
        await town.work()
        await town.unsend(typo)
        await town.run(for_ms=HOUR)
        assert (await outcome).outcome == "dropped"
    assert await town.answered_by(question) == ""
    assert await town.answered_by(typo) == "taken_back"
    await town.people.resume(account=A, person=ANNA, answer_pending=True)
    await town.run()
    assert town.got() == ["answer 1"]
    assert (await town.answered_by(question)).startswith("reply")


async def test_words_that_wait_when_the_account_is_disconnected_leave_the_right_reason(town):
    question = await town.say("hello")
    town.instagram.script = [REFUSED_CONNECTION]
    async with saying(town) as outcome:
        await town.work()
        town.tokens.connect(A, "disconnected")
        await town.book.mirror()
        await town.run(for_ms=HOUR)
        assert (await outcome).outcome == "dropped"
    assert await town.answered_by(question) == "disconnected"


async def test_words_that_follow_dropped_ones_answer_what_those_were_to_answer(town):
    question = await town.say("Do you deliver?")
    typo = await town.say("lol")
    town.instagram.script = [REFUSED_CONNECTION]
    async with saying(town, "first"):
        await town.work()
        await town.unsend(typo)
        assert await town.parts() == ["dropped"]
    town.instagram.script = []
    second = asyncio.create_task(town.people.say(account=A, person=ANNA, text="second", request_id="r2"))
    while not second.done():
        await town.work()
        await asyncio.sleep(0.001)
    assert (town.got(), await town.answered_by(question)) == (["second"], "human")


async def test_who_is_erased_while_words_are_handed_in_is_named_nowhere(town, monkeypatch):
    await town.say("hello")
    speaks = town.book.speaks

    async def erased_first(account, person):
        await town.people.erase(account, person)
        await speaks(account, person)

    monkeypatch.setattr(town.book, "speaks", erased_first)
    with pytest.raises(NotFound):
        await town.people.say(account=A, person=ANNA, text="me", request_id="r1")
    assert (await town.store.accounts.get(A)).speaking == ()
