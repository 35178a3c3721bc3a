from contextlib import suppress
from random import Random

from services.gateway.hand import MOST_EVENTS, Hand
from services.gateway.ports import Entry, Outcome, Verdict
from services.gateway.times import Times
from tests.gateway.world import BASE, delivery, message

STORED, LATER = Verdict(Outcome.STORED), Verdict(Outcome.LATER, "tokens")


def hand_with(*bodies):
    hand = Hand(Times(), Random(1))
    for n, body in enumerate(bodies):
        hand.take_up(Entry(f"{n}-0", BASE, body))
    return hand


def mids(batch):
    return [[work.event.mid for work in group] for group in batch]


def settle(hand, batch, verdict=STORED, now=0.0):
    hand.settle(batch, [verdict for group in batch for _ in group], now)


def ended(hand):
    return [one.id for one in hand.ended()]


def test_events_of_one_conversation_of_a_delivery_stay_together():
    echo = {**message(3, person=1), "sender": {"id": "17841400000000001"}, "recipient": {"id": "6901"}}
    hand = hand_with(delivery(message(1, person=1), message(2, person=2), echo))
    assert mids(hand.batch(0)) == [["m1", "m3"], ["m2"]]


def test_an_unsend_without_a_sender_goes_with_its_message():
    bare = {"timestamp": BASE, "message": {"mid": "m1", "is_deleted": True}}
    hand = hand_with(delivery(bare, message(1), message(2, person=2)))
    assert mids(hand.batch(0)) == [["m1", "m1"], ["m2"]]


def test_an_entry_ends_when_each_of_its_events_is_final():
    hand = hand_with(delivery(message(1), message(2, person=2)), delivery(message(3)))
    batch = hand.batch(0)
    hand.settle(batch, [STORED, LATER, STORED], 0.0)
    assert ended(hand) == ["1-0"]
    hand.forget(hand.ended())
    assert hand.has("0-0", 0)
    assert not hand.has("1-0", 0)
    again = hand.batch(hand.next_due())
    assert mids(again) == [["m2"]]
    settle(hand, again)
    assert ended(hand) == ["0-0"]


def test_what_is_not_final_waits_longer_each_time():
    hand = hand_with(delivery(message(1)))
    now, pauses = 0.0, []
    for _ in range(8):
        settle(hand, hand.batch(now), LATER, now)
        pauses.append(hand.next_due() - now)
        assert hand.batch(now) == []
        now = hand.next_due()
    assert pauses[0] <= 0.5
    assert 7.5 <= pauses[-1] <= 15
    assert max(pauses) > 8 * min(pauses)


def test_a_call_holds_500_events_at_most_and_a_whole_conversation_at_least():
    hand = hand_with(*(delivery(message(n, person=n)) for n in range(600)))
    assert sum(map(len, hand.batch(0))) == MOST_EVENTS
    assert sum(map(len, hand.batch(0))) == 100
    whole = hand_with(delivery(*(message(n) for n in range(700))), delivery(message(900)))
    assert [len(group) for group in whole.batch(0)] == [700]


def test_a_call_holds_1_mib_at_most():
    for text in ("x" * 100_000, "ы" * 40_000, "😍" * 30_000):
        hand = hand_with(*(delivery(message(n, person=n, text=text)) for n in range(40)))
        while batch := hand.batch(0):
            assert sum(len(work.event.text.encode()) for group in batch for work in group) < 1 << 20


def test_an_entry_that_is_in_hand_is_not_taken_up_twice():
    hand = hand_with(delivery(message(1)))
    hand.take_up(Entry("0-0", BASE, delivery(message(1))))
    assert mids(hand.batch(0)) == [["m1"]]
    assert hand.batch(0) == []


def test_what_cannot_be_read_goes_out_with_its_entrys_end_and_can_be_posted_alone():
    hand = hand_with(delivery(message(1), "broken"), b"no json")
    assert ended(hand) == ["1-0"]
    assert hand.ended()[0].dead[0].body == b"no json"
    settle(hand, hand.batch(0))
    (_, mixed) = hand.ended()
    assert [(letter.reason, letter.source) for letter in mixed.dead] == [("not_an_item", "0-0")]
    assert b'"messaging":["broken"]' in mixed.dead[0].body


def test_what_the_responder_refuses_is_put_aside():
    hand = hand_with(delivery(message(1), message(2)))
    hand.settle(hand.batch(0), [Verdict(Outcome.INVALID, "neither side"), STORED], 0.0)
    ((letter,),) = [one.dead for one in hand.ended()]
    assert (letter.reason, letter.account, letter.person, letter.mids) == (
        "refused", "17841400000000001", "6901", ("m1",),
    )  # fmt: skip


def test_a_batch_is_halved_down_to_the_event_that_causes_the_failure():
    hand = hand_with(delivery(*(message(n, person=n // 2) for n in range(8))), delivery(message(9)))
    parts, calls = [hand.batch(0)], 0
    while parts:
        part, calls = parts.pop(0), calls + 1
        if any("m5" in group for group in mids(part)):
            parts[:0] = hand.split(part, 0.0)
        else:
            settle(hand, part)
    assert ended(hand) == ["1-0"]
    assert calls <= 8
    assert mids(hand.batch(hand.next_due())) == [["m5"]]


def test_an_event_that_fails_alone_is_put_aside_after_five_failures_over_a_minute():
    hand = hand_with(delivery(message(1)))
    now, failures = 0.0, 0
    while not hand.finished:
        batch = hand.batch(now)
        assert hand.split(batch, now) == []
        failures += 1
        began = now
        now = hand.next_due() or now
    assert failures >= 5
    assert began >= 60
    assert hand.ended()[0].dead[0].reason == "responder_error"


def test_five_failures_in_a_second_are_not_enough():
    hand = hand_with(delivery(message(1)))
    work = hand.batch(0)[0][0]
    for n in range(20):
        hand.blame(work, n / 20)
    assert not hand.finished


def test_a_minute_with_fewer_than_five_failures_is_not_enough_either():
    hand = hand_with(delivery(message(1)))
    work = hand.batch(0)[0][0]
    for n in range(4):
        hand.blame(work, 1.0 + 100.0 * n)
    assert not hand.finished
    hand.blame(work, 500.0)
    assert hand.finished


def test_a_batch_that_the_responder_could_not_take_keeps_its_place():
    hand = hand_with(*(delivery(message(n, person=n)) for n in range(3)))
    batch = hand.batch(0)
    hand.take_up(Entry("9-0", BASE, delivery(message(9))))
    hand.put_back(batch)
    assert mids(hand.batch(0)) == [["m0"], ["m1"], ["m2"], ["m9"]]


def test_a_call_that_was_too_much_is_made_smaller_and_grows_again():
    hand = hand_with(*(delivery(message(n, person=n)) for n in range(MOST_EVENTS)))
    sizes = []
    for _ in range(4):
        batch = hand.batch(0)
        sizes.append(len(batch))
        hand.shrink(batch, 0.0)
    assert sizes == [500, 250, 125, 62]
    settle(hand, hand.batch(0))
    assert len(hand.batch(0)) == 62


def test_one_event_that_is_always_too_much_lets_the_others_pass():
    hand = hand_with(delivery(message(1)), delivery(message(2)))
    hand.limit = 1
    hand.shrink(hand.batch(0), 0.0)
    assert mids(hand.batch(0)) == [["m2"]]


def test_a_lost_lease_leaves_nothing_in_hand_and_nothing_comes_back():
    hand = hand_with(delivery(message(1)), delivery(message(2)))
    batch = hand.batch(0)
    hand.clear()
    hand.put_back(batch)
    settle(hand, batch[:1], LATER)
    assert (hand.batch(1e9), hand.next_due(), hand.size) == ([], None, 0)


def test_what_was_taken_back_never_becomes_a_dead_letter_in_its_own_delivery():
    nobody = {"timestamp": BASE, "message": {"mid": "m1", "text": "secret"}}
    hand = hand_with(delivery(nobody, "broken", message(1, is_deleted=True)))
    settle(hand, hand.batch(0))
    ((one,),) = [one.dead for one in hand.ended()]
    assert b"broken" in one.body


def test_what_was_taken_back_never_becomes_a_dead_letter_later():
    hand = hand_with(delivery(message(1, text="secret")))
    first = hand.batch(0)
    hand.take_up(Entry("1-0", BASE, delivery(message(1, is_deleted=True))))
    settle(hand, hand.batch(0))
    hand.forget(hand.ended())
    hand.settle(first, [Verdict(Outcome.INVALID, "neither side")], 0.0)
    assert [one.dead for one in hand.ended()] == [()]


def test_an_unreadable_body_is_searched_for_what_was_taken_back():
    hand = hand_with(delivery(message(1, is_deleted=True)), b'{"m1": secret', b'{"m2": ')
    settle(hand, hand.batch(0))
    assert [[letter.body for letter in one.dead] for one in hand.ended() if one.id != "0-0"] == [[], [b'{"m2": ']]


def test_what_is_nested_too_deeply_to_be_written_again_is_put_aside_as_it_came():
    for depth in range(900, 1000):
        deep = b'{"object":"instagram","entry":[{"id":"1","messaging":[' + b"[" * depth + b"]" * depth + b"]}]}"
        hand = hand_with(deep)
        assert ended(hand) == ["0-0"]
        assert hand.ended()[0].dead[0].body


def test_what_was_taken_back_is_remembered_for_the_dead_letters():
    hand = hand_with(delivery(message(1, is_deleted=True)))
    settle(hand, hand.batch(0))
    assert hand.taken_back == ["m1"]


def test_a_delivery_is_acknowledged_by_one_at_a_time_and_again_when_that_failed():
    hand = hand_with(delivery(message(1)), delivery(message(2)))
    settle(hand, hand.batch(0))
    (first, _) = hand.ended()
    with suppress(ConnectionError), hand.acknowledging([first]):
        assert ended(hand) == ["1-0"]
        raise ConnectionError
    assert ended(hand) == ["0-0", "1-0"]
    with hand.acknowledging([first]):
        assert hand.has("0-0", 0)
    assert ended(hand) == ["1-0"]
    assert not hand.has("0-0", 0)


def test_a_read_acknowledges_only_what_leaves_nothing_to_put_aside_or_to_scrub_before():
    hand = hand_with(delivery(message(1)), b"no json")
    settle(hand, hand.batch(0))
    assert [one.id for one in hand.ended_plainly()] == ["0-0"]
    hand.take_up(Entry("9-0", BASE, delivery(message(9, is_deleted=True))))
    settle(hand, hand.batch(0))
    assert hand.ended_plainly() == []
