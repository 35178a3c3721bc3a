"""A tap on a button has a mid and is stored under another kind; what takes it back or edits it names the mid alone."""

import asyncio

import pytest
from msgspec.structs import replace

from services.responder.incoming import IncomingKind
from services.responder.message import Attached, Kind
from services.responder.outside import Shown
from services.responder.taps import taps
from tests.responder.town import ANNA, SECOND


@pytest.mark.parametrize("person", [ANNA, ""])
@pytest.mark.parametrize("unsend_first", [False, True])
async def test_a_tap_that_is_taken_back_is_scrubbed_and_not_answered_in_either_order(town, person, unsend_first):
    tap = town.event(IncomingKind.POSTBACK, text="Where is my order 1234?")
    unsend = replace(town.event(mid=tap.mid, person=person), kind=IncomingKind.UNSEND)
    for event in (unsend, tap) if unsend_first else (tap, unsend):
        assert await town.deliver(event) == ["stored"]
        assert await town.deliver(event) == ["duplicate"]
    await town.run()
    assert town.writer.prompts == []
    stored = await town.message(tap, Kind.POSTBACK)
    assert (stored.text, stored.taken_back, stored.answered_by) == ("", True, "taken_back")


@pytest.mark.parametrize("person", [ANNA, ""])
@pytest.mark.parametrize("edit_first", [False, True])
async def test_a_tap_that_is_edited_is_answered_in_its_new_wording_in_either_order(town, person, edit_first):
    tap = town.event(IncomingKind.POSTBACK, text="one")
    edit = replace(town.event(mid=tap.mid, person=person, text="two", num_edit=1), kind=IncomingKind.EDIT)
    for event in (edit, tap) if edit_first else (tap, edit):
        await town.deliver(event)
    await town.run()
    assert town.writer.asked == [["two"]]


@pytest.mark.parametrize(("payload", "told"), [("OPENING_HOURS", "OPENING_HOURS"), ("", "its name is not known")])
async def test_a_tap_on_a_button_without_words_tells_the_model_what_was_tapped(town, payload, told):
    await town.deliver(replace(town.event(IncomingKind.POSTBACK, text=""), payload=payload))
    await town.run()
    assert town.writer.asked == [[f"[tapped a button that shows no words: {told}]"]]


async def test_an_unsend_and_its_tap_at_once_end_with_nothing_of_the_tap(town):
    for turn in range(20):
        tap = town.event(IncomingKind.POSTBACK, text="secret")
        unsend = replace(town.event(mid=tap.mid, person=""), kind=IncomingKind.UNSEND)
        both = (tap, unsend) if turn % 2 else (unsend, tap)
        await asyncio.gather(*(town.deliver(event) for event in both))
        assert (await town.message(tap, Kind.POSTBACK)).text == ""
    await town.run()
    assert town.writer.prompts == []


async def test_a_tap_that_comes_between_the_look_for_it_and_its_unsends_stub_is_taken_back(town):
    tap = town.event(IncomingKind.POSTBACK, text="secret")
    take_back = town.store.messages.take_back

    async def slowly(stub):
        town.store.messages.take_back = take_back
        await town.deliver(tap)
        return await take_back(stub)

    town.store.messages.take_back = slowly
    await town.deliver(replace(town.event(mid=tap.mid, person=""), kind=IncomingKind.UNSEND))
    await town.run()
    assert (await town.message(tap, Kind.POSTBACK)).text == ""
    assert town.writer.prompts == []


async def test_a_tap_on_a_button_without_a_title_is_not_the_picture_that_was_sent_just_before(town):
    picture = await town.say("", attachments=(Attached(type="image"),))
    town.clock.ms += SECOND
    tap = town.event(IncomingKind.POSTBACK, payload="BOOK")
    assert await town.deliver(tap) == ["stored"]
    assert await town.deliver(tap) == ["duplicate"]
    await town.run()
    stored = await town.message(tap, Kind.POSTBACK)
    assert stored.answered_by == await town.answered_by(picture) == "reply2"
    assert len(town.writer.asked[0]) == 2


async def test_a_lost_picture_is_not_the_tap_on_a_button_without_a_title_at_its_time(town):
    tap = town.event(IncomingKind.POSTBACK, payload="BOOK")
    await town.deliver(tap)
    picture = Shown(mid="picture", sender=ANNA, at=tap.at + SECOND, text="")
    assert taps([picture], [await town.message(tap, Kind.POSTBACK)]) == set()
