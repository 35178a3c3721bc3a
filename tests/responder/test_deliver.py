"""Deliver: every kind of event, in any order, any number of times, from several replicas at once: the same state."""

import asyncio
import json
import tempfile
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from services.common.errors import Unavailable
from services.gateway.events import Event
from services.gateway.grpc_responder import written
from services.gateway.parse import parse
from services.gateway.ports import Entry
from services.responder.incoming import Incoming, IncomingKind
from services.responder.message import Kind, key_of
from services.responder.metrics import Skip
from services.responder.outside import Shown
from services.responder.servicer import incoming
from tests.responder.fakes import SCOPED, A, B
from tests.responder.town import ANNA, BEN, HOUR, MINUTE, SECOND, Outside, opened

FIXTURES = Path(__file__).parent.parent / "fixtures"
CASES = json.loads((FIXTURES / "cases.json").read_text())["cases"]
SKIPS = {str(skip) for skip in Skip} | {"human"}
BASE = 1_790_856_000_000
ENTRY = Entry("1-0", BASE, b"", "request1")


def events_of(name):
    """What the gateway would hand over of a fixture."""
    items = parse((FIXTURES / name).read_bytes(), BASE)
    return [incoming(written(ENTRY, item.what)) for item in items if isinstance(item.what, Event)]


ALL = [event for case in CASES for event in events_of(case["file"])]


async def state(town):
    """Everything that events decide, once it was worked on; a reply's id says nothing."""
    known: dict[object, object] = {
        "asked": sorted(prompt[-1] for prompt in town.writer.asked),
        "got": len(town.instagram.arrived),
    }
    for row in await town.store.conversations.find(limit=1_000):
        pauses = sorted((pause.since, pause.until, pause.mid) for pause in row.pauses)
        rest = (row.unanswered, row.opted_out, row.window_closes_at, row.last_at, row.waiting_for)
        known[row.account, row.person] = (pauses, rest)
    keys = {key_of(A, kind, one.mid) for one in ALL for kind in (Kind.MESSAGE, Kind.ECHO, Kind.POSTBACK)}
    for message in await town.store.messages.get(sorted(keys)):
        answered_by = message.answered_by if message.answered_by in SKIPS else bool(message.answered_by)
        known[message.key] = replace(message, recorded_at=min(message.recorded_at, 1), answered_by=answered_by)
    return known


async def delivered(path, batches, at_once):
    """Deliver the batches by two replicas, so many at a time, then work; return the state."""
    outside = Outside(path)
    async with (
        opened(path, outside=outside, connected=(A, B)) as one,
        opened(path, outside=outside, owner="two") as two,
    ):
        outside.clock.ms = BASE
        for n in range(0, len(batches), at_once):
            among = zip((one, two, one), batches[n : n + at_once], strict=False)
            await asyncio.gather(*(town.deliver(*batch) for town, batch in among))
        await one.run(for_ms=HOUR)
        return await state(one)


def in_a_folder(batches, at_once=3):
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").exists() else None) as folder:
        return asyncio.run(delivered(Path(folder) / "responder.db", batches, at_once))


@cache
def in_order():
    return in_a_folder([[event] for event in ALL], at_once=1)


@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_order_any_repetition_and_two_replicas_lead_to_the_same_state(data):
    repeated = ALL + data.draw(st.lists(st.sampled_from(ALL), max_size=40))
    shuffled = data.draw(st.permutations(repeated))
    sizes = data.draw(st.lists(st.integers(1, 12), min_size=len(shuffled), max_size=len(shuffled)))
    batches, rest = [], list(shuffled)
    while rest:
        size = sizes.pop()
        batches.append(rest[:size])
        rest = rest[size:]
    assert in_a_folder(batches) == in_order()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["file"])
async def test_each_fixture_leads_to_what_its_row_says(file, case):
    async with opened(file, connected=(A, B), takeover=12 * HOUR) as town:
        town.clock.ms = BASE
        expect = case["expect"]
        if "_2_" in case["file"]:  # the second of a pair comes after the first
            first = case["file"].split("_2_")[0] + "_1_message.json"
            await town.deliver(*events_of(first))
        await town.deliver(*events_of(case["file"]))
        rows = await town.store.conversations.find(limit=100)
        paused = {(r.account, r.person) for r in rows if any(p.since <= BASE < p.until for p in r.pauses)}
        must = {(one["account"], one["igsid"]) for one in expect.get("paused", [])}
        may = {(one["account"], one["igsid"]) for one in expect.get("paused_optional", [])}
        assert must <= paused <= must | may
        await town.run(for_ms=HOUR)
        if case["file"].endswith("edited_2_edit.json"):  # which alone asks for nothing
            expect = {"replies_optional": [{"account": A, "igsid": "6900000000000060"}]}
        answered = {(account, person) for account, person, _, _ in town.instagram.arrived}
        must = {(one["account"], one["igsid"]) for one in expect.get("replies_due", [])}
        may = {(one["account"], one["igsid"]) for one in expect.get("replies_optional", [])}
        assert must <= answered <= must | may


# --- verdicts ------------------------------------------------------------------------------------------------


async def test_a_repeated_event_is_a_duplicate(town):
    event = town.event(text="hello")
    assert await town.deliver(event) == ["stored"]
    assert await town.deliver(event, event) == ["duplicate", "duplicate"]


@pytest.mark.parametrize("times", [1, 3])
async def test_the_same_event_twice_in_one_call_is_stored_once(town, times):
    event = town.event(text="hello")
    verdicts = await town.deliver(*(replace(event) for _ in range(times)))
    assert verdicts == ["stored"] + ["duplicate"] * (times - 1)
    await town.run()
    assert town.got() == ["answer 1"]


async def test_reactions_reads_and_edits_of_one_message_are_events_of_their_own(town):
    message = town.event(text="hello", mid="m")
    kinds = [
        replace(message, kind=IncomingKind.REACTION, action="react"),
        replace(message, kind=IncomingKind.REACTION, action="unreact"),
        replace(message, kind=IncomingKind.READ),
        replace(message, kind=IncomingKind.EDIT, num_edit=1),
        replace(message, kind=IncomingKind.EDIT, num_edit=2),
        replace(message, kind=IncomingKind.UNSEND),
    ]
    assert await town.deliver(message, *kinds) == ["stored"] * 7
    assert await town.deliver(message, *kinds) == ["duplicate"] * 7


async def test_postbacks_without_a_mid_are_told_apart_by_person_time_and_payload(town):
    tap = town.event(kind=IncomingKind.POSTBACK, mid="", payload="A", text="Opening hours")
    others = [replace(tap, payload="B"), replace(tap, at=tap.at + 1)]
    assert await town.deliver(tap, *others) == ["stored"] * 3
    assert await town.deliver(tap, *others) == ["duplicate"] * 3


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"account": ""}, "invalid"),
        ({"sender": ""}, "invalid"),
        ({"recipient": ""}, "invalid"),
        ({"mid": ""}, "invalid"),
        ({"at": -1}, "invalid"),
        ({"sender": "1", "recipient": "2"}, "invalid"),
        ({"recipient": ANNA}, "invalid"),
        ({"kind": IncomingKind.EDIT, "num_edit": 0}, "ignored"),
    ],
)
async def test_what_cannot_be_is_invalid_and_harms_no_neighbour(town, change, verdict):
    good = town.event(text="hello", person=BEN)
    assert await town.deliver(good, replace(town.event(text="x"), **change), town.event(text="hi")) == [
        "stored",
        verdict,
        "stored",
    ]


async def test_either_id_of_an_account_names_it_and_the_professional_one_is_kept(town):
    by_scoped = Incoming(
        kind=IncomingKind.MESSAGE, account=SCOPED[A], sender=ANNA, recipient=SCOPED[A], at=BASE, mid="m1", text="hi"
    )
    assert await town.deliver(by_scoped) == ["stored"]
    assert await town.deliver(replace(by_scoped, account=A, recipient=A)) == ["duplicate"]
    assert (await town.row()).account == A


async def test_a_message_whose_sender_is_the_account_is_an_echo_without_the_flag_too(town):
    await town.say("hello")
    own = replace(town.event(text="a person", outgoing=True), is_echo=False, sender=SCOPED[A])
    await town.deliver(own)
    await town.run(for_ms=HOUR)
    assert town.got() == []


# --- accounts ------------------------------------------------------------------------------------------------


async def test_an_unknown_account_is_asked_for_once_in_five_seconds(town):
    event = replace(town.event(text="x"), account="99", recipient="99")
    assert await town.deliver(event, event) == ["unknown_account"] * 2
    assert await town.deliver(event) == ["unknown_account"]
    assert [account for account, _ in town.tokens.asked] == ["99"]
    town.tokens.connect("99")
    await town.advance(5 * SECOND)
    assert await town.deliver(event) == ["stored"]


async def test_an_unknown_account_with_tokens_unreachable_is_later_and_a_known_one_is_stored(town):
    await town.say("hello")
    town.tokens.down = True
    stranger = replace(town.event(text="x"), account="99", recipient="99")
    assert await town.deliver(stranger, town.event(text="again")) == ["later", "stored"]


async def test_a_disconnected_accounts_deliveries_are_dropped_and_counted_on_a_fresh_word_only(town):
    await town.say("hello")
    town.tokens.connect(A, "disconnected")
    await town.book.mirror()
    town.clock.ms += 10 * SECOND
    assert await town.deliver(town.event(text="x")) == ["ignored"]
    assert town.tokens.asked[-1] == (A, 5_000)
    assert town.metric("igbot_skips_total", reason="disconnected") == 1
    town.tokens.down = True
    assert await town.deliver(town.event(text="x")) == ["later"]
    town.tokens.down = False
    town.tokens.connect(A)
    assert await town.deliver(town.event(text="connected again")) == ["stored"]


@pytest.mark.parametrize("state", ["reauthorize", "limited"])
async def test_an_account_whose_token_cannot_be_lent_still_gets_its_messages(town, state):
    town.tokens.connect(A, state)
    assert await town.deliver(town.event(text="hello")) == ["stored"]


async def test_the_store_being_down_is_unavailable_whatever_tokens_says(file):
    async with opened(file) as town:
        town.tokens.down = True
        with town.store_down(), pytest.raises(Unavailable):
            await town.deliver(town.event(text="x"))


async def test_two_accounts_never_see_each_others(file):
    async with opened(file, connected=(A, B)) as town:
        await town.say("to the bakery", mid="same")
        await town.say("to the bicycles", mid="same", account=B)
        await town.run()
        assert town.writer.asked in ([["to the bakery"], ["to the bicycles"]], [["to the bicycles"], ["to the bakery"]])
        await town.human("from the bakery")
        await town.say("more", account=B)
        await town.run(for_ms=HOUR)
        assert len(town.got(account=B)) == 2
        assert [m.text for m in (await town.people.get(B, ANNA)).messages if m.mid == "same"] == ["to the bicycles"]


# --- first contact, gaps, erasing ----------------------------------------------------------------------------


def shown(mid, text, at, sender=ANNA):
    return Shown(mid=mid, sender=sender, at=at, text=text)


async def test_the_history_before_our_first_event_is_read_once(file):
    async with opened(file, gap_check=True) as town:
        now = town.clock.now()
        town.instagram.put(A, ANNA, shown("h1", "I ordered ten", now - 20 * HOUR))
        town.instagram.put(A, ANNA, shown("h2", "Fine", now - 19 * HOUR, A))
        await town.say("make it twelve", mid="h3")
        await town.run()
        assert [turn.text for turn in town.writer.prompts[0]][1:] == ["I ordered ten", "Fine", "make it twelve"]
        await town.say("thanks")
        await town.run()
        assert len(town.instagram.reads) == 1


async def test_a_person_who_wrote_within_takeover_hours_before_our_first_event_keeps_the_bot_silent(file):
    async with opened(file, gap_check=True) as town:
        town.instagram.put(A, ANNA, shown("h2", "I will look into it", town.clock.now() - 2 * HOUR, A))
        await town.say("and?")
        await town.run(for_ms=9 * HOUR)
        assert town.got() == []


async def test_a_message_that_was_read_as_history_is_answered_when_its_delivery_comes(file):
    async with opened(file, gap_check=True) as town:
        now = town.clock.now()
        early = town.event(text="early, delivered late", at=now - MINUTE)
        town.instagram.put(A, ANNA, shown(early.mid, early.text, early.at))
        await town.say("hello")
        await town.run()
        await town.deliver(early)
        await town.deliver(early)
        await town.run()
        assert len(town.got()) == 2
        assert town.writer.asked[-1][-1] == "early, delivered late"
        assert (await town.answered_by(early)).startswith("reply")


async def test_an_unreadable_history_delays_and_prevents_nothing(file):
    async with opened(file, gap_check=True) as town:
        town.instagram.unreadable = True
        await town.say("hello")
        await town.run()
        assert town.got() == ["answer 1"]


async def test_what_was_erased_stays_out_when_it_is_delivered_again(town):
    old = await town.say("forget me")
    await town.run()
    town.clock.ms += SECOND
    await town.people.erase(A, ANNA)
    town.clock.ms += SECOND
    assert await town.deliver(old) == ["ignored"]
    assert await town.row() is None
    new = await town.say("hello again")
    assert await town.deliver(old, new) == ["ignored", "duplicate"]
    await town.run()
    assert town.writer.asked[-1] == ["hello again"]
    assert await town.message(old) is None


async def test_what_was_erased_comes_back_neither_by_the_history_nor_by_the_gap_check(file):
    async with opened(file, gap_check=True) as town:
        old = await town.say("forget me")
        town.instagram.put(A, ANNA, shown(old.mid, old.text, old.at))
        await town.run()
        town.clock.ms += SECOND
        await town.people.erase(A, ANNA)
        town.clock.ms += 2 * MINUTE
        await town.book.mirror()
        await town.gaps.check_all(await town.store.accounts.all())
        await town.say("hello again")
        await town.run()
        assert town.writer.asked[-1] == ["hello again"]
        assert await town.message(old) is None
