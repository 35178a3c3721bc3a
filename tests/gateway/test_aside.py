"""What only waits leaves room for everything else, and comes back when it is due."""

from random import Random

import pytest

from services.common.pb import responder_pb2 as pb
from services.gateway.hand import MOST_PARKED, Hand
from services.gateway.ports import Entry, Outcome, Verdict
from services.gateway.times import Times
from tests.gateway.world import ACCOUNT, BASE, delivery, message, until

STORED, LATER = Verdict(Outcome.STORED), Verdict(Outcome.LATER, "tokens")
OTHER_ACCOUNT = "17841400000000002"


def body(n, people):
    """A delivery of so many conversations."""
    return delivery(*(message(n * people + one, person=n * people + one) for one in range(people)))


def put_off(hand, now=0.0):
    """Have everything that is ready put off."""
    while batch := hand.batch(now):
        hand.settle(batch, [LATER for group in batch for _ in group], now)


def waiting(deliveries, people, since):
    """A hand in which so many deliveries wait."""
    hand = Hand(Times(), Random(1))
    for n in range(deliveries):
        hand.take_up(Entry(f"{n}-0", BASE, body(n, people)))
        put_off(hand, since)
    return hand


def crowded_hand(people):
    """A hand full of what waits longer than a test lasts; and one delivery more."""
    hand = waiting(MOST_PARKED, 1, since=1e6)
    hand.take_up(Entry("a-0", BASE, body(9000, people)))
    return hand


@pytest.mark.parametrize("people", [1, 2, 5])
def test_many_that_wait_take_no_memory_and_come_back_when_due(people):
    hand = waiting(5000, people, since=0.0)
    assert len(hand.deliveries) <= MOST_PARKED // people + 1
    assert hand.size < 1 << 21
    assert hand.room
    assert all(hand.has(f"{n}-0", 0) for n in range(5000))
    assert not hand.has("4999-0", 60.0)
    hand.take_up(Entry("4999-0", BASE, body(4999, people)))
    assert hand.deliveries["4999-0"].open == people


def test_large_deliveries_that_wait_leave_room_whatever_they_hold():
    hand, text, taken = Hand(Times(), Random(1)), "x" * 200_000, 0
    for n in range(400):
        if hand.room:
            hand.take_up(Entry(f"{n}-0", BASE, delivery(message(n, 1, text=text), message(n, 2, text=text))))
            taken += 1
        put_off(hand)
    assert taken == 400
    assert hand.room


def test_a_delivery_that_is_left_in_the_inbox_is_due_with_the_first_of_its_conversations():
    hand = crowded_hand(people=2)
    first, second = hand.batch(0.0)
    hand.settle([first], [LATER], 1.0)
    assert "a-0" in hand.deliveries
    hand.settle([second], [LATER], 100.0)
    assert "a-0" not in hand.deliveries
    assert hand.has("a-0", 1.2)
    assert not hand.has("a-0", 1.5)


def test_a_delivery_of_which_something_is_on_its_way_stays_in_hand():
    hand = crowded_hand(people=2)
    first, second = hand.batch(0.0)
    hand.settle([first], [LATER], 0.0)
    hand.settle([second], [STORED], 0.0)
    assert hand.deliveries["a-0"].open == 1
    put_off(hand, 1.0)  # now nothing is
    assert "a-0" not in hand.deliveries


def test_what_was_left_and_read_again_is_delivered_once():
    hand = crowded_hand(people=2)
    for group in hand.batch(0.0):
        hand.settle([group], [LATER], 0.0)
    hand.take_up(Entry("a-0", BASE, body(9000, 2)))
    mids = [work.event.mid for group in hand.batch(1e5) for work in group]
    assert mids == ["m18000", "m18001"]
    assert hand.batch(1e5) == []


def test_an_event_that_is_being_isolated_keeps_its_failures_however_many_wait():
    hand = crowded_hand(people=2)
    waits, fails = hand.batch(0.0)
    hand.settle([waits], [LATER], 0.0)
    for now in (1.0, 20.0, 40.0, 60.0):
        hand.blame(fails[0], now)
        assert "a-0" in hand.deliveries
    hand.blame(fails[0], 80.0)
    assert [letter.reason for letter in hand.deliveries["a-0"].dead] == ["responder_error"]


def test_an_event_that_failed_once_and_is_then_put_off_only_waits():
    hand = crowded_hand(people=1)
    hand.blame(hand.batch(0.0)[0][0], 0.0)
    assert "a-0" in hand.deliveries
    put_off(hand, 60.0)
    assert "a-0" not in hand.deliveries


async def test_an_account_that_nobody_can_judge_keeps_no_other_waiting(own_world):
    world = own_world
    later = pb.Verdict(outcome=pb.OUTCOME_LATER, reason="tokens_unreachable")
    world.responder.verdict = lambda event: later if event.account == ACCOUNT else None
    texts = "x" * 100_000
    with world.redis.pipeline() as pipe:
        for n in range(0, 600, 2):  # more than is kept in memory
            pipe.xadd("inbox", {"body": delivery(message(n, 1, text=texts), message(n + 1, 2, text=texts)), "at": BASE})
        pipe.execute()
    world.start()
    other = delivery({**message(999), "recipient": {"id": OTHER_ACCOUNT}}, account=OTHER_ACCOUNT)
    assert await world.post(other) == 200
    await until(lambda: world.responder.mids == ["m999"])
    world.responder.verdict = lambda _event: None
    await until(lambda: world.inbox() == 0, seconds=20)
    assert sorted(world.responder.mids) == sorted(f"m{n}" for n in (*range(600), 999))
