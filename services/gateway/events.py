"""What a delivery holds: things that happened, things that mean nothing, and things that cannot be read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any


class Kind(Enum):
    """What happened. The numbers are those of protos/responder.proto."""

    MESSAGE = 1
    POSTBACK = 2
    UNSEND = 3
    EDIT = 4
    REACTION = 5
    READ = 6


class Nothing(StrEnum):
    """Why an item means nothing to igbot: closed words for the metric."""

    OTHER_OBJECT = "other_object"
    OTHER_FIELD = "other_field"
    OTHER_KIND = "other_kind"
    DASHBOARD_TEST = "dashboard_test"
    EMPTY = "empty"
    SELF = "self"
    EDIT_ZERO = "edit_zero"
    EDIT_WITHOUT_TEXT = "edit_without_text"
    NO_PERSON = "no_person"
    REFERRAL = "referral"


class Reason(StrEnum):
    """Why something is among the dead letters: closed words."""

    UNREADABLE = "unreadable"
    NOT_A_DELIVERY = "not_a_delivery"
    NOT_AN_ENTRY = "not_an_entry"
    NOT_AN_ITEM = "not_an_item"
    NO_ACCOUNT = "no_account"
    NO_SENDER = "no_sender"
    NO_RECIPIENT = "no_recipient"
    NO_MID = "no_mid"
    NO_NUM_EDIT = "no_num_edit"
    BAD_TEXT = "bad_text"
    REFUSED = "refused"
    RESPONDER_ERROR = "responder_error"


@dataclass(frozen=True, slots=True)
class Attachment:
    """What came with a message; `kind` may be a word that nobody has heard of."""

    kind: str
    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. Only the responder knows which of the two ids is the account's."""

    kind: Kind
    account: str
    sender: str
    recipient: str
    timestamp_ms: int
    mid: str = ""
    text: str = ""
    attachments: tuple[Attachment, ...] = ()
    is_echo: bool = False
    is_unsupported: bool = False
    standby: bool = False
    payload: str = ""
    reply_to_mid: str = ""
    story_id: str = ""
    num_edit: int = 0
    action: str = ""
    emoji: str = ""
    referral: str = ""


@dataclass(frozen=True, slots=True)
class Ignored:
    """Something that means nothing to igbot."""

    why: Nothing


@dataclass(frozen=True, slots=True)
class Invalid:
    """Something that cannot be read and is put aside."""

    reason: Reason
    account: str = ""
    person: str = ""
    mid: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """Where in a delivery an item stood, so that it can be sent again alone."""

    entry_id: Any
    time: Any
    array: str
    raw: Any


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a delivery; without a source it is the delivery itself."""

    what: Event | Ignored | Invalid
    source: Source | None = None
