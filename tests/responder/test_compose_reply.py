"""What stands around the model's words: the confirmation of a stop word, the person's name, text that can be sent."""

import pytest

from services.responder.compose_reply import confirmation
from services.responder.times import Policy
from services.responder.words import MAX_BYTES
from tests.responder.town import opened


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
