"""What was said: one stored event each, whoever wrote it. `at` is Instagram's timestamp in milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from msgspec import Struct

HUMAN = "human"
"""`answered_by` of a message that a person answered."""


class Author(StrEnum):
    """Who wrote a message."""

    CUSTOMER = "customer"
    BOT = "bot"
    HUMAN = "human"


class Kind(StrEnum):
    """What a stored event is; part of its key."""

    MESSAGE = "message"
    POSTBACK = "postback"
    ECHO = "echo"
    REACTION = "reaction"
    READ = "read"
    REFERRAL = "referral"


SHOWN = frozenset({Kind.MESSAGE, Kind.POSTBACK, Kind.ECHO})
"""The kinds that are part of what was said."""


class Kept(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What stores keep.

    Rows are changed, compared, written and read some fifty times a reply: a dataclass, with pydantic to read and write
    it, takes five to fifty times as long for each of these.
    """


class Attached(Kept, frozen=True, kw_only=True):
    """An attachment: Instagram's word for its type, a title by a stranger, a link that expires."""

    type: str
    title: str = ""
    url: str = ""


class Message(Kept, frozen=True, kw_only=True):
    """One stored event. `key` is account|kind|mid|mark, the primary key in both stores.

    A stub (`recorded_at` 0) stands for a message that was taken back or edited before it arrived.
    """

    key: str
    account: str
    person: str
    kind: Kind
    mid: str
    at: int
    recorded_at: int
    author: Author
    text: str = ""
    attachments: tuple[Attached, ...] = ()
    note: str = ""  # what else the model should know: a story, an ad, an unreadable message
    edit: int = 0
    taken_back: bool = False
    answered_by: str = ""
    reply: str = ""  # the id of the reply that a bot's message belongs to


@dataclass(frozen=True, slots=True)
class Stored:
    """A message as the store has it now, and whether it was new."""

    message: Message
    new: bool


def key_of(account: str, kind: Kind, mid: str, mark: str = "") -> str:
    """Return the one string that names an event in both stores."""
    return f"{account}|{kind}|{mid}|{mark}"
