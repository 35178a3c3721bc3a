"""Events as the gateway delivers them, and what they are to the responder. Rules only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from msgspec import Struct

from services.responder.account import Account
from services.responder.message import Attached, Author, Kind, Message, key_of
from services.responder.metrics import Skip
from services.responder.model import Echo, Pending
from services.responder.words import clean, digest


class IncomingKind(StrEnum):
    """What a delivered item is."""

    MESSAGE = "message"
    POSTBACK = "postback"
    UNSEND = "unsend"
    EDIT = "edit"
    REACTION = "reaction"
    READ = "read"
    REFERRAL = "referral"


class Incoming(Struct, frozen=True, kw_only=True):
    """One item of a delivery: ids and text as Instagram wrote them, `at` in milliseconds."""

    kind: IncomingKind
    account: str
    sender: str
    recipient: str
    at: int
    mid: str = ""
    text: str = ""
    attachments: tuple[Attached, ...] = ()
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
    request: str = ""  # the id that follows its delivery through the logs


class Outcome(StrEnum):
    """What became of an event."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"
    UNKNOWN_ACCOUNT = "unknown_account"
    INVALID = "invalid"
    LATER = "later"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an event, and why, in one closed word."""

    outcome: Outcome
    reason: str


CORRECTIONS = frozenset({IncomingKind.UNSEND, IncomingKind.EDIT})


def wrong(event: Incoming) -> Verdict | None:
    """Return the verdict on an event that no account could take, None when it can be looked at."""
    if not event.account:
        return Verdict(Outcome.INVALID, "no_account")
    if event.kind is IncomingKind.EDIT and event.num_edit < 1:
        return Verdict(Outcome.IGNORED, "edit_zero")
    if event.kind not in CORRECTIONS and not (event.sender and event.recipient):
        return Verdict(Outcome.INVALID, "no_sender")
    if not event.mid and event.kind is not IncomingKind.POSTBACK and event.kind is not IncomingKind.REFERRAL:
        return Verdict(Outcome.INVALID, "no_mid")
    if event.at < 0 or event.at >= 2**53:
        return Verdict(Outcome.INVALID, "bad_timestamp")
    return None


def is_outgoing(event: Incoming, account: Account) -> bool:
    """Whether the account itself wrote it: by the flag, or because it is the sender under either id."""
    return event.is_echo or (bool(event.sender) and event.sender in {account.account, account.app_scoped_id})


def person_of(event: Incoming, account: Account) -> str | None:
    """Return the customer's id, None when neither side is the account."""
    ours = {account.account, account.app_scoped_id} - {""}
    person = event.recipient if is_outgoing(event, account) else event.sender
    other = event.sender if is_outgoing(event, account) else event.recipient
    if (other and other not in ours) or person in ours:
        return None
    return person


def key_kinds(event: Incoming, account: Account) -> tuple[Kind, ...]:
    """Return under which kinds an edited or unsent message may be stored; the last is where a stub goes.

    A tap on a button has a mid like any message, and nothing in its correction tells the two apart.
    """
    if is_outgoing(event, account):
        return (Kind.ECHO,)
    return (Kind.POSTBACK, Kind.MESSAGE) if event.sender else (Kind.ECHO, Kind.POSTBACK, Kind.MESSAGE)


def stored_kind(event: Incoming, account: Account) -> Kind:
    """Return the kind under which the event itself is stored."""
    if event.kind is IncomingKind.MESSAGE:
        return Kind.ECHO if is_outgoing(event, account) else Kind.MESSAGE
    if event.kind in CORRECTIONS:
        return Kind.MESSAGE
    return Kind(event.kind.value)


def mark_of(event: Incoming) -> str:
    """Return what tells two events about one mid apart."""
    if event.kind is IncomingKind.REACTION:
        return f"{event.action}{event.at}"
    return str(event.at) if event.kind is IncomingKind.READ else ""


def mid_of(event: Incoming) -> str:
    """Return the mid; a postback may lack one and is named by person, time and payload."""
    if event.mid or event.kind not in {IncomingKind.POSTBACK, IncomingKind.REFERRAL}:
        return event.mid
    return f"{event.sender}.{event.at}.{digest(event.payload or event.referral)[:16]}"


def as_message(
    event: Incoming, account: Account, person: str, *, now: int, kind: Kind | None = None, stub: bool = False
) -> Message:
    """Return the event as it is stored; a stub stands for a message that has not come yet."""
    kind = kind or stored_kind(event, account)
    outgoing = is_outgoing(event, account)
    mid = mid_of(event)
    return Message(
        key=key_of(account.account, kind, mid, mark_of(event)),
        account=account.account,
        person=person,
        kind=kind,
        mid=mid,
        at=event.at,
        recorded_at=0 if stub else now,
        author=Author.HUMAN if outgoing or kind is Kind.ECHO else Author.CUSTOMER,
        text=clean(event.text),
        attachments=tuple(Attached(type=clean(a.type), title=clean(a.title), url=a.url) for a in event.attachments),
        note=note_of(event),
        edit=event.num_edit if event.kind is IncomingKind.EDIT else 0,
        taken_back=event.kind is IncomingKind.UNSEND,
        answered_by="" if stub or outgoing or answerable(event) else Skip.NOTHING_TO_ANSWER,
    )


def answerable(event: Incoming) -> bool:
    """Whether it asks for a reply: words, something shown, or a tap; a bare heart does not."""
    if event.standby or event.kind not in {IncomingKind.MESSAGE, IncomingKind.POSTBACK}:
        return False
    if event.kind is IncomingKind.POSTBACK or event.is_unsupported or event.text.strip():
        return True
    return any(one.type != "like_heart" for one in event.attachments)


def note_of(event: Incoming) -> str:
    """Describe what the model should know besides the words."""
    notes = []
    if event.is_unsupported:
        notes.append("sent something that Instagram does not show here; ask them to write it")
    if event.kind is IncomingKind.POSTBACK and not event.text.strip():
        notes.append(f"tapped a button that shows no words: {clean(event.payload) or 'its name is not known'}")
    if event.story_id:
        notes.append("this answers a story of the account")
    if event.referral:
        notes.append(f"came from: {clean(event.referral)}")
    return "; ".join(notes)


def as_pending(message: Message, *, stop: bool, request: str = "") -> Pending:
    """Return a stored message as one that waits for an answer."""
    return Pending(
        key=message.key,
        mid=message.mid,
        at=message.at,
        recorded_at=message.recorded_at,
        edit=message.edit,
        stop=stop,
        request=request,
    )


def as_echo(event: Incoming, message: Message) -> Echo:
    """Return an echo whose owner is to be found."""
    return Echo(key=message.key, mid=event.mid, at=event.at, sha256=digest(event.text))
