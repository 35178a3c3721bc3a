"""One item of a delivery to what it means. Anything may be missing, null, or of another type than expected."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from services.gateway.events import Attachment, Event, Ignored, Invalid, Kind, Nothing, Reason, Source

What = Event | Ignored | Invalid

KINDS = ("message", "postback", "message_edit", "reaction", "read", "referral")
# What no store and no RPC takes: half of a surrogate pair, and NUL.
BROKEN = re.compile("[\ud800-\udfff\x00]")
LONGEST_ID = 512  # observed: 17 digits for ids, 165 characters for mids
# 2010 to 2100: Instagram began in the one, and nobody needs the other.
EARLIEST_MS, LATEST_MS = 1_262_304_000_000, 4_102_444_800_000
MOST_EDITS = 2**31 - 1
NOTHING_THERE: dict[str, Any] = {}
ABSENT = (False, "", "0", "false")  # 0 equals False


def read_item(account: str, source: Source, received_ms: int) -> What:
    """Return what an item of `messaging` or `standby` means."""
    raw = source.raw
    if not isinstance(raw, dict):
        return Invalid(Reason.NOT_AN_ITEM, account)
    kind = next((name for name in KINDS if raw.get(name) is not None), None)
    if kind is None:
        return Ignored(Nothing.OTHER_KIND)
    inner = raw[kind]
    sender, recipient = party(raw, "sender"), party(raw, "recipient")
    person = sender if sender != account else recipient
    if not isinstance(inner, dict):
        return Invalid(Reason.NOT_AN_ITEM, account, person)
    if flag(raw, "is_self") or flag(inner, "is_self"):
        return Ignored(Nothing.SELF)
    frame: dict[str, Any] = {
        "account": account,
        "sender": sender,
        "recipient": recipient,
        "timestamp_ms": moment(raw.get("timestamp"), source.time, received_ms),
        "mid": identifier(inner.get("mid")),
        "standby": source.array == "standby",
    }
    what = READERS[kind](frame, inner)
    if isinstance(what, Event) and not account:
        what = Reason.NO_ACCOUNT
    return Invalid(what, account, person, frame["mid"]) if isinstance(what, Reason) else what


def read_message(frame: dict[str, Any], raw: dict[str, Any]) -> Event | Reason:
    """Read a message, an echo or an unsend. An unsend needs no sender: its mid says what is taken back."""
    if not frame["mid"]:
        return Reason.NO_MID
    if flag(raw, "is_deleted"):
        return Event(Kind.UNSEND, is_echo=flag(raw, "is_echo"), **frame)
    if not frame["sender"] or not frame["recipient"]:
        return Reason.NO_RECIPIENT if frame["sender"] else Reason.NO_SENDER
    text = words(raw.get("text"))
    if text is None:
        return Reason.BAD_TEXT
    reply_to, quick_reply, referral = (branch(raw, name) for name in ("reply_to", "quick_reply", "referral"))
    return Event(
        Kind.MESSAGE,
        **frame,
        text=text,
        attachments=read_attachments(raw.get("attachments")),
        is_echo=flag(raw, "is_echo"),
        is_unsupported=flag(raw, "is_unsupported"),
        payload=(words(quick_reply.get("payload")) or "") if quick_reply else "",
        reply_to_mid=identifier(reply_to.get("mid")) if reply_to else "",
        story_id=identifier(branch(reply_to, "story").get("id")) if reply_to else "",
        referral=origin(referral) if referral else "",
    )


def read_postback(frame: dict[str, Any], raw: dict[str, Any]) -> Event | Reason:
    """Read a tap on an ice breaker, a menu entry or a button; its title is what the person said."""
    if not frame["sender"] or not frame["recipient"]:
        return Reason.NO_RECIPIENT if frame["sender"] else Reason.NO_SENDER
    text, payload = words(raw.get("title")), words(raw.get("payload"))
    return Event(
        Kind.POSTBACK,
        **frame,
        text=text or "",
        payload=payload or "",
        is_echo=flag(raw, "is_echo"),
        referral=origin(branch(raw, "referral")),
    )


def read_edit(frame: dict[str, Any], raw: dict[str, Any]) -> What | Reason:
    """Read an edit. Number 0 comes for brand-new messages and means nothing. The sender may be missing."""
    number = whole(raw.get("num_edit"))
    if number is None:
        return Reason.NO_NUM_EDIT
    if number < 1:
        return Ignored(Nothing.EDIT_ZERO)
    if not frame["mid"]:
        return Reason.NO_MID
    if raw.get("text") is None:
        return Ignored(Nothing.EDIT_WITHOUT_TEXT)
    text = words(raw["text"])
    if text is None:
        return Reason.BAD_TEXT
    return Event(Kind.EDIT, **frame, text=text, num_edit=min(number, MOST_EDITS), is_echo=flag(raw, "is_echo"))


def read_reaction(frame: dict[str, Any], raw: dict[str, Any]) -> What:
    """Read a reaction; taken back, it has neither `reaction` nor `emoji`."""
    if not frame["sender"] or not frame["recipient"]:
        return Ignored(Nothing.NO_PERSON)
    action = words(raw.get("action")) or ""
    return Event(Kind.REACTION, **frame, action=action, emoji=words(raw.get("emoji")) or "")


def read_receipt(frame: dict[str, Any], _raw: dict[str, Any]) -> What:
    """Read a read receipt; it may come without anybody, and then says nothing."""
    if not frame["sender"] or not frame["recipient"]:
        return Ignored(Nothing.NO_PERSON)
    return Event(Kind.READ, **frame)


def read_referral(_frame: dict[str, Any], _raw: dict[str, Any]) -> What:
    """Read a tap on an ad or link without a message: nothing was said."""
    return Ignored(Nothing.REFERRAL)


READERS = {
    "message": read_message,
    "postback": read_postback,
    "message_edit": read_edit,
    "reaction": read_reaction,
    "read": read_receipt,
    "referral": read_referral,
}


def read_attachments(value: Any) -> tuple[Attachment, ...]:
    """Read attachments of any type, with or without a payload, a title or an address."""
    if value is None:
        return ()
    found = value if isinstance(value, list) else [value]
    return tuple(read_attachment(one if isinstance(one, dict) else {}) for one in found)


def read_attachment(raw: dict[str, Any]) -> Attachment:
    """Read one attachment; without a type it is `unknown`."""
    payload = branch(raw, "payload")
    title = words(payload.get("title")) or words(raw.get("title")) or ""
    url = words(payload.get("url")) or words(raw.get("url")) or ""
    return Attachment(words(raw.get("type")) or "unknown", title, url)


def origin(referral: dict[str, Any]) -> str:
    """Say where a person came from: an ad's title, a ref, or an ad's id."""
    title = words(branch(referral, "ads_context_data").get("ad_title"))
    return title or words(referral.get("ref")) or identifier(referral.get("ad_id"))


def party(raw: dict[str, Any], side: str) -> str:
    """Return the id of the sender or recipient, empty when there is none."""
    return identifier(branch(raw, side).get("id"))


def branch(raw: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the object under a name, an empty one when there is none."""
    value = raw.get(name)
    return value if isinstance(value, dict) else NOTHING_THERE


def flag(raw: dict[str, Any], name: str) -> bool:
    """Whether a flag is there; one that is false or null is not."""
    value = raw.get(name)
    return value is not None and value not in ABSENT


def identifier(value: Any) -> str:
    """Return an id as text, exactly; anything but text or a whole number is no id."""
    if isinstance(value, str):
        return "" if len(value) > LONGEST_ID else value if value.isalnum() and value.isascii() else clean(value)
    number = whole(value) if isinstance(value, int | Decimal) else None
    return str(number) if number is not None else ""


def words(value: Any) -> str | None:
    """Return text that any store takes, empty when there is none, None when it is no text at all."""
    if isinstance(value, str):
        return clean(value)
    if value is None:
        return ""
    number = whole(value)
    return None if number is None else str(number)


def clean(text: str) -> str:
    """Return the text with half surrogates and NUL replaced by U+FFFD."""
    return BROKEN.sub("\ufffd", text) if not text.isascii() or "\x00" in text else text


def whole(value: Any) -> int | None:
    """Return a whole number given as one or as digits; None when it is something else."""
    if isinstance(value, int):
        return None if isinstance(value, bool) else value
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdigit() and len(value) <= 30 else None
    if isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) <= 30:
        return int(value) if value == value.to_integral_value() else None
    return None


def moment(*candidates: Any) -> int:
    """Return the first time that makes sense, in milliseconds; ten digits are seconds."""
    for candidate in candidates:
        if type(candidate) is int and EARLIEST_MS <= candidate < LATEST_MS:
            return candidate
        number = int(candidate) if is_fraction(candidate) else whole(candidate)
        if number is not None and len(str(abs(number))) == 10:
            number *= 1000
        if number is not None and EARLIEST_MS <= number < LATEST_MS:
            return number
    return 0


def is_fraction(value: Any) -> bool:
    """Whether a value is a number with a fraction, of a size that can be a time."""
    return isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) <= 30
