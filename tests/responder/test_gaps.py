"""The gap check: what Instagram shows and no delivery brought."""

import dataclasses

import pytest

from services.responder.incoming import IncomingKind
from services.responder.outside import Shown
from tests.responder.fakes import A, B
from tests.responder.town import ANNA, HOUR, MINUTE, SECOND, opened


def shown(mid, text, at, sender=ANNA):
    return Shown(mid=mid, sender=sender, at=at, text=text)


async def test_the_gap_check_records_and_answers_what_no_delivery_brought(town):
    await town.say("hello", mid="m1")
    await town.run()
    now = town.clock.now()
    for one in (
        shown("m1", "hello", now),
        shown("lost", "are you open?", now + 10 * SECOND),
        shown("young", "too young", now + 5 * MINUTE),
        shown("stale", "too old", now - 13 * HOUR),
    ):
        town.instagram.put(A, ANNA, one)
    town.clock.ms += 5 * MINUTE + 30 * SECOND
    town.instagram.shown[A, ANNA].sort(key=lambda one: -one.at)
    await town.book.mirror()
    accounts = await town.store.accounts.all()
    assert await town.gaps.check_all(accounts) == (1, 1)
    assert await town.gaps.check_all(accounts) == (1, 0)
    assert town.metric("igbot_gap_messages_total") == 1
    await town.run()
    assert town.writer.asked[-1][-1] == "are you open?"


async def test_the_gap_check_leaves_alone_what_was_said_before_the_account_was_connected(town):
    """A token does not tell when its account was connected: until the token service has, nothing is looked at."""
    for account in (A, B):
        town.tokens.connect(account)
        town.tokens.known[account] = dataclasses.replace(town.tokens.known[account], connected_at=town.clock.now())
        town.instagram.put(account, ANNA, shown("before", "who are you?", town.clock.now() - MINUTE))
    await town.book.resolve(A)  # as a delivery does
    town.clock.ms += 2 * MINUTE
    assert await town.gaps.check_all(await town.store.accounts.all()) == (0, 0)
    await town.book.mirror()
    town.instagram.put(A, ANNA, shown("since", "are you open?", town.clock.now()))
    town.clock.ms += 2 * MINUTE
    assert await town.gaps.check_all(await town.store.accounts.all()) == (2, 1)
    await town.run()
    assert [asked[-1] for asked in town.writer.asked] == ["are you open?"]


async def test_the_gap_check_takes_a_persons_words_for_a_takeover_and_leaves_our_own_alone(town):
    await town.say("hello")
    await town.run()
    town.clock.ms += 2 * MINUTE
    await town.book.mirror()
    await town.gaps.check_all(await town.store.accounts.all())
    assert (await town.row()).pauses == ()
    town.instagram.put(A, ANNA, shown("typed", "a person", town.clock.now(), A))
    town.clock.ms += 2 * MINUTE
    await town.gaps.check_all(await town.store.accounts.all())
    assert (await town.row()).pauses[-1].mid == "typed"


# --- taps ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mid", "shown_mid", "text", "apart"),
    [
        ("tap", "tap", "Instagram's own words for it", 30 * SECOND),
        ("", "other", "Where is  my order?", 4 * SECOND),
        ("", "other", "Where is my order?", -5 * SECOND),
    ],
)
async def test_a_tap_that_was_delivered_and_is_shown_as_a_message_is_answered_once(town, mid, shown_mid, text, apart):
    tap = town.event(IncomingKind.POSTBACK, mid=mid, text="Where is my order?", payload="ORDER")
    await town.deliver(tap)
    town.instagram.put(A, ANNA, shown(shown_mid, text, tap.at + apart))
    await town.run()
    town.clock.ms += 3 * MINUTE
    await town.book.mirror()
    await town.gaps.check_all(await town.store.accounts.all())
    await town.run()
    assert town.got() == ["answer 1"]


@pytest.mark.parametrize(("text", "apart"), [("Where is my order?", 6 * SECOND), ("And my refund?", SECOND)])
async def test_a_message_that_is_only_like_a_tap_is_no_tap(town, text, apart):
    tap = town.event(IncomingKind.POSTBACK, mid="", text="Where is my order?", payload="ORDER")
    await town.deliver(tap)
    await town.run()
    town.instagram.put(A, ANNA, shown("lost", text, tap.at + apart))
    town.clock.ms += 3 * MINUTE
    await town.book.mirror()
    await town.gaps.check_all(await town.store.accounts.all())
    await town.run()
    assert town.got() == ["answer 1", "answer 2"]


async def test_a_tap_that_is_shown_as_a_message_stands_once_in_the_first_prompt(file):
    async with opened(file, gap_check=True) as town:
        tap = town.event(IncomingKind.POSTBACK, text="Where is my order?", payload="ORDER")
        town.instagram.put(A, ANNA, shown("old", "hello", tap.at - HOUR))
        town.instagram.put(A, ANNA, shown(tap.mid, tap.text, tap.at - 900))
        await town.deliver(tap)
        await town.run()
        assert town.writer.asked == [["hello", "Where is my order?"]]
