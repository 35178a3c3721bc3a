"""Two replies may have the same words: each is settled by its own message, by reads and by echoes."""

from dataclasses import replace

from services.common.graph import GraphFailure
from services.responder.model import PartState
from services.responder.outside import Reading, Shown
from services.responder.settle import Sight, sight
from services.responder.times import Times
from services.responder.words import digest
from tests.responder.fakes import SILENCE, A
from tests.responder.stores import a_part, a_reply, a_row
from tests.responder.town import ANNA, HOUR, MINUTE, SECOND

LOST_ANSWER = GraphFailure("no answer: TimeoutError", reached=True)


def test_of_two_messages_with_its_words_the_part_is_the_one_nearest_to_its_post():
    part = a_part(sha256=digest("yes"), sending_at=MINUTE, state=PartState.UNKNOWN)
    later, own = (Shown(mid=mid, sender=A, at=at, text="yes") for mid, at in (("b", 3 * MINUTE), ("a", MINUTE + 1)))
    reading = Reading(messages=(later, own), whole=True)
    row = a_row(reply=a_reply(parts=(part,)))
    assert sight(row, part, reading, ours={A}, known=set(), times=Times()) == (Sight.PRESENT, "a")


async def both_unknown(town):
    """Two replies that arrived without anybody knowing, the second after the first made way; return when."""
    town.writer.script = ["yes", "yes"]
    town.instagram.script = [("arrives", LOST_ANSWER)] * 2
    town.instagram.unreadable = True
    times = []
    for _ in range(2):
        await town.say("is it so?")
        sent = len(town.instagram.arrived)
        while len(town.instagram.arrived) == sent:
            await town.advance(SECOND)
        times.append(town.clock.now())
    row = await town.row()
    assert (len(row.unsettled), [str(part.state) for part in row.reply.parts]) == (1, ["unknown"])
    return times


async def test_a_message_is_left_to_the_reply_that_was_posted_nearest_to_it_when_the_other_ones_shows_altered(town):
    await both_unknown(town)
    shown = town.instagram.shown[A, ANNA]
    second, first = (one for one in shown if one.sender == A)
    shown[shown.index(first)] = replace(first, text="yes, altered")
    town.instagram.unreadable = False
    await town.run(for_ms=30 * MINUTE)
    assert town.got() == ["yes", "yes"]
    replies = (await town.people.get(A, ANNA)).replies
    assert sorted((one.outcome, one.parts[0].mid) for one in replies) == [("held", ""), ("sent", second.mid)]


async def test_a_read_that_shows_both_settles_each_by_its_own_and_nothing_is_said_again(town):
    await both_unknown(town)
    town.instagram.unreadable = False
    await town.run(for_ms=5 * MINUTE)
    story = await town.store.sends.of(A, ANNA, 9)
    assert [part.mid for reply in story for part in reply.parts] == ["out0", "out1"]
    assert len(town.instagram.arrived) == 2


async def test_a_late_echo_settles_the_reply_that_it_was_posted_with(town):
    first, second = await both_unknown(town)
    await town.echo("out0", "yes", at=first)
    row = await town.row()
    assert [str(part.state) for part in row.reply.parts] == ["unknown"]
    await town.echo("out1", "yes", at=second)
    await town.run(for_ms=MINUTE)
    story = await town.store.sends.of(A, ANNA, 9)
    assert [part.mid for reply in story for part in reply.parts] == ["out0", "out1"]


async def test_a_persons_older_words_settle_no_part_of_the_same_words(town):
    question = await town.say("hello")
    typed_at = town.clock.now() - HOUR
    town.instagram.script = [SILENCE]
    await town.advance(2 * SECOND)
    assert await town.parts() == ["unknown"]
    await town.human("answer 1", at=typed_at)
    await town.run(for_ms=20 * MINUTE)
    assert [one.parts[0].mid for one in (await town.people.get(A, ANNA)).replies] == []
    assert (await town.answered_by(question), (await town.row()).waiting_for) == ("", "paused")


async def test_a_part_that_was_sent_again_in_vain_is_settled_by_the_message_of_the_first_try(town):
    town.instagram.put(A, ANNA, Shown(mid="before", sender=ANNA, at=town.clock.now() - MINUTE, text="hello"))
    town.instagram.script = [("arrives", SILENCE), SILENCE]
    await town.say("hello")
    await town.advance(2 * SECOND)
    late = town.instagram.shown[A, ANNA].pop(0)
    while len(town.instagram.posts) < 2:
        await town.advance(SECOND)
    town.instagram.put(A, ANNA, late)
    await town.run(for_ms=20 * MINUTE)
    assert (town.got(), len(town.instagram.posts)) == (["answer 1"], 2)
    await town.echo(late.mid, "answer 1", at=late.at)
    assert (await town.row()).pauses == ()
