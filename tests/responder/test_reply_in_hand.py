"""What becomes of a reply in hand when something happens between two lines: what the state machine found, and more."""

import itertools

import pytest
from msgspec.structs import replace

from services.responder import decide, posted, record, sending, settle
from services.responder.account import Account
from services.responder.compose_reply import confirmation
from services.responder.message import Author
from services.responder.model import Echo, PartState, Wait
from services.responder.posted import Posted, PostResult
from services.responder.sending import Void
from services.responder.settle import Sight
from services.responder.times import HOUR, Policy, Times
from tests.responder.fakes import A
from tests.responder.stores import a_message, a_part, a_reply, a_row
from tests.responder.town import opened

NOW = 1_000_000
RULES = {"fence": 0, "now": NOW, "policy": Policy()}
EDIT = a_message("m1", edit=1, text="corrected")
(ASKED,) = a_reply().answers
OTHER = replace(ASKED, key=ASKED.key + "2", mid="m2")


def in_hand(*parts, **fields):
    reply = a_reply(parts=parts or (a_part(state=PartState.SENDING, attempt=1, sending_at=NOW),), **fields)
    return a_row(reply=reply, version=7, window_closes_at=NOW + HOUR)


def never_left(row):
    result = PostResult(posted=Posted.NOT_SENT)
    return posted.record_post(row, "r1", 0, 1, result, now=NOW, times=Times())


def states(row):
    return [part.state for part in row.reply.parts]


def answered(row):
    return [one.key for one in row.reply.answers]


def edited(row):
    return record.edit(row, EDIT, stop=False, start=False, now=NOW)


def test_a_text_that_never_left_is_not_sent_once_its_question_was_edited():
    row = never_left(edited(in_hand(final=True)))
    assert sending.resume_part(row, 0, **RULES) is Void.SUPERSEDED
    assert edited(edited(row)) == edited(row)


def test_a_text_that_never_left_is_not_sent_once_its_question_was_taken_back():
    row = record.take_back(in_hand(), EDIT.key, now=NOW)
    assert sending.resume_part(never_left(row), 0, **RULES) is Void.TAKEN_BACK


@pytest.mark.parametrize("happens", ["unsend", "edit"])
def test_a_refused_reply_that_is_not_in_the_ledger_yet_is_not_thrown_away(happens):
    parts = a_part(state=PartState.REFUSED, attempt=1), a_part(n=1, state=PartState.DROPPED)
    row = in_hand(*parts, answers=(ASKED, OTHER))
    row = record.take_back(row, ASKED.key, now=NOW) if happens == "unsend" else edited(row)
    assert states(row) == [PartState.REFUSED, PartState.DROPPED]
    assert answered(row) == ([OTHER.key] if happens == "unsend" else [ASKED.key, OTHER.key])
    assert row.unanswered == ()


def test_a_persons_words_are_not_lost_when_the_customer_edits():
    row = in_hand(a_part(), author=Author.HUMAN)
    assert edited(row).reply == row.reply


def test_a_persons_words_that_wait_are_dropped_and_not_lost_when_the_customer_takes_back_what_they_answer():
    row = record.take_back(in_hand(a_part(), author=Author.HUMAN), EDIT.key, now=NOW)
    assert states(row) == [PartState.DROPPED]


async def test_a_text_after_a_finished_reply_too_is_superseded_twice_at_most(file):
    async with opened(file, quiet=0) as town:
        await town.say("one")
        town.instagram.meanwhile = [lambda _mid: town.say("two")]
        town.writer.meanwhile = [town.settle]
        for n in (3, 4, 5):
            town.writer.meanwhile.append(lambda n=n: town.say(f"message {n}"))
        await town.run()
        assert town.got() == ["answer 1", "answer 4", "answer 5"]


@pytest.mark.parametrize(
    ("overtaking", "got"),
    [
        (["one more", "one more", "one more"], [confirmation(Policy())]),
        (["start"], ["answer 4"]),
    ],
    ids=["it-is-not-thrown-away-a-third-time", "a-start-word-keeps-it-from-going-out"],
)
async def test_after_two_overtaken_texts_the_confirmation_of_a_stop_word_is_final(file, overtaking, got):
    turns, heard = itertools.count(), []

    async def overtaken_from_the_fourth_turn_on(_account):
        if next(turns) >= 3 and overtaking[len(heard) :]:
            heard.append(overtaking[len(heard)])
            await town.say(heard[-1])

    async with opened(file, quiet=0) as town:
        await town.say("one")
        town.writer.meanwhile = [lambda: town.say("two"), lambda: town.say("three"), lambda: town.say("stop")]
        town.poster.pace = overtaken_from_the_fourth_turn_on  # three texts had theirs: it is the confirmation's
        await town.run()
        assert town.got() == got
        assert len(heard) == 1


def test_no_text_takes_the_place_of_a_reply_in_hand():
    draft = a_reply("r2", parts=(a_part(),), version=7, answers=(), final=True)
    assert sending.begin(in_hand(a_part(), author=Author.HUMAN), draft, **RULES) is Void.SUPERSEDED


def test_a_part_that_was_not_posted_is_ready_again_only_with_the_fence():
    row = in_hand()
    again = posted.not_posted(row, "r1", 0, 1, fence=row.fence)
    assert states(again) == [PartState.READY]
    assert posted.not_posted(row, "r1", 0, 1, fence=row.fence + 1) is None


def test_the_next_part_waits_for_an_undecided_echo():
    echo = Echo(key="k", mid="m", at=NOW, sha256="s")
    row = replace(in_hand(a_part(state=PartState.SENT, mid="sent"), a_part(1)), undecided=(echo,))
    step = decide.reply_step(row, row.reply, Account(account=A), now=NOW, times=Times())
    assert isinstance(step, decide.Rest)
    assert step.row.waiting_for is Wait.UNKNOWN_SEND


@pytest.mark.parametrize(
    ("looks", "state"),
    [
        ([46_000], PartState.UNKNOWN),
        ([46_000, 50_000], PartState.UNKNOWN),
        ([20_000, 44_000], PartState.UNKNOWN),
        ([20_000, 45_000], PartState.READY),
    ],
)
def test_absence_is_believed_the_second_time_10_s_apart_and_45_s_after_the_post(looks, state):
    row = in_hand(a_part(state=PartState.UNKNOWN, attempt=1, sending_at=NOW))
    for after in looks:
        row = absent(row, after)
    assert states(row) == [state]


def test_a_part_is_ready_again_three_times_at_most():
    row = in_hand(a_part(state=PartState.UNKNOWN, attempt=4, sending_at=NOW, resent=3))
    assert states(absent(absent(row, 20_000), 45_000)) == [PartState.HELD]


def test_after_a_held_part_nothing_more_goes_out():
    row = in_hand(a_part(state=PartState.UNKNOWN, attempt=4, sending_at=NOW, resent=3), a_part(1))
    assert states(absent(absent(row, 20_000), 45_000)) == [PartState.HELD, PartState.DROPPED]


def test_a_message_that_is_being_answered_is_not_added_again():
    row = in_hand()
    assert record.add_message(row, row.reply.answers[0], start=False, now=NOW, policy=Policy()) == row


def absent(row, after):
    return settle.looked(row, "r1", 0, Sight.ABSENT, mid="", late=0, now=NOW + after, times=Times())
