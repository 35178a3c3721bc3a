"""An unknown part is settled, never guessed: what a read of the conversation proves, and what follows. Rules only."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from msgspec.structs import replace

from services.responder.ledger import change_part, disown_pause, distance, drop_rest, earliest, meant, part_of
from services.responder.model import Conversation, Part, PartState
from services.responder.outside import Reading
from services.responder.times import Times
from services.responder.words import digest

MAX_RESENDS = 3


class Sight(StrEnum):
    """What a read of the conversation shows of an unknown part."""

    PRESENT = "present"
    ABSENT = "absent"
    UNREADABLE = "unreadable"


def sight(
    row: Conversation,
    part: Part,
    reading: Reading | None,
    *,
    ours: Collection[str],
    known: Collection[str],
    times: Times,
) -> tuple[Sight, str]:
    """Return whether one of the row's parts is there, with its mid, is not, or cannot be told.

    `ours` are the account's two ids, `known` the mids that other parts and finished replies have.
    Present: an outgoing message with equal text, of an unknown mid, created no earlier than the first POST, and nearer
    to it than to any other part's of the same words: else that one would be missed, and sent again.
    Absent: the read reaches back before that and shows no outgoing message of unknown mid since.
    """
    if reading is None or not reading.messages:
        return Sight.UNREADABLE, ""
    since = earliest(part, times)
    fresh = [one for one in reading.messages if one.sender in ours and one.mid not in known and one.at >= since]
    same_words = [one for one in fresh if digest(one.text) == part.sha256]
    mine = [one for one in same_words if is_meant(row, part, one.at, times)]
    if mine:
        return Sight.PRESENT, min(mine, key=lambda one: distance(part, one.at)).mid
    if any(at >= since for at in reading.hidden):
        return Sight.UNREADABLE, ""  # it may be the one
    reaches_back = reading.whole or min(one.at for one in reading.messages) < since
    return (Sight.ABSENT, "") if reaches_back and not fresh else (Sight.UNREADABLE, "")


def is_meant(row: Conversation, part: Part, at: int, times: Times) -> bool:
    """Whether a message with the part's words, written then, is this part rather than another one of the row's."""
    found = meant(row, part.sha256, at, times)
    return found is not None and found[1] is part


def looked(
    row: Conversation, reply_id: str, n: int, seen: Sight, *, mid: str, late: int, now: int, times: Times
) -> Conversation | None:
    """Write down what one look at the conversation showed, which was `late` by so many ms, for want of a turn."""

    def change(part: Part) -> Part | None:
        if part.state is not PartState.UNKNOWN:
            return None
        if seen is Sight.PRESENT:
            return replace(part, state=PartState.SENT, mid=mid, error="")
        if seen is Sight.ABSENT:
            return absent(part, now, times)
        return unreadable(part, now, times, late)

    changed = change_part(row, reply_id, n, change)
    if changed is None:
        return None
    if seen is Sight.PRESENT:
        return disown_pause(changed, mid)
    return drop_rest(changed, reply_id) if part_of(changed, reply_id, n).state is PartState.HELD else changed


def absent(part: Part, now: int, times: Times) -> Part:
    """One absence proves nothing; a second one, apart and late enough, does."""
    part = replace(part, unreadable_since=0)
    if not part.absent_at:
        later = max(now + times.looks_apart, part.sending_at + times.second_look)
        return replace(part, absent_at=now, check_at=later)
    if now - part.absent_at < times.looks_apart or now - part.sending_at < times.second_look:
        return replace(part, check_at=max(part.absent_at + times.looks_apart, part.sending_at + times.second_look))
    if part.resent >= MAX_RESENDS:
        return replace(part, state=PartState.HELD, error="absent after every try")
    return replace(part, state=PartState.READY, resent=part.resent + 1, absent_at=0, check_at=0)


def unreadable(part: Part, now: int, times: Times, late: int) -> Part:
    """Nobody can tell: keep looking for ten minutes, then hold it for a person. Waiting for a turn is no looking."""
    since = min(now, part.unreadable_since + late) if part.unreadable_since else now
    if now - since >= times.unreadable_for:
        return replace(part, state=PartState.HELD, unreadable_since=since, error="unreadable")
    return replace(part, unreadable_since=since, check_at=now + times.looks_apart)
