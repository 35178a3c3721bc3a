"""What the responder finds when it looks at itself, one fault at a time."""

import pytest

from services.common.errors import Unavailable
from services.responder.examine import QUESTION, Examiner
from services.responder.outside import ModelDown, ModelRefused


async def found_in(town, suspected=()):
    found = await Examiner(town.store, town.writer, lambda: suspected).examine()
    return {one.check: one for one in found}


async def test_all_is_well_and_the_model_is_asked_one_tiny_question(town):
    found = await found_in(town)
    assert all(one.ok for one in found.values()), found
    assert town.writer.asked == [[QUESTION]]


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (ModelDown("the model answered 401"), "OPENAI_API_KEY is refused"),
        (ModelRefused("the model answered 404"), "OPENAI_MODEL"),
        (ModelDown("the model answered 429"), "credit"),
        (ModelDown("the model did not answer in time"), "OPENAI_BASE_URL"),
        (TimeoutError(), "OPENAI_BASE_URL"),
    ],
)
async def test_a_model_that_does_not_answer_is_red(town, error, advice):
    town.writer.script = [error]
    found = (await found_in(town))["model"]
    assert found.ok is False
    assert found.found
    assert advice in found.advice


async def test_a_store_that_is_away_is_red_and_the_model_is_asked_all_the_same(town):
    class Away:
        async def examine(self):
            raise Unavailable("MongoDB: ServerSelectionTimeoutError")

    found = {one.check: one for one in await Examiner(Away(), town.writer, set).examine()}
    assert (found["database"].ok, found["model"].ok) == (False, True)


async def test_a_machine_that_speaks_over_the_bot_is_red(town):
    found = (await found_in(town, {"17841400000000002", "17841400000000001"}))["automatic replies"]
    assert (found.ok, found.found) == (False, "suspected for 17841400000000001, 17841400000000002")
    assert "docs/meta-app.md" in found.advice
