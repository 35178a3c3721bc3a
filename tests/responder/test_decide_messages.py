"""When the bot answers: windows, age, stop words, what is taken back or edited, outages, faults, superseded texts."""

import pytest

from services.responder.message import Kind
from services.responder.outside import ModelDown, ModelRefused
from tests.responder.fakes import REFUSED_CONNECTION, SILENCE, A
from tests.responder.town import ANNA, HOUR, MINUTE, SECOND, opened

LONG = "a" * 900 + ".\n\n" + "b" * 900  # two parts


# --- the window, and age -------------------------------------------------------------------------------------


async def test_nothing_is_sent_when_the_window_has_closed(file):
    async with opened(file, stale=100 * HOUR) as town:
        message = await town.say("hello", at=town.clock.now() - 25 * HOUR)
        await town.run()
        assert town.instagram.posts == []
        assert await town.answered_by(message) == "window_closed"


async def test_the_window_is_24_hours_from_the_newest_message_and_never_from_the_future(town):
    begin = town.clock.now()
    await town.say("late one", at=begin - HOUR)
    await town.say("old one", at=begin - 5 * HOUR)
    assert (await town.row()).window_closes_at == begin + 23 * HOUR
    await town.say("of tomorrow", at=begin + 20 * HOUR)
    assert (await town.row()).window_closes_at == begin + 24 * HOUR


async def test_a_part_that_waits_is_dropped_when_the_window_closes(file):
    async with opened(file, stale=100 * HOUR) as town:
        town.writer.script = [LONG]
        town.instagram.script = ["ok"] + [REFUSED_CONNECTION] * 1000
        message = await town.say("hello")
        await town.run()
        assert len(town.got()) == 1
        assert (await town.row()).reply is None
        reply = await town.store.sends.get(await town.answered_by(message))
        assert [str(part.state) for part in reply.parts] == ["sent", "dropped"]
        assert town.clock.now() < message.at + 25 * HOUR


async def test_what_is_older_than_stale_hours_is_not_answered(town):
    message = await town.say("hello", at=town.clock.now() - 13 * HOUR)
    await town.run()
    assert town.got() == []
    assert await town.answered_by(message) == "stale"


async def test_after_an_outage_the_old_is_stale_and_the_young_is_answered(town):
    town.writer.down = True
    old = await town.say("old")
    await town.run(for_ms=8 * HOUR)
    young = await town.say("young")
    await town.run(for_ms=5 * HOUR)
    town.writer.down = False
    await town.run()
    assert await town.answered_by(old) == "stale"
    assert (await town.answered_by(young)).startswith("reply")
    assert len(town.got()) == 1


async def test_a_text_of_white_space_and_a_bare_heart_are_not_answered(town):
    message = await town.say(" \u00a0 ")
    await town.run()
    assert town.writer.prompts == []
    assert await town.answered_by(message) == "nothing_to_answer"
    assert town.metric("igbot_skips_total", reason="nothing_to_answer") == 1


# --- stop and start ------------------------------------------------------------------------------------------


async def test_a_stop_word_is_confirmed_once_and_then_there_is_silence(town):
    await town.say(" STOP! ")
    await town.run()
    assert len(town.got()) == 1
    assert "start" in town.got()[0]
    assert town.writer.prompts == []
    silent = await town.say("hello?")
    again = await town.say("stop")
    await town.run()
    assert len(town.got()) == 1
    assert await town.answered_by(silent) == "opted_out"
    assert await town.answered_by(again) == "opted_out"


async def test_a_sentence_with_the_word_in_it_is_no_stop_word(town):
    await town.say("when does the bus stop?")
    await town.run()
    assert town.got() == ["answer 1"]


async def test_a_start_word_undoes_the_opt_out_and_is_answered(town):
    await town.say("stop")
    await town.run()
    await town.say("Start")
    await town.run()
    assert town.got()[1:] == ["answer 1"]
    assert not (await town.row()).opted_out


async def test_of_stop_and_start_the_later_by_instagrams_time_counts(town):
    begin = town.clock.now()
    await town.say("start", at=begin + 500)
    await town.say("stop", at=begin)
    await town.run()
    assert not (await town.row()).opted_out
    assert town.got() == ["answer 1"]


async def test_a_stop_word_drops_the_reply_in_hand(town):
    town.writer.script = [LONG]
    town.instagram.meanwhile = [lambda _mid: town.say("stop", mid="stopword")]
    await town.say("tell me everything")
    await town.run()
    assert [text[0] for text in town.got()] == ["a", "D"]  # the first part was under way; then the confirmation


async def test_a_stop_word_in_a_pause_gets_no_confirmation(town):
    await town.human("a person is here")
    await town.advance(SECOND)
    message = await town.say("stop")
    await town.run()
    assert town.got() == []
    assert (await town.row()).opted_out
    assert await town.answered_by(message) == "paused"


async def test_a_stop_word_that_is_stale_or_outside_the_window_gets_no_confirmation(town):
    stale = await town.say("stop", at=town.clock.now() - 13 * HOUR)
    closed = await town.say("stop", at=town.clock.now() - 30 * HOUR, person="7")
    await town.run()
    assert town.instagram.posts == []
    assert await town.answered_by(stale) == "stale"
    assert (await town.message(closed)).answered_by == "window_closed"
    assert (await town.row()).opted_out


async def test_a_stop_word_that_is_taken_back_opts_nobody_out_in_either_order(town):
    stop = await town.say("stop")
    await town.unsend(stop)
    await town.say("hello")
    await town.run()
    assert town.got() == ["answer 1"]
    early = town.event(text="stop", person="7")
    await town.unsend(early)
    await town.deliver(early)
    await town.say("hello", person="7")
    await town.run()
    assert town.got("7") == ["answer 2"]


@pytest.mark.parametrize("edit_first", [False, True])
async def test_an_edit_may_make_a_stop_word_and_unmake_one(town, edit_first):
    making, unmaking = town.event(text="stopp"), town.event(text="stop", person="7")
    for event, text in ((making, "stop"), (unmaking, "stop by tomorrow?")):
        if edit_first:
            await town.edit(event, text)
        await town.deliver(event)
        if not edit_first:
            await town.edit(event, text)
    await town.run()
    assert (await town.row()).opted_out
    assert town.got()[0].startswith("Done")
    assert not (await town.row("7")).opted_out
    assert town.got("7") == ["answer 1"]


@pytest.mark.parametrize("named", [True, False], ids=["with its sides", "without a sender"])
async def test_what_a_person_of_the_business_edits_to_a_stop_word_opts_nobody_out(town, named):
    words = await town.human("we close at six")
    edit = words if named else town.event(mid=words.mid, person="")
    await town.edit(edit, "Stop")
    assert (await town.message(words, Kind.ECHO)).text == "Stop"
    assert not (await town.row()).opted_out
    town.clock.ms += 13 * HOUR
    await town.say("hello")
    await town.run()
    assert town.got() == ["answer 1"]


# --- waiting -------------------------------------------------------------------------------------------------


async def test_a_pass_within_the_quiet_time_waits_for_its_end(town):
    first = await town.say("one")
    await town.say("two")
    town.clock.ms += SECOND
    await town.unsend(first)
    await town.work()
    assert town.writer.prompts == []
    assert (await town.row()).waiting_for == "quiet"
    await town.run()
    assert town.writer.asked == [["two"]]


async def test_a_new_message_in_a_back_off_does_not_cut_it_short(town):
    town.writer.script = [ModelDown("down")] * 5
    await town.say("hello")
    await town.run(for_ms=30 * SECOND)
    asked, retry_at = len(town.writer.prompts), (await town.row()).retry_at
    assert retry_at > town.clock.now() + 3 * SECOND
    await town.say("hello?")
    await town.run(for_ms=3 * SECOND)
    assert len(town.writer.prompts) == asked
    assert (await town.row()).waiting_for == "back_off"


# --- taken back ----------------------------------------------------------------------------------------------


async def test_a_message_taken_back_in_the_quiet_time_is_scrubbed_and_not_answered(town):
    message = await town.say("my secret")
    await town.unsend(message)
    await town.run()
    assert town.writer.prompts == []
    assert town.got() == []
    found = await town.message(message)
    assert (found.text, found.taken_back, found.answered_by) == ("", True, "taken_back")


async def test_an_unsend_that_comes_first_still_wins(town):
    message = town.event(text="my secret")
    await town.unsend(message)
    await town.deliver(message)
    await town.run()
    assert town.writer.prompts == []
    assert (await town.message(message)).text == ""


async def test_an_unsend_without_a_sender_is_found_by_its_mid(town):
    message = await town.say("my secret")
    await town.unsend(town.event(mid=message.mid, person=""))
    await town.run()
    assert town.writer.prompts == []
    assert (await town.message(message)).text == ""


async def test_what_is_taken_back_while_the_model_writes_is_not_answered_but_the_rest_is(town):
    first, second = await town.say("one"), await town.say("two")
    town.writer.meanwhile.append(lambda: town.unsend(first))
    await town.run()
    assert town.got() == ["answer 2"]
    assert town.writer.asked[-1] == ["two"]
    assert await town.answered_by(first) == "taken_back"
    assert (await town.answered_by(second)).startswith("reply")


async def test_what_is_taken_back_after_the_first_part_stops_the_others(town):
    town.writer.script = [LONG]
    message = await town.say("one")
    town.instagram.meanwhile = [lambda _mid: town.unsend(message)]
    await town.run()
    assert len(town.got()) == 1
    assert (await town.message(message)).text == ""


async def test_a_reply_whose_part_never_arrived_is_not_sent_again_once_its_question_is_taken_back(town):
    message = await town.say("one")
    town.instagram.script = [SILENCE]
    town.instagram.show(A, ANNA, "older words", mid="older")  # so that a read reaches back
    await town.store.messages.add([])
    await town.advance(5 * SECOND)
    await town.unsend(message)
    await town.run()
    assert town.got() == ["older words"]


# --- edits ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("edit_first", [False, True])
async def test_an_edit_of_an_unanswered_message_is_what_is_answered(town, edit_first):
    message = town.event(text="20 rolls")
    if edit_first:
        await town.edit(message, "30 rolls")
    await town.deliver(message)
    if not edit_first:
        await town.edit(message, "30 rolls")
    await town.run()
    assert town.writer.asked == [["30 rolls"]]
    assert town.got() == ["answer 1"]


async def test_the_last_edit_is_the_text_in_whatever_order_edits_come(town):
    message = await town.say("one")
    await town.edit(message, "three", number=2)
    await town.edit(message, "two", number=1)
    await town.run()
    assert town.writer.asked == [["three"]]


async def test_an_edit_while_the_model_writes_is_answered_in_its_new_wording(town):
    message = await town.say("20 rolls")
    town.writer.meanwhile.append(lambda: town.edit(message, "30 rolls"))
    await town.run()
    assert town.writer.asked[-1] == ["30 rolls"]
    assert town.got() == ["answer 2"]


async def test_an_edit_of_an_answered_message_gets_no_second_reply(town):
    message = await town.say("20 rolls")
    await town.run()
    await town.edit(message, "30 rolls")
    await town.run()
    assert town.got() == ["answer 1"]
    assert (await town.message(message)).text == "30 rolls"


# --- superseded ----------------------------------------------------------------------------------------------


async def test_a_text_is_superseded_twice_at_most_the_third_goes_and_the_newer_is_answered_next(town):
    await town.say("one")
    for n in (2, 3, 4):
        town.writer.meanwhile.append(lambda n=n: town.say(f"message {n}"))
    await town.run()
    assert [len(asked) for asked in town.writer.asked[:3]] == [1, 2, 3]
    assert town.got() == ["answer 3", "answer 4"]
    assert town.writer.asked[3][-1:] == ["message 4"]


async def superseded_twice(town):
    """The customer writes on twice while the model writes, and then nothing can be written."""
    town.writer.meanwhile = [lambda: town.say("and two"), lambda: town.say("and three")]
    town.writer.script = ["answer", "answer", *[ModelDown("down")] * 99]
    await town.say("one")
    await town.run(for_ms=10 * SECOND)
    assert (await town.row()).superseded == 2
    town.writer.script = []


@pytest.mark.parametrize("how", ["a person took over", "it grew stale"])
async def test_texts_that_were_overtaken_for_messages_that_are_dealt_with_count_no_more(town, how):
    await superseded_twice(town)
    if how == "it grew stale":
        town.clock.ms += 13 * HOUR
    else:
        await town.human("a person")
    await town.run(for_ms=13 * HOUR)
    town.writer.meanwhile = [lambda: town.say("and five")]
    first = await town.say("four")
    before = len(town.got())
    await town.run(for_ms=MINUTE)
    assert len(town.got()) == before + 1
    assert town.writer.asked[-1][-2:] == ["four", "and five"]
    assert (await town.answered_by(first)).startswith("reply")


async def test_texts_that_were_overtaken_before_a_takeover_count_no_more_for_what_is_answered_after_it(town):
    await superseded_twice(town)
    await town.human("a person", at=town.clock.now() - 9 * SECOND)  # it answers nothing that waits
    assert (await town.row()).unanswered
    await town.people.resume(account=A, person=ANNA, answer_pending=True)
    town.writer.meanwhile = [lambda: town.say("and five")]
    await town.run(for_ms=10 * MINUTE)
    assert town.writer.asked[-1][-1] == "and five"
    assert len(town.got()) == 1


async def test_texts_that_were_overtaken_before_a_person_wrote_through_igbot_count_no_more(town):
    await superseded_twice(town)
    saying = await town.speak()
    assert (await town.row()).superseded == 0
    await town.run(for_ms=MINUTE)
    assert (await saying).outcome == "sent"


async def test_the_third_text_too_is_void_when_what_it_answers_is_edited(town):
    first = await town.say("one")
    town.writer.meanwhile = [
        lambda: town.say("two"),
        lambda: town.say("three"),
        lambda: town.edit(first, "one, corrected"),
    ]
    await town.run()
    assert town.got() == ["answer 4"]
    assert town.writer.asked[3][0] == "one, corrected"


async def test_a_reaction_a_read_and_our_own_echo_supersede_nothing(town):
    await town.say("one")
    await town.run()
    await town.say("two")

    async def noise():
        await town.echo("out0", "answer 1")
        await town.say("", kind=type(town.event().kind).REACTION, action="react")
        await town.say("", kind=type(town.event().kind).READ)

    town.writer.meanwhile.append(noise)
    await town.run()
    assert town.got() == ["answer 1", "answer 2"]
    assert len(town.writer.prompts) == 2


# --- outages and faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ModelDown("the model's answer is empty"), TimeoutError()])
async def test_a_model_that_is_down_or_answers_nothing_never_counts_against_the_conversation(town, error):
    town.writer.script = [error] * 60
    await town.say("hello")
    await town.run(for_ms=HOUR)
    row = await town.row()
    assert row.tries == 0
    assert row.waiting_for == "back_off"
    assert row.due_at - town.clock.now() <= 5 * MINUTE
    await town.run(for_ms=3 * HOUR)
    assert len(town.got()) == 1


async def test_instagram_down_never_counts_against_the_conversation(town):
    town.instagram.script = [REFUSED_CONNECTION] * 12
    await town.say("hello")
    await town.run(for_ms=2 * HOUR)
    assert len(town.got()) == 1
    assert (await town.row()).tries == 0


async def test_a_fault_of_its_own_fails_a_conversation_after_max_tries_and_a_new_message_revives_it(town):
    town.writer.script = [ModelRefused("the model answered 400")] * 8
    await town.say("hello")
    await town.run(for_ms=HOUR)
    row = await town.row()
    assert row.failed
    assert len(town.writer.prompts) == 8
    assert [one.person for one in await town.people.find(account="", state="failed", limit=9)] == [ANNA]
    assert row.due_at is None
    await town.run(for_ms=HOUR)
    assert len(town.writer.prompts) == 8
    await town.say("are you there?")
    await town.run(for_ms=3 * SECOND)
    assert town.got() == ["answer 9"]
    assert not (await town.row()).failed


async def test_a_new_message_revives_a_failed_conversation_without_its_back_off(town):
    town.writer.script = [ModelRefused("the model answered 400")] * 8
    await town.say("hello")
    while not (await town.row()).failed:
        await town.advance(SECOND)
    assert (await town.row()).retry_at > town.clock.now() + 5 * SECOND
    await town.say("are you there?")
    await town.run(for_ms=3 * SECOND)
    assert town.got() == ["answer 9"]


async def test_a_fault_that_nobody_foresaw_counts_and_never_loops(town):
    town.writer.script = [ZeroDivisionError()] * 8
    await town.say("hello")
    await town.run(for_ms=HOUR)
    assert (await town.row()).failed
    assert len(town.writer.prompts) == 8


async def test_a_failed_conversation_that_a_person_answers_is_failed_no_more(town):
    town.writer.script = [ModelRefused("400")] * 8
    await town.say("hello")
    await town.run(for_ms=HOUR)
    assert (await town.row()).failed
    await town.human("I am sorry, here I am")
    await town.run(for_ms=3 * SECOND)
    assert not (await town.row()).failed
    assert (await town.row()).unanswered == ()


async def fail_in_hand(town, text="answer 1"):
    """A reply in hand meets a fault that nobody foresaw, until the conversation is given up."""
    message = await town.say("hello")
    town.writer.script = [text]
    town.instagram.script = ["ok", REFUSED_CONNECTION] if text is LONG else [REFUSED_CONNECTION]
    await town.advance(2 * SECOND)
    pace = town.poster.pace

    async def broken(_account):
        raise RuntimeError("nobody foresaw this")

    town.poster.pace = broken
    await town.run(for_ms=2 * HOUR)
    town.poster.pace = pace
    return message


async def test_a_conversation_that_fails_with_a_reply_in_hand_is_listed_and_carried_on_by_retry(town):
    message = await fail_in_hand(town)
    row = await town.row()
    assert (row.failed, row.due_at, row.unanswered, await town.parts()) == (True, None, (), ["ready"])
    assert [one.person for one in await town.people.find(account=A, state="failed", limit=9)] == [ANNA]
    assert (await town.store.conversations.figures([])).failed == 1
    await town.people.retry(A, ANNA)
    await town.run()
    assert town.got() == ["answer 1"]
    assert (await town.answered_by(message)).startswith("reply")
    assert not (await town.row()).failed


@pytest.mark.parametrize("how", ["typed in Instagram", "written through igbot", "disconnected"])
async def test_a_conversation_that_failed_with_a_reply_in_hand_is_ended(town, how):
    message = await fail_in_hand(town)
    if how == "typed in Instagram":
        await town.human("a person")
    elif how == "disconnected":
        town.tokens.connect(A, "disconnected")
        await town.book.mirror()
        await town.people.retry(A, ANNA)
    else:
        saying = await town.speak()
        await town.run(for_ms=MINUTE)
        assert (await saying).outcome == "sent"
    await town.run()
    row = await town.row()
    assert (row.failed, row.reply) == (False, None)
    assert await town.answered_by(message) == ("disconnected" if how == "disconnected" else "human")


async def test_a_reply_that_failed_half_sent_is_finished_when_a_person_takes_over(town):
    message = await fail_in_hand(town, LONG)
    assert await town.parts() == ["sent", "ready"]
    await town.human("a person")
    await town.run()
    row = await town.row()
    assert (row.failed, row.reply, len(town.got())) == (False, None, 1)
    assert (await town.answered_by(message)).startswith("reply")


async def test_retry_makes_a_failed_conversation_due_at_once(town):
    town.writer.script = [ModelRefused("400")] * 8
    await town.say("hello")
    await town.run(for_ms=HOUR)
    await town.people.retry(A, ANNA)
    await town.work()
    assert town.got() == ["answer 9"]


async def test_the_fallback_goes_out_once_when_the_model_fails_past_its_deadline(file):
    async with opened(file, fallback_text="A person will answer soon.") as town:
        town.writer.down = True
        await town.say("hello")
        await town.run(for_ms=50 * SECOND)
        assert town.got() == []
        await town.run(for_ms=10 * MINUTE)
        assert town.got() == ["A person will answer soon."]
        await town.say("hello?")
        await town.run(for_ms=20 * MINUTE)
        assert town.got() == ["A person will answer soon."]  # once an outage, not once a message
        town.writer.down = False
        await town.run(for_ms=10 * MINUTE)
        assert len(town.got()) == 2
        town.writer.down = True
        await town.say("and now?")
        await town.run(for_ms=20 * MINUTE)
        assert town.got()[2:] == ["A person will answer soon."]


async def test_a_fallback_that_never_went_out_is_not_used_up(file):
    async with opened(file, fallback_text="A person will answer soon.") as town:
        town.writer.down = True
        town.instagram.script = [REFUSED_CONNECTION]
        await town.say("hello")
        while not town.instagram.posts:
            await town.advance(SECOND)
        assert await town.parts() == ["ready"]
        await town.say("hello??")
        await town.run(for_ms=HOUR)
        assert town.got() == ["A person will answer soon."]


async def test_without_a_fallback_text_nothing_goes_out(town):
    town.writer.down = True
    await town.say("hello")
    await town.run(for_ms=20 * MINUTE)
    assert town.got() == []
