"""The structs of model.py as JSON and as documents, and back.

A field that still has its default is left out and read back as that default: rows stay small, and older rows get new
fields. So a default of model.py never changes its meaning. Keys that this version does not know are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec

from services.common.errors import SchemaTooNew
from services.responder.account import Account
from services.responder.message import Kept, Message
from services.responder.model import Conversation, Reply

T = TypeVar("T", bound=Kept)

SCHEMA = 1
"""The number that documents carry. It grows with a change that an igbot of the version before could not live with."""


class Codec(Generic[T]):
    """One struct, to and from what a store keeps."""

    def __init__(self, kind: type[T]) -> None:
        """Build the reader and the writer once."""
        self.kind = kind
        self.encoder = msgspec.json.Encoder()
        self.decoder = msgspec.json.Decoder(kind)
        known = {field.name: field.default for field in msgspec.structs.fields(kind) if not field.required}
        self.defaults = {name: [] if default == () else default for name, default in known.items()}

    def to_json(self, value: T) -> str:
        """Return the value as JSON text."""
        return self.encoder.encode(value).decode()

    def from_json(self, text: str) -> T:
        """Read JSON text; what cannot be read is SchemaTooNew: only a newer igbot writes words that we do not know."""
        try:
            return self.decoder.decode(text)
        except msgspec.DecodeError as error:
            raise unreadable(self.kind, error) from None

    def to_fields(self, value: T) -> dict[str, Any]:
        """Return the value as a document's fields: strings, numbers, lists and dictionaries."""
        fields: dict[str, Any] = msgspec.to_builtins(value)
        return fields

    def to_document(self, value: T) -> dict[str, Any]:
        """Return the fields with every default of the top level spelt out: a document that queries can filter."""
        return self.defaults | self.to_fields(value)

    def from_fields(self, stored: Mapping[str, Any]) -> T:
        """Read a document; a newer schema number, or an unknown word, is SchemaTooNew."""
        if stored.get("schema", 0) > SCHEMA:
            raise SchemaTooNew(f"a document has schema {stored['schema']}, this igbot knows {SCHEMA}")
        try:
            return msgspec.convert(stored, self.kind)
        except msgspec.ValidationError as error:
            raise unreadable(self.kind, error) from None


def unreadable(kind: type[Kept], error: msgspec.DecodeError) -> SchemaTooNew:
    """Name the place, never the value: it may be what a person wrote."""
    what, _, place = str(error).partition(" - at ")
    return SchemaTooNew(f"cannot read a stored {kind.__name__}: {place or what}; a newer igbot may have written it")


CONVERSATION = Codec(Conversation)
MESSAGE = Codec(Message)
REPLY = Codec(Reply)
ACCOUNT = Codec(Account)
