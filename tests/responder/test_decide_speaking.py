"""When the bot answers: quiet time, a person's takeover, pauses, Resume. Each row of design.md's table by its name."""

import pytest

from services.responder.outside import Shown
from tests.responder.fakes import SILENCE, A
from tests.responder.town import ANNA, HOUR, MINUTE, SECOND, opened


async def test_a_message_is_answered_after_the_quiet_time(town):
    await town.say("hello")
    await town.advance(1_999)
    assert town.got() == []
    assert (await town.row()).waiting_for == "quiet"
    await town.advance(1)
    assert town.got() == ["answer 1"]


async def test_each_message_of_a_burst_begins_the_quiet_time_anew_and_one_reply_answers_all(town):
    events = []
    for text in ("one", "two", "three"):
        events.append(await town.say(text))
        await town.advance(1_500)
    assert town.got() == []
    await town.advance(500)
    assert town.got() == ["answer 1"]
    assert town.writer.asked == [["one", "two", "three"]]
    assert len({await town.answered_by(one) for one in events}) == 1


async def test_who_types_on_and_on_is_answered_at_quiet_max(town):
    for n in range(6):
        await town.say(f"message {n}")
        await town.advance(1_500)
    assert town.got() == ["answer 1"]  # at 8 s, although nobody was quiet for 2 s
    assert town.writer.asked == [[f"message {n}" for n in range(6)]]


async def test_the_quiet_time_goes_by_the_stores_clock_not_by_instagrams(town):
    await town.say("from a clock that is wrong", at=town.clock.now() - 10 * SECOND)
    await town.say("and another", at=town.clock.now() + 10 * SECOND)
    await town.advance(1_999)
    assert town.got() == []
    await town.advance(1)
    assert town.got() == ["answer 1"]


# --- takeover ------------------------------------------------------------------------------------------------


async def test_a_person_who_answers_first_keeps_the_bot_silent_for_takeover_hours(town):
    question = await town.say("anybody there?")
    await town.advance(SECOND)
    await town.human("I am here")
    await town.run(for_ms=5 * SECOND)
    assert town.got() == []
    assert await town.answered_by(question) == "human"
    later = await town.say("and one more thing")
    await town.run(for_ms=HOUR)
    assert town.got() == []
    assert (await town.row()).waiting_for == "paused"
    await town.run()
    assert town.got() == []
    assert await town.answered_by(later) == "paused"


async def test_after_the_takeover_the_bot_answers_again(town):
    await town.human("hello, this is Kim")
    await town.run(for_ms=12 * HOUR)
    await town.say("hi")
    await town.run()
    assert town.got() == ["answer 1"]


async def test_a_persons_echo_that_comes_late_counts_from_when_it_was_written(town):
    await town.say("question", at=town.clock.now())
    await town.human("answered long ago", at=town.clock.now() - 11 * HOUR)
    row = await town.row()
    assert max(pause.until for pause in row.pauses) == town.clock.now() + HOUR
    await town.run(for_ms=2 * HOUR)
    assert town.got() == []


async def test_a_persons_echo_from_the_future_counts_as_now(town):
    await town.human("from tomorrow", at=town.clock.now() + 24 * HOUR)
    assert (await town.row()).pauses[-1].until == town.clock.now() + 12 * HOUR


async def test_a_question_that_comes_after_the_answer_that_a_person_gave_is_the_persons(town):
    asked_at = town.clock.now()
    await town.advance(SECOND)
    await town.human("yes, until six")
    question = await town.say("open today?", at=asked_at)
    assert (await town.row()).unanswered == ()  # at once: nothing waits for it
    await town.run()
    assert town.got() == []
    assert await town.answered_by(question) == "human"


async def test_each_further_message_of_the_person_prolongs_the_takeover(town):
    await town.human("one")
    await town.run(for_ms=10 * HOUR)
    await town.human("two")
    await town.run(for_ms=10 * HOUR)
    message = await town.say("are you a robot?")
    await town.run()
    assert town.got() == []
    assert await town.answered_by(message) == "paused"


async def test_a_persons_echo_from_before_the_last_resume_marks_but_pauses_nothing(town):
    before = town.clock.now()
    await town.say("old question", at=before - 2 * SECOND)
    await town.human("first")
    await town.advance(SECOND)
    await town.people.resume(account=town.event().account, person=ANNA, answer_pending=False)
    await town.advance(SECOND)
    await town.human("second, late", at=before)
    new = await town.say("new question")
    await town.run()
    assert town.got() == ["answer 1"]
    assert (await town.answered_by(new)).startswith("reply")


async def test_a_persons_old_echo_that_comes_again_leaves_a_reply_to_newer_messages_alone(town):
    words = await town.human("a person speaks")
    town.clock.ms += 30 * HOUR
    await town.human("again")  # by now the first is remembered no more
    town.clock.ms += 13 * HOUR
    town.writer.script = ["a" * 900 + ".\n\n" + "b" * 900]
    town.instagram.meanwhile = [lambda _mid: town.deliver(words)]
    message = await town.say("hello")
    await town.run(for_ms=MINUTE)
    assert len(town.got()) == 2
    assert (await town.answered_by(message)).startswith("reply")


async def test_a_person_who_writes_while_the_model_writes_wins(town):
    question = await town.say("hello?")
    town.writer.meanwhile.append(lambda: town.human("me first"))
    await town.run(for_ms=HOUR)
    assert town.got() == []
    assert await town.answered_by(question) == "human"


# --- pauses --------------------------------------------------------------------------------------------------


async def test_what_came_in_a_pause_is_skipped_when_the_pause_ends_by_time(town):
    await town.say("first")
    await town.run()
    await town.people.pause(account=town.event().account, person=ANNA, until=town.clock.now() + HOUR)
    silent = await town.say("anybody?")
    await town.run()
    assert town.got() == ["answer 1"]
    assert await town.answered_by(silent) == "paused"
    await town.say("hello again")
    await town.run()
    assert town.writer.asked[-1][-2:] == ["anybody?", "hello again"]  # it stays as history


async def test_a_message_from_a_past_pause_that_arrives_late_is_skipped(town):
    await town.say("first")
    await town.run()
    begin = town.clock.now()
    await town.people.pause(account=town.event().account, person=ANNA, until=begin + HOUR)
    await town.run(for_ms=2 * HOUR)
    late = await town.say("from within the pause", at=begin + SECOND)
    await town.run()
    assert town.got() == ["answer 1"]
    assert await town.answered_by(late) == "paused"


async def test_a_pause_without_an_end_lasts_until_somebody_resumes(town):
    await town.say("first")
    await town.run()
    await town.people.pause(account=town.event().account, person=ANNA, until=0)
    await town.say("anybody?")
    await town.advance(10 * SECOND)
    assert (await town.row()).due_at is None
    assert (await town.row()).waiting_for == "paused"


async def test_resume_answers_the_newest_pending_message_when_asked(town):
    await town.say("first")
    await town.run()
    await town.people.pause(account=town.event().account, person=ANNA, until=0)
    one = await town.say("one")
    await town.advance(HOUR)
    two = await town.say("two")
    await town.advance(HOUR)
    await town.people.resume(account=one.account, person=ANNA, answer_pending=True)
    await town.run()
    assert town.got() == ["answer 1", "answer 2"]
    assert await town.answered_by(one) == "paused"
    assert (await town.answered_by(two)).startswith("reply")


@pytest.mark.parametrize("answer_pending", [False, True])
async def test_resume_answers_nothing_stale_and_nothing_unasked(town, answer_pending):
    await town.say("first")
    await town.run()
    await town.people.pause(account=town.event().account, person=ANNA, until=0)
    message = await town.say("one")
    await town.advance(13 * HOUR if answer_pending else HOUR)
    await town.people.resume(account=message.account, person=ANNA, answer_pending=answer_pending)
    await town.run()
    assert town.got() == ["answer 1"]
    assert await town.answered_by(message) == ("stale" if answer_pending else "paused")


async def test_a_paused_account_is_not_worked_on_and_not_counted_as_due(town):
    account = town.event().account
    await town.say("first")
    await town.run()
    await town.people.pause(account=account, person="", until=0)
    message = await town.say("anybody?")
    await town.advance(HOUR)
    assert town.got() == ["answer 1"]
    assert (await town.message(message)).text == "anybody?"  # stored all the same
    await town.people.resume(account=account, person="", answer_pending=True)
    await town.run()
    assert town.got() == ["answer 1", "answer 2"]


async def test_a_pause_of_the_account_stops_a_text_that_is_being_written(town):
    account = town.event().account
    await town.say("hello")

    async def pause():
        await town.people.pause(account=account, person="", until=0)

    town.writer.meanwhile.append(pause)
    await town.run(for_ms=HOUR)
    assert town.got() == []
    await town.people.resume(account=account, person="", answer_pending=True)
    await town.run()
    assert town.got() == ["answer 2"]


async def test_two_takeovers_of_two_people_do_not_touch_each_other(file):
    async with opened(file) as town:
        await town.human("to Anna")
        await town.say("hello", person="6900000000000002")
        await town.run()
        assert town.got("6900000000000002") == ["answer 1"]


@pytest.mark.parametrize("resumed_first", [False, True])
async def test_what_a_person_answered_while_a_lost_reply_was_looked_for_is_not_answered_again(file, resumed_first):
    async with opened(file, quiet=7 * SECOND) as town:
        question = await town.say("hello")
        town.clock.ms += 500
        at = town.clock.now()
        town.instagram.put(A, ANNA, Shown(mid="typed", sender=A, at=at, text="a person answers"))
        if resumed_first:
            town.clock.ms += SECOND
            await town.people.resume(account=A, person=ANNA, answer_pending=True)
        town.instagram.script = [SILENCE]
        await town.advance(7 * SECOND)
        assert await town.parts() == ["unknown"]
        town.clock.ms += 10 * SECOND
        await town.deliver(town.event(text="a person answers", outgoing=True, mid="typed", at=at))
        await town.run(for_ms=3 * MINUTE)
        if not resumed_first:
            await town.people.resume(account=A, person=ANNA, answer_pending=True)
        await town.run(for_ms=12 * MINUTE)
        assert (town.got(), await town.answered_by(question)) == ([], "human")


@pytest.mark.parametrize("person", [ANNA, ""])
async def test_resume_answers_the_newest_message_also_when_a_lost_reply_to_it_is_looked_for(town, person):
    question = await town.say("hello")
    town.instagram.script = [SILENCE]
    await town.advance(2 * SECOND)
    town.clock.ms += 3 * SECOND
    await town.people.pause(account=A, person=person, until=0)
    town.clock.ms += 10 * SECOND
    await town.people.resume(account=A, person=person, answer_pending=True)
    await town.run(for_ms=HOUR)
    assert (len(town.got()), len(town.instagram.posts)) == (1, 2)
    assert (await town.answered_by(question)).startswith("reply")


async def test_resume_answers_the_newest_that_waits_also_when_a_lost_reply_answers_a_newer_one(town):
    town.instagram.script = [("arrives", SILENCE)]
    town.instagram.unreadable = True
    first = await town.say("first")
    await town.run(for_ms=5 * SECOND)
    await town.people.pause(account=A, person=ANNA, until=0)
    late = await town.say("late", at=first.at - 3 * SECOND)
    await town.run(for_ms=5 * SECOND)
    await town.people.resume(account=A, person=ANNA, answer_pending=True)
    town.instagram.unreadable = False
    await town.run(for_ms=10 * MINUTE)
    assert (await town.answered_by(first)).startswith("reply")
    assert (await town.answered_by(late)).startswith("reply")
    assert len(town.got()) == 2


async def test_a_lost_reply_that_no_newer_message_may_stop_is_not_sent_again_over_a_person(file):
    async with opened(file, quiet=7 * SECOND) as town:

        async def more():
            await town.say("more")

        town.instagram.script = [SILENCE]
        town.writer.meanwhile = [more, more]
        question = await town.say("hello")
        at = town.clock.now() + 500
        while (await town.row()).reply is None:
            await town.advance(SECOND)
        assert (await town.row()).reply.final
        town.instagram.put(A, ANNA, Shown(mid="typed", sender=A, at=at, text="a person answers"))
        await town.deliver(town.event(text="a person answers", outgoing=True, mid="typed", at=at))
        town.clock.ms += SECOND
        await town.people.resume(account=A, person=ANNA, answer_pending=False)
        await town.run(for_ms=5 * MINUTE)
        assert (town.got(), await town.answered_by(question)) == ([], "human")
