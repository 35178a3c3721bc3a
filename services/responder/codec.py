"""The dataclasses of model.py as JSON and as documents, and back.

A field that still has its default is left out and read back as that default: rows stay small, and older rows get new
fields. So a default of model.py never changes its meaning. Keys that this version does not know are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, Generic, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from services.common.errors import SchemaTooNew
from services.responder.account import Account
from services.responder.message import Message
from services.responder.model import Conversation, Reply

T = TypeVar("T")

SCHEMA = 1
"""The number that documents carry. It grows with a change that an igbot of the version before could not live with."""


class Codec(Generic[T]):
    """One dataclass, to and from what a store keeps."""

    def __init__(self, kind: type[T]) -> None:
        """Build the reader and the writer once; building costs milliseconds."""
        self.kind = kind
        self.adapter = TypeAdapter(kind)
        known = {field.name: field.default for field in fields(cast("Any", kind)) if field.default is not MISSING}
        self.defaults = {name: [] if default == () else default for name, default in known.items()}

    def to_json(self, value: T) -> str:
        """Return the value as JSON text."""
        return self.adapter.dump_json(value, exclude_defaults=True).decode()

    def from_json(self, text: str) -> T:
        """Read JSON text; what cannot be read is SchemaTooNew: only a newer igbot writes words that we do not know."""
        try:
            return self.adapter.validate_json(text)
        except ValidationError as error:
            raise unreadable(self.kind, error) from None

    def to_fields(self, value: T) -> dict[str, Any]:
        """Return the value as a document's fields: strings, numbers, lists and dictionaries."""
        dumped: dict[str, Any] = self.adapter.dump_python(value, mode="json", exclude_defaults=True)
        return dumped

    def to_document(self, value: T) -> dict[str, Any]:
        """Return the fields with every default of the top level spelt out: a document that queries can filter."""
        return self.defaults | self.to_fields(value)

    def from_fields(self, stored: Mapping[str, Any]) -> T:
        """Read a document; a newer schema number, or an unknown word, is SchemaTooNew."""
        if stored.get("schema", 0) > SCHEMA:
            raise SchemaTooNew(f"a document has schema {stored['schema']}, this igbot knows {SCHEMA}")
        try:
            return self.adapter.validate_python(stored)
        except ValidationError as error:
            raise unreadable(self.kind, error) from None


def unreadable(kind: type[object], error: ValidationError) -> SchemaTooNew:
    """Name the fields, never the values: they may be what a person wrote."""
    places = sorted({".".join(str(step) for step in found["loc"]) for found in error.errors(include_input=False)})
    return SchemaTooNew(f"cannot read a stored {kind.__name__}: {', '.join(places)}; a newer igbot may have written it")


CONVERSATION = Codec(Conversation)
MESSAGE = Codec(Message)
REPLY = Codec(Reply)
ACCOUNT = Codec(Account)
