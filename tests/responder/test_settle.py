"""What a read of the conversation proves of a part of which nobody knows whether it arrived."""

import pytest

from services.responder.model import PartState
from services.responder.outside import Reading, Shown
from services.responder.settle import Sight, sight
from services.responder.times import Times
from services.responder.words import digest
from tests.responder.fakes import SCOPED, SILENCE, A
from tests.responder.stores import a_part, a_reply, a_row
from tests.responder.town import ANNA, SECOND

AT = 1_000_000
PART = a_part(sha256=digest("our words"), sending_at=AT, state=PartState.UNKNOWN)
ROW = a_row(reply=a_reply(parts=(PART,)))


def shown(text, *, at, sender=A, mid="m"):
    return Shown(mid=mid, sender=sender, at=at, text=text)


OLD = shown("hello", at=AT - 60_000, sender=ANNA, mid="old")


def seen(*messages, whole=False, hidden=(), known=()):
    reading = Reading(messages=tuple(messages), whole=whole, hidden=hidden)
    return sight(ROW, PART, reading, ours={A, SCOPED[A]}, known=set(known), times=Times())[0]


@pytest.mark.parametrize("text", ["our words", " our  words\n"])
@pytest.mark.parametrize("sender", [A, SCOPED[A]])
def test_an_outgoing_message_of_equal_folded_text_and_unknown_mid_is_the_part(text, sender):
    assert seen(shown(text, at=AT + 1_000, sender=sender), OLD) is Sight.PRESENT


def test_clocks_may_differ_by_five_seconds_and_no_more():
    assert seen(shown("our words", at=AT - 5_000), OLD) is Sight.PRESENT
    assert seen(shown("our words", at=AT - 5_001), OLD) is Sight.ABSENT


def test_the_same_words_of_another_part_or_of_the_customer_are_not_the_part():
    assert seen(shown("our words", at=AT), OLD, known={"m"}) is Sight.ABSENT
    assert seen(shown("our words", at=AT, sender=ANNA), OLD) is Sight.ABSENT


def test_absence_needs_a_read_that_reaches_back_or_shows_all():
    assert seen(OLD) is Sight.ABSENT
    assert seen(shown("new", at=AT + 1, sender=ANNA)) is Sight.UNREADABLE
    assert seen(shown("new", at=AT + 1, sender=ANNA), whole=True) is Sight.ABSENT


def test_any_outgoing_message_that_nobody_knows_makes_it_unreadable():
    assert seen(shown("altered words", at=AT + 1_000), OLD) is Sight.UNREADABLE


def test_a_listed_message_that_cannot_be_read_may_be_the_one():
    assert seen(OLD, hidden=(AT + 1_000,)) is Sight.UNREADABLE
    assert seen(OLD, hidden=(AT - 60_000,)) is Sight.ABSENT


def test_an_empty_list_proves_nothing():
    assert seen(whole=True) is Sight.UNREADABLE
    assert sight(ROW, PART, None, ours={A}, known=set(), times=Times())[0] is Sight.UNREADABLE


async def test_a_reply_that_was_to_make_way_and_did_not_leaves_no_word_of_it_behind(town):
    """Its newer messages were taken back in the same moment; later it proves not to have arrived."""
    town.instagram.script, town.instagram.unreadable = [SILENCE], True
    first = await town.say("first")
    await town.run(for_ms=30 * SECOND)
    newer = await town.say("newer")
    real = town.store.conversations.save

    async def save(row, *, release=False):
        if row.unsettled:
            town.store.conversations.save = real
            await town.unsend(newer)
        return await real(row, release=release)

    town.store.conversations.save = save
    await town.run(for_ms=45 * SECOND)
    assert town.store.conversations.save == real
    assert ((await town.row()).unsettled, await town.parts()) == ((), ["unknown"])
    town.instagram.unreadable = False
    await town.run()
    story = await town.store.sends.of(A, ANNA, 9)
    assert [(one.outcome, one.answers[0].mid) for one in story] == [("sent", first.mid)]
