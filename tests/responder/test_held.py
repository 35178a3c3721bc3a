"""Replies of which nobody could find out whether they arrived, and what a person decides about them."""

import asyncio
from contextlib import suppress

import pytest
from msgspec.structs import replace

from services.common.errors import NotFound, Refused, Undeliverable
from services.responder.model import PartState
from tests.responder.fakes import REFUSED_CONNECTION, SILENCE, A
from tests.responder.town import ANNA, HOUR, MINUTE, SECOND, hold_one, opened

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


async def posted(town, text="answer 1"):
    """The time of the POST whose outcome nobody knows."""
    found = await town.people.held("")
    return next(part.sending_at for reply in found for part in reply.parts if part.text == text)


async def test_a_late_echo_settles_a_held_part_and_is_nobodys_words(town):
    message = await hold_one(town)
    await town.echo("mid of the late one", "answer 1", at=await posted(town) + SECOND)
    assert await town.people.held("") == []
    row = await town.row()
    assert (row.held, row.pauses) == ((), ())
    story = await town.store.sends.of(A, ANNA, 9)
    assert [(str(part.state), part.mid) for one in story for part in one.parts] == [("sent", "mid of the late one")]
    assert await town.answered_by(message) == story[0].id
    await town.echo("mid of the late one", "answer 1", at=story[0].parts[0].sending_at + SECOND)
    assert await town.row() == row


async def test_the_same_words_at_another_time_are_a_persons(town):
    await hold_one(town)
    for number, at in enumerate((await posted(town) - MINUTE, town.clock.now())):
        await town.echo(f"typed {number}", "answer 1", at=at)
    assert len(await town.people.held("")) == 1
    assert [pause.mid for pause in (await town.row()).pauses] == ["typed 0", "typed 1"]


async def test_a_held_part_and_a_later_reply_of_the_same_words_each_get_their_own_echo(town):
    await hold_one(town)
    began = await posted(town)
    town.writer.script = ["answer 1"]
    town.instagram.script = [SILENCE]
    await town.say("and this?")
    await town.run(for_ms=15 * SECOND)
    assert await town.parts() == ["unknown"]
    now = (await town.row()).reply.parts[0].sending_at
    await town.echo("the first", "answer 1", at=began + SECOND)
    assert await town.parts() == ["unknown"]
    await town.echo("the second", "answer 1", at=now + SECOND)
    await town.run(for_ms=MINUTE)
    story = await town.store.sends.of(A, ANNA, 9)
    assert [part.mid for one in story for part in one.parts] == ["the first", "the second"]
    assert (await town.row()).pauses == ()


async def test_the_echo_of_a_reply_that_is_known_settles_no_held_one_of_the_same_words(town):
    """Two replies of the same words within seconds: the first arrived, what became of the second nobody knows."""
    town.writer.script = ["answer 1", "answer 1"]
    await town.say("first")
    await town.run(for_ms=3 * SECOND)
    first = town.instagram.arrived[0][2]
    await hold_one(town)
    at = await posted(town)
    await town.echo(first, "answer 1", at=at - SECOND)
    assert len(await town.people.held("")) == 1
    await town.echo("the second", "answer 1", at=at)
    assert await town.people.held("") == []
    assert (await town.row()).pauses == ()


async def test_an_echo_that_was_written_down_before_a_crash_is_taken_out_of_the_row_by_the_next(town):
    await hold_one(town)
    began = await posted(town)
    real, town.store.conversations.save = town.store.conversations.save, None
    real_record, town.store.record = town.store.record, None
    with suppress(TypeError):
        await town.echo("late", "answer 1", at=began + SECOND)
    town.store.conversations.save, town.store.record = real, real_record
    assert (await town.people.held(""), len((await town.row()).held)) == ([], 1)
    await town.echo("late", "answer 1", at=began + SECOND)
    row = await town.row()
    assert (row.held, row.pauses) == ((), ())


async def test_the_echo_of_a_part_that_was_just_given_up_is_its_own(town):
    message = await town.say("hello")
    town.instagram.script = [SILENCE]
    await town.run(for_ms=15 * SECOND)
    row = await town.row()
    part = replace(row.reply.parts[0], state=PartState.HELD)
    await town.store.conversations.save(replace(row, reply=replace(row.reply, parts=(part,))))
    await town.echo("late", "answer 1", at=part.sending_at)
    await town.run(for_ms=MINUTE)
    assert await town.people.held("") == []
    assert (await town.row()).pauses == ()
    assert (await town.answered_by(message)).startswith("reply")


async def test_an_echo_that_was_taken_for_a_persons_ends_its_pause_when_it_proves_the_held_parts_own(town):
    await hold_one(town)
    at = await posted(town) + SECOND
    await town.echo("late", "answer 1 (altered)", at=at)
    assert [pause.mid for pause in (await town.row()).pauses] == ["late"]
    await town.echo("late", "answer 1", at=at)
    assert (await town.row()).pauses == ()


@pytest.mark.parametrize("decision", ["drop", "resend"])
async def test_the_echo_of_a_held_part_that_a_person_decided_about_is_nobodys_words(town, decision):
    await hold_one(town)
    (held,) = await town.people.held(A)
    await town.people.resolve(held.id, 0, decision)
    await town.run(for_ms=MINUTE)
    await town.echo("original", "answer 1", at=held.parts[0].sending_at)
    assert (await town.row()).pauses == ()
    await town.say("thanks, and until when?")
    await town.run(for_ms=MINUTE)
    assert town.got()[-1] == "answer 2"


async def test_a_dropped_part_that_the_gap_check_finds_is_nobodys_words(town):
    town.instagram.script = [("arrives", SILENCE)]
    town.instagram.unreadable = True
    await town.say("hello")
    await town.run(for_ms=20 * MINUTE)
    town.instagram.unreadable = False
    (held,) = await town.people.held(A)
    await town.people.resolve(held.id, 0, "drop")  # it is there already, as Instagram's app shows
    await town.book.mirror()
    await town.gaps.check_all(await town.store.accounts.all())
    assert (await town.row()).pauses == ()
    assert [one.outcome for one in (await town.people.get(A, ANNA)).replies] == ["sent"]


async def test_the_echo_of_the_original_that_comes_while_it_is_sent_again_leaves_the_second_one_alone(town):
    await hold_one(town)
    (held,) = await town.people.held(A)
    await town.people.resolve(held.id, 0, "resend")

    async def late(_mid):
        await town.echo("original", "answer 1", at=held.parts[0].sending_at)

    town.instagram.meanwhile = [late]
    await town.run(for_ms=MINUTE)
    await town.echo(town.instagram.arrived[-1][2], "answer 1")
    assert (await town.row()).pauses == ()
    mids = [part.mid for one in (await town.people.get(A, ANNA)).replies for part in one.parts]
    assert mids == ["original", town.instagram.arrived[-1][2]]


async def test_a_person_who_types_what_igbot_could_not_send_is_heard(town):
    town.writer.script = ["a" * 900 + ".\n\n" + "b" * 900]
    town.instagram.script = ["ok", REFUSED_CONNECTION]
    await town.say("hello")
    await town.advance(2 * SECOND)
    assert await town.parts() == ["sent", "ready"]
    saying = asyncio.create_task(town.people.say(account=A, person=ANNA, text="me", request_id="r"))
    while not saying.done():
        await town.work()
        await asyncio.sleep(0.001)
    await town.people.resume(account=A, person=ANNA, answer_pending=False)
    town.clock.ms += SECOND
    await town.human("b" * 900)
    assert [one.mid for one in (await town.row()).pauses if one.until > town.clock.now()] != []


async def test_an_echo_is_of_the_part_in_the_row_rather_than_of_one_that_was_given_up_before_it(town):
    first, second = "a" * 900 + ".", "b" * 900
    town.writer.script = [f"{first}\n\n{second}"]
    town.instagram.script = ["ok", SILENCE, REFUSED_CONNECTION, ("arrives", SILENCE)]
    await town.say("hello")
    while len(town.instagram.posts) < 3:  # the second part is looked for, sent again, and does not get out
        await town.advance(SECOND)
    assert await town.parts() == ["sent", "ready"]
    saying = asyncio.create_task(town.people.say(account=A, person=ANNA, text=second, request_id="r"))
    while len(town.got()) < 2:
        await town.work()
        await asyncio.sleep(0.001)
    assert await town.parts() == ["unknown"]
    await town.echo(town.instagram.arrived[-1][2], second)
    await town.run(for_ms=5 * MINUTE)
    assert town.got() == [first, second]
    assert (await saying).outcome == "sent"


@pytest.mark.parametrize("decision", ["drop", "resend"])
async def test_an_echo_that_comes_while_a_person_decides_settles_the_part_for_good(town, decision, monkeypatch):
    await hold_one(town)
    (held,) = await town.people.held(A)
    change = town.store.sends.change

    async def echoed_first(reply_id, rule):
        monkeypatch.setattr(town.store.sends, "change", change)
        await town.echo("original", "answer 1", at=held.parts[0].sending_at)
        return await change(reply_id, rule)

    monkeypatch.setattr(town.store.sends, "change", echoed_first)
    await town.people.resolve(held.id, 0, decision)
    settled = await town.store.sends.get(held.id)
    assert (settled.outcome, settled.parts[0].mid) == ("sent", "original")
    assert ((await town.row()).held, (await town.row()).pauses) == ((), ())


async def test_a_part_that_a_person_sends_again_while_the_echo_of_another_comes_is_held_no_more(town, monkeypatch):
    town.writer.script = ["a" * 900 + ".\n\n" + "b" * 900]
    await town.say("hello")
    await town.advance(2 * SECOND)
    (reply,) = (await town.people.get(A, ANNA)).replies
    both = tuple(replace(one, state=PartState.HELD, mid="", unreadable_since=1) for one in reply.parts)
    await town.store.sends.put(replace(reply, parts=both, outcome="held"))
    row = await town.row()
    await town.store.conversations.save(replace(row, held=(reply.id,)))
    change = town.store.sends.change

    async def decided_first(reply_id, rule):
        monkeypatch.setattr(town.store.sends, "change", change)
        await town.people.resolve(reply.id, 1, "drop")
        return await change(reply_id, rule)

    monkeypatch.setattr(town.store.sends, "change", decided_first)
    await town.echo("late", both[0].text, at=both[0].sending_at)
    assert await town.people.held(A) == []
    settled = await town.store.sends.get(reply.id)
    assert [str(one.state) for one in settled.parts] == ["sent", "dropped"]
    assert (await town.row()).held == ()
