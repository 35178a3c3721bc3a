"""The gap check: what Instagram shows and no delivery brought."""

import asyncio
import dataclasses
import re
from contextlib import suppress

import pytest
from msgspec.structs import replace

from services.common.errors import NotConnected, Unavailable
from services.common.graph_usage import Usage
from services.responder.account import HoldReason
from services.responder.gaps import Looked
from services.responder.incoming import IncomingKind, Outcome, Verdict
from services.responder.outside import Shown
from tests.responder.fakes import SILENCE, A, B, graph_error
from tests.responder.town import ANNA, BEN, HOUR, MINUTE, SECOND, opened


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
    assert await town.gaps.check_all(accounts) == Looked(accounts=1, messages=1)
    assert await town.gaps.check_all(accounts) == Looked(accounts=1, messages=0)
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
    assert await town.gaps.check_all(await town.store.accounts.all()) == Looked(accounts=0, messages=0)
    await town.book.mirror()
    town.instagram.put(A, ANNA, shown("since", "are you open?", town.clock.now()))
    town.clock.ms += 2 * MINUTE
    assert await town.gaps.check_all(await town.store.accounts.all()) == Looked(accounts=2, messages=1)
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


async def test_a_message_of_which_only_the_edit_was_delivered_is_recorded_as_it_is_now(town):
    lost = town.event(text="Do you have two loaves?")
    await town.deliver(replace(lost, kind=IncomingKind.EDIT, num_edit=1))
    town.instagram.put(A, ANNA, shown(lost.mid, lost.text, lost.at))
    town.clock.ms += 3 * MINUTE
    await town.book.mirror()
    await town.gaps.check_all(await town.store.accounts.all())
    await town.run()
    assert town.writer.asked == [["Do you have two loaves?"]]


# --- taps ------------------------------------------------------------------------------------------------------


same_tap = pytest.mark.parametrize(
    ("mid", "shown_mid", "text", "apart"),
    [
        ("tap", "tap", "Instagram's own words for it", 30 * SECOND),
        ("", "other", "Where is  my order?", 4 * SECOND),
        ("", "other", "Where is my order?", -5 * SECOND),
    ],
)


@same_tap
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


@same_tap
@pytest.mark.parametrize("answered", [True, False])
async def test_a_tap_that_was_shown_as_a_message_and_is_delivered_at_last_is_answered_once(
    town, mid, shown_mid, text, apart, answered
):
    tap = town.event(IncomingKind.POSTBACK, mid=mid, text="Where is my order?", payload="ORDER")
    town.instagram.put(A, ANNA, shown(shown_mid, text, tap.at + apart))
    town.clock.ms += 3 * MINUTE
    await town.book.mirror()
    await town.gaps.check_all(await town.store.accounts.all())
    if answered:
        await town.run(for_ms=MINUTE)
    for _ in range(2):
        assert await town.deliver(tap) == ["duplicate"]
    await town.run()
    assert town.got() == ["answer 1"]
    assert len(town.writer.asked[0]) == 1


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


# --- one account's conversations ---------------------------------------------------------------------------------


async def ready(town):
    """Let the town know its accounts; return them."""
    await town.book.mirror()
    return await town.store.accounts.all()


async def test_a_conversation_is_compared_again_only_when_it_changed(town):
    accounts = await ready(town)
    town.instagram.put(A, ANNA, shown("m1", "are you open?", town.clock.now()))
    town.instagram.put(A, BEN, shown("m2", "hello", town.clock.now(), BEN))
    town.clock.ms += 2 * MINUTE
    assert (await town.gaps.check_all(accounts)).messages == 2
    town.instagram.put(A, ANNA, shown("m3", "hello?", town.clock.now()))
    town.clock.ms += 2 * MINUTE
    assert (await town.gaps.check_all(accounts)).messages == 1
    await town.gaps.check_all(accounts)
    assert [person for _, _, person in town.instagram.reads] == [ANNA, BEN, ANNA]


async def test_what_was_compared_is_forgotten_and_names_nobody(town):
    accounts = await ready(town)
    for n in range(40):
        person = f"{6_900_000_000_000_100 + n}"
        town.instagram.put(A, person, shown(f"m{n}", "hello", town.clock.now(), person))
        town.clock.ms += 2 * MINUTE
        await town.gaps.check_all(accounts)
        assert not re.search("6900000|17841", repr(town.gaps.compared))
    assert len(town.instagram.reads) == 40
    assert [len(one.talks) for one in town.gaps.compared.values()] < [8]


async def test_only_what_changed_since_everything_was_compared_is_listed_again(town):
    asked = []
    talks = town.instagram.talks

    async def listed(lent, *, since):
        asked.append(town.clock.now() - since)
        return await talks(lent, since=since)

    town.instagram.talks = listed
    accounts = await ready(town)
    await town.gaps.check_all(accounts)
    town.instagram.put(A, ANNA, shown("m1", "listed by Instagram five minutes late", town.clock.now() - 5 * MINUTE))
    town.clock.ms += MINUTE
    assert (await town.gaps.check_all(accounts)).messages == 1
    assert asked == [12 * HOUR, 11 * MINUTE]


async def test_a_check_that_was_stopped_goes_on_where_it_was(town):
    accounts = await ready(town)
    for n, person in enumerate((ANNA, BEN, "6900000000000003")):
        town.instagram.put(A, person, shown(f"m{n}", "are you open?", town.clock.now(), person))
    town.clock.ms += 2 * MINUTE
    read, slow_ones, reached = town.instagram.read, {BEN}, asyncio.Event()

    async def slow(lent, person, **options):
        if person in slow_ones:
            slow_ones.clear()
            reached.set()
            await asyncio.sleep(60)
        return await read(lent, person, **options)

    town.instagram.read = slow
    checking = asyncio.create_task(town.gaps.check_all(accounts))
    await asyncio.wait_for(reached.wait(), 5)
    checking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await checking
    assert await town.gaps.check_all(accounts) == Looked(accounts=1, messages=2)
    assert [person for _, _, person in town.instagram.reads] == [ANNA, BEN, "6900000000000003"]


async def test_a_check_of_some_conversations_goes_on_with_the_others_however_many_there_are(town):
    accounts = await ready(town)
    people = [f"{6_900_000_000_000_100 + n}" for n in range(7)]
    for person in people:
        town.instagram.put(A, person, shown(f"m{person}", "are you open?", town.clock.now(), person))
    town.clock.ms += 2 * MINUTE
    for found in (3, 3, 1, 0):
        assert await town.gaps.check_all(accounts, most=3) == Looked(accounts=1, messages=found)
        town.clock.ms += HOUR
    assert [person for _, _, person in town.instagram.reads] == people


async def test_conversations_in_which_somebody_writes_all_the_time_keep_no_other_from_being_compared(town):
    accounts = await ready(town)
    town.instagram.put(A, ANNA, shown("lost", "are you open?", town.clock.now()))
    town.clock.ms += 2 * MINUTE
    busy = [f"{6_900_000_000_000_100 + n}" for n in range(3)]
    found = 0
    for turn in range(3):
        for person in busy:
            town.instagram.shown.pop((A, person), None)
            one = shown(f"m{turn}{person}", "and now?", town.clock.now(), person)
            town.instagram.shown = {(A, person): [one]} | town.instagram.shown
        town.clock.ms += 30 * SECOND
        found += (await town.gaps.check_all(accounts, most=2)).messages
    assert found == 1
    assert await town.row() is not None


async def test_a_message_that_cannot_be_recorded_yet_is_looked_for_again(town):
    accounts = await ready(town)
    town.instagram.put(A, ANNA, shown("m1", "are you open?", town.clock.now()))
    town.clock.ms += 2 * MINUTE
    deliver = town.gaps.deliver.deliver

    async def later(events):
        return [Verdict(Outcome.LATER, "tokens_unreachable") for _ in events]

    town.gaps.deliver.deliver = later
    with pytest.raises(Unavailable):
        await town.gaps.check_all(accounts)
    town.gaps.deliver.deliver = deliver
    assert await town.gaps.check_all(accounts) == Looked(accounts=1, messages=1)


def unreadable(town, people, error):
    """These people's conversations cannot be read; return whom the check tries to read from now on."""
    read, tried = town.instagram.read, []

    async def meet(lent, person, **options):
        tried.append(person)
        if person in people:
            raise error
        return await read(lent, person, **options)

    town.instagram.read = meet
    return tried


async def lost_by(town, *people):
    """Have a message of each lost, the last one's first in the list; return the accounts."""
    for person in people:
        town.instagram.put(A, person, shown(f"m{person}", "are you open?", town.clock.now(), person))
    town.clock.ms += 2 * MINUTE
    return await ready(town)


@pytest.mark.parametrize("error", [graph_error(100, 2534015), graph_error(1, status=500), SILENCE, TimeoutError()])
async def test_a_conversation_that_cannot_be_read_keeps_no_other_of_its_account_from_being_compared(town, error):
    accounts = await lost_by(town, ANNA, BEN)
    unreadable(town, {ANNA}, error)
    assert await town.gaps.check_all(accounts) == Looked(accounts=0, messages=0, skipped=1)
    assert town.metric("igbot_gap_messages_total") == 1
    assert await town.row(BEN) is not None


async def test_a_conversation_that_could_not_be_read_is_looked_at_again_however_long_that_takes(town):
    accounts = await lost_by(town, ANNA, BEN)
    bad = {ANNA}
    tried = unreadable(town, bad, graph_error(100, 2534015))
    for _ in range(3):
        assert (await town.gaps.check_all(accounts)).skipped == 1
        town.clock.ms += HOUR
    bad.clear()
    assert await town.gaps.check_all(accounts) == Looked(accounts=1, messages=1)
    assert tried == [ANNA, BEN, ANNA, ANNA, ANNA]


async def test_conversations_that_cannot_be_read_take_no_others_place_in_the_next_round(town):
    people = [f"{6_900_000_000_000_100 + n}" for n in range(4)]
    accounts = await lost_by(town, *people)
    tried = unreadable(town, set(people[:2]), graph_error(100, 2534015))
    for _ in range(3):
        await town.gaps.check_all(accounts, most=2)
    assert tried == [*people, *people[:2]]


@pytest.mark.parametrize("error", [graph_error(190), graph_error(613), graph_error(368), Unavailable("the store")])
async def test_a_check_that_meets_what_fails_for_the_whole_account_makes_no_further_call(town, error):
    accounts = await lost_by(town, ANNA, BEN)
    tried = unreadable(town, {ANNA, BEN}, error)
    with suppress(Unavailable):
        await town.gaps.check_all(accounts)
    assert tried == [ANNA]


# --- accounts that Instagram is best not asked about ------------------------------------------------------------------


async def lost(town):
    """Have a message lost; return the accounts."""
    town.instagram.put(A, ANNA, shown("lost", "are you open?", town.clock.now()))
    town.clock.ms += 2 * MINUTE
    return await ready(town)


async def held(town):
    await town.book.hold(A, HoldReason.RATE_LIMITED, for_ms=4 * HOUR)
    return 4 * HOUR


async def probed(town):
    await town.book.hold(A, HoldReason.ACCOUNT_LIMITED, for_ms=MINUTE)
    town.clock.ms += MINUTE
    assert await town.book.may_work(A)
    return MINUTE


async def app_held(town):
    await town.book.hold(B, HoldReason.RATE_LIMITED, for_ms=MINUTE, whole_app=True)
    return MINUTE


async def slowed(town):
    town.book.heard(A, Usage(percent=100.0))
    return MINUTE


@pytest.mark.parametrize("how", [held, probed, app_held, slowed])
async def test_the_gap_check_makes_no_call_for_an_account_that_is_held_or_near_a_limit(town, how):
    accounts = await lost(town)
    talks, calls = town.instagram.talks, []

    async def listed(lent, *, since):
        calls.append(town.clock.now())
        return await talks(lent, since=since)

    town.instagram.talks = listed
    wait = await how(town)
    assert await town.gaps.check_all(accounts) == Looked(accounts=0, messages=0, skipped=1)
    town.clock.ms += wait - SECOND
    assert (await town.gaps.check_all(accounts)).skipped == 1
    assert calls == []
    town.clock.ms += SECOND
    assert await town.gaps.check_all(accounts) == Looked(accounts=1, messages=1)


async def test_the_gap_check_stops_when_the_account_is_held_meanwhile(town):
    await lost(town)
    town.instagram.put(A, BEN, shown("m2", "hello", town.clock.now() - 2 * MINUTE, BEN))
    read = town.instagram.read

    async def holding(lent, person, **options):
        await held(town)
        return await read(lent, person, **options)

    town.instagram.read = holding
    assert (await town.gaps.check_all(await ready(town))).skipped == 1
    assert len(town.instagram.reads) == 1


@pytest.mark.parametrize("call", ["talks", "read"])
@pytest.mark.parametrize("error", [graph_error(613), graph_error(80002), graph_error(4)])
async def test_a_limit_that_the_gap_check_meets_keeps_no_answer_from_going_out(town, call, error):
    accounts = await lost(town)
    town.instagram.fails[call] = error
    asked = await town.say("hello", person=BEN)
    for _ in range(2):
        await town.gaps.check_all(accounts)
        await town.run(for_ms=62 * SECOND)
    assert (await town.answered_by(asked)).startswith("reply")
    assert town.clock.now() - asked.at < 3 * MINUTE
    assert len(town.got(person=BEN)) == 1
    assert (await town.store.accounts.get(A)).hold is None
    assert town.book.app_held_until == 0


@pytest.mark.parametrize(("error", "others"), [(graph_error(613), 1), (graph_error(4), 0)])
async def test_a_limit_that_the_gap_check_meets_keeps_it_away_for_as_long_as_a_hold_would_run(file, error, others):
    async with opened(file, connected=(A, B)) as town:
        accounts = await lost(town)
        town.instagram.fails["talks"] = error
        assert (await town.gaps.check_all([one for one in accounts if one.account == A])).skipped == 1
        town.instagram.fails = {}
        town.clock.ms += 59 * SECOND
        assert (await town.gaps.check_all(accounts)).accounts == others
        town.clock.ms += SECOND
        assert (await town.gaps.check_all(accounts)).accounts == 2


async def test_a_block_that_the_gap_check_meets_holds_the_account(town):
    town.instagram.fails["talks"] = graph_error(368)
    await town.gaps.check_all(await lost(town))
    assert (await town.store.accounts.get(A)).hold_until == town.clock.now() + 4 * HOUR


# --- many accounts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [graph_error(190), graph_error(4), SILENCE, NotConnected("limited"), Unavailable("key"), TimeoutError()]
)
async def test_an_account_that_cannot_be_looked_at_keeps_no_other_from_it(file, error):
    async with opened(file, connected=(A, B)) as town:
        accounts = await ready(town)
        for account in (A, B):
            town.instagram.put(account, ANNA, shown("lost", "are you open?", town.clock.now()))
        town.clock.ms += 2 * MINUTE
        lend = town.tokens.lend

        async def lent(account, **options):
            if account == A:
                raise error
            return await lend(account, **options)

        town.tokens.lend = lent
        assert await town.gaps.check_all(accounts) == Looked(accounts=1, messages=1, skipped=1)


async def test_an_account_that_cannot_be_looked_at_is_no_reason_to_ask_again_also_alone(town):
    accounts = await ready(town)
    town.instagram.fails = {"talks": SILENCE}
    assert await town.gaps.check_all(accounts) == Looked(accounts=0, messages=0, skipped=1)


async def test_what_is_no_accounts_fault_is_a_reason_to_ask_again(file):
    async with opened(file, connected=(A, B)) as town:
        accounts = await ready(town)
        town.tokens.down = True
        with pytest.raises(Unavailable):
            await town.gaps.check_all(accounts)
        town.tokens.down = False
        town.instagram.put(A, ANNA, shown("lost", "are you open?", town.clock.now()))
        town.clock.ms += 2 * MINUTE
        with town.store_down(), pytest.raises(Unavailable):
            await town.gaps.check_all(accounts)


async def test_a_fault_of_the_code_is_raised_after_the_other_accounts_were_looked_at(file):
    async with opened(file, connected=(A, B)) as town:
        accounts = await ready(town)
        for account in (A, B):
            town.instagram.put(account, ANNA, shown("lost", "are you open?", town.clock.now()))
        town.clock.ms += 2 * MINUTE
        read = town.instagram.read

        async def broken(lent, person, **options):
            if lent.account == A:
                raise KeyError("oddity")
            return await read(lent, person, **options)

        town.instagram.read = broken
        with pytest.raises(KeyError):
            await town.gaps.check_all(accounts)
        assert town.metric("igbot_gap_messages_total") == 1
