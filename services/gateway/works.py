"""Events on their way, one delivery at a time: parsed, grouped by conversation, weighed, put aside. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import structlog

from services.gateway.events import Event, Invalid, Item, Reason, Source
from services.gateway.parse import envelope, parse
from services.gateway.ports import DeadLetter, Entry

log = structlog.get_logger(__name__)

OVERHEAD = 160  # bytes of an event in a call beside its texts: tags, lengths, numbers, the delivery's id


@dataclass(slots=True, eq=False)
class Delivery:
    """An entry of the inbox, how many of its events are not final, and how many of these only wait."""

    entry: Entry
    open: int = 0
    idle: int = 0
    waiting: dict[int, tuple[float, int, Group]] = field(default_factory=dict)
    dead: list[DeadLetter] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Work:
    """One event on its way."""

    delivery: Delivery
    event: Event
    source: Source
    size: int = 0
    later: int = 0
    failures: int = 0
    failing_since: float = 0


Group = list[Work]
Batch = list[Group]


def read(entry: Entry) -> list[Item]:
    """Return what an entry holds; whatever the parser did not foresee is put aside as unreadable."""
    try:
        return parse(entry.body, entry.at_ms)
    except Exception:  # one body that nobody foresaw must not stop all others for ever
        log.exception("delivery_not_parsed", entry=entry.id)
        return [Item(Invalid(Reason.UNREADABLE))]


def conversations(works: Sequence[Work]) -> Iterator[Group]:
    """Group a delivery's events by conversation: either side of it may be the sender."""
    if len(works) == 1:  # nearly always
        yield list(works)
        return
    places: dict[str, tuple[str, ...]] = {}
    for work in works:
        event = work.event
        if event.sender and event.recipient:
            places.setdefault(event.mid, (event.account, *sorted((event.sender, event.recipient))))
    groups: dict[tuple[str, ...], Group] = {}
    for work in works:
        event = work.event
        own = (event.account, *sorted((event.sender, event.recipient)))
        # Edits and unsends without a sender belong with the message that they are about.
        place = own if event.sender and event.recipient else places.get(event.mid, (event.account, event.mid))
        groups.setdefault(place, []).append(work)
    yield from groups.values()


def letter(entry: Entry, invalid: Invalid, source: Source | None) -> DeadLetter:
    """Make the dead letter of an item, or of the whole delivery when it has none."""
    try:
        body = entry.body if source is None else envelope(source)
    except RecursionError:  # nested more deeply than it can be written again
        body = entry.body
    mids = (invalid.mid,) if invalid.mid else ()
    return DeadLetter(invalid.reason, entry.id, entry.at_ms, invalid.account, invalid.person, mids, body)


def other_party(event: Event) -> str:
    """Return who the account talks with, as far as that can be told here."""
    return event.recipient if event.is_echo or event.sender == event.account else event.sender


def weight(event: Event) -> int:
    """Return the most bytes that an event can take in a call."""
    texts = (event.account, event.sender, event.recipient, event.mid, event.text, event.payload, event.reply_to_mid)
    others = (event.story_id, event.action, event.emoji, event.referral)
    parts = (part for one in event.attachments for part in (one.kind, one.title, one.url))
    # Beyond ASCII a character takes at most four bytes; 100 is for tags, lengths, numbers and the delivery's id.
    return (
        100
        + 12 * len(event.attachments)
        + sum(len(text) * (1 if text.isascii() else 4) for text in (*texts, *others, *parts))
    )
