"""What stands around the model's words: the confirmation of a stop word, the person's name, text that can be sent."""

import pytest

from services.responder.account import HoldReason
from services.responder.compose_reply import confirmation
from services.responder.outside import ModelDown
from services.responder.times import DAY, Policy
from services.responder.words import MAX_BYTES
from tests.responder.fakes import SILENCE, A, B
from tests.responder.town import ANNA, HOUR, MINUTE, SECOND, opened


@pytest.mark.parametrize(
    ("start_words", "end"),
    [
        ({"start"}, " Write “start” to switch them on again."),
        ({"weiter", "los"}, " Write “los” or “weiter” to switch them on again."),
        (set(), " automatic replies here."),
    ],
)
async def test_the_confirmation_of_a_stop_word_names_the_words_that_undo_it(file, start_words, end):
    async with opened(file, start_words=frozenset(start_words)) as town:
        await town.say("stop")
        await town.run()
        assert len(town.got()) == 1
        assert town.got()[0].startswith("Done: ")
        assert town.got()[0].endswith(end)


def test_the_confirmation_fits_into_one_message_however_many_words_undo_it():
    assert len(confirmation(Policy(start_words=frozenset(f"word{n}" for n in range(1_000)))).encode()) <= MAX_BYTES


async def test_a_name_that_could_not_be_read_is_asked_for_again_after_a_minute(file):
    async with opened(file, connected=(A, B)) as town:
        await town.book.mirror()
        asked = []

        async def username(lent, person):
            asked.append(town.clock.now())
            if len(asked) < 3:
                raise SILENCE
            return "lumen_bikes"

        town.instagram.username = username
        began = town.clock.now()
        for after in (0, 30 * SECOND, 90 * SECOND, 200 * SECOND):
            town.clock.ms = began + after
            message = await town.say("hello, I am a bot as well")
            await town.advance(3 * SECOND)
        assert [round((at - began) / 1000) for at in asked] == [3, 93, 203]
        assert len(town.got()) == 3
        assert await town.answered_by(message) == "own_account"


async def test_a_name_that_was_read_is_kept_for_a_day_also_when_it_cannot_be_read_again(file):
    async with opened(file, connected=(A, B)) as town:
        await town.book.mirror()
        town.instagram.usernames[ANNA] = "lumen_bikes"
        await town.say("hello")
        await town.advance(3 * SECOND)

        async def fails(lent, person):
            raise SILENCE

        town.instagram.username = fails
        for later in (HOUR, DAY, MINUTE):
            town.clock.ms += later
            message = await town.say("hello again")
            await town.advance(3 * SECOND)
            assert await town.answered_by(message) == "own_account"
        assert town.got() == []


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("how", ["the model is down", "the account is held"])
async def test_a_profile_is_not_read_again_by_each_try_of_a_reply_that_is_put_off(town, how, refused):
    asked = []

    async def username(lent, person):
        asked.append(person)
        if refused:
            raise SILENCE
        return "somebody"

    async def hold():
        await town.book.hold(A, HoldReason.RATE_LIMITED, for_ms=SECOND)

    town.instagram.username = username
    if how == "the model is down":
        town.writer.script = [ModelDown("down")] * 4
    else:
        town.writer.meanwhile = [hold] * 4
    await town.say("hello")
    await town.run(for_ms=50 * SECOND)
    assert len(town.writer.prompts) == 5
    assert town.got() == ["answer 5"]
    assert asked == [ANNA]


@pytest.mark.parametrize("half", ["\ud83d", "\x00"])
async def test_what_no_message_can_hold_is_replaced_in_the_models_text(town, half):
    town.writer.script = [f"Fresh bread {half} and a whole \ud83c\udf5e"]
    await town.say("what is there?")
    await town.run()
    assert town.got() == ["Fresh bread \ufffd and a whole \U0001f35e"]
    assert not (await town.row()).failed
