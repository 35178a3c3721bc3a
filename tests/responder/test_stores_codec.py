"""What stands in a store can be read by this igbot, the one before and the one after."""

import json

import pytest

from services.common.errors import SchemaTooNew
from services.responder.codec import ACCOUNT, CONVERSATION, MESSAGE, REPLY, SCHEMA
from tests.responder.stores import a_message, a_reply, a_row, an_account

SAMPLES = [
    pytest.param(codec, value, id=codec.kind.__name__)
    for codec, value in (
        (CONVERSATION, a_row(reply=a_reply(), unsettled=(a_reply("r0"),), due_at=3)),
        (MESSAGE, a_message()),
        (REPLY, a_reply()),
        (ACCOUNT, an_account()),
    )
]


@pytest.mark.parametrize(("codec", "value"), SAMPLES)
def test_a_value_comes_back_whole(codec, value) -> None:
    assert codec.from_json(codec.to_json(value)) == value
    assert codec.from_fields(codec.to_fields(value)) == codec.from_fields(codec.to_document(value)) == value


@pytest.mark.parametrize(("codec", "value"), SAMPLES)
def test_keys_of_a_newer_version_are_passed_over(codec, value) -> None:
    stored = codec.to_fields(value) | {"mood": "sunny"}
    for part in stored.get("parts", ()):
        part["mood"] = "sunny"
    assert codec.from_fields(stored | {"schema": SCHEMA}) == codec.from_json(json.dumps(stored)) == value


@pytest.mark.parametrize(("codec", "value"), SAMPLES)
def test_a_document_spells_out_every_field(codec, value) -> None:
    assert set(codec.to_document(value)) == set(value.__struct_fields__)


def test_fields_of_an_older_version_are_filled_in() -> None:
    assert CONVERSATION.from_json('{"account": "a", "person": "p"}') == a_row("p", account="a")


def test_what_cannot_be_read_is_too_new_and_never_quoted() -> None:
    stored = MESSAGE.to_fields(a_message(text="a person's words")) | {"kind": "hologram"}
    for attempt in (lambda: MESSAGE.from_fields(stored), lambda: MESSAGE.from_json(json.dumps(stored))):
        with pytest.raises(SchemaTooNew, match="kind") as caught:
            attempt()
        assert "words" not in str(caught.value)
        assert "hologram" not in str(caught.value)
