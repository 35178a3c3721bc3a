"""What a POST came to, written into the row by whoever hears of it. Rules only.

A part is `sending` before its POST and then `sent`, `refused`, `ready` again or `unknown`. Each function returns the
row as it must be written; None where the change does not apply any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from msgspec.structs import replace

from services.responder.ledger import change_part, disown_pause, drop_rest
from services.responder.model import Conversation, Part, PartState
from services.responder.times import Times


class Posted(StrEnum):
    """What is known after a POST."""

    SENT = "sent"
    REFUSED = "refused"  # Instagram will never take it
    NOT_SENT = "not_sent"  # it certainly did not arrive and may later
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostResult:
    """The answer to one POST. `wait` is the back-off in ms before the part may go out again."""

    posted: Posted
    mid: str = ""
    error: str = ""
    wait: int = 0


def record_post(
    row: Conversation, reply_id: str, n: int, attempt: int, result: PostResult, *, now: int, times: Times
) -> Conversation | None:
    """Write down what a POST came to, whoever holds the fence now. None: the part is settled already."""

    def change(part: Part) -> Part | None:
        if part.attempt != attempt or part.state not in {PartState.SENDING, PartState.UNKNOWN}:
            return None
        if result.posted is Posted.SENT:
            return replace(part, state=PartState.SENT, mid=result.mid, error="")
        if result.posted is Posted.REFUSED:
            return replace(part, state=PartState.REFUSED, error=result.error)
        if result.posted is Posted.NOT_SENT:
            return replace(part, state=PartState.READY, not_before=now + result.wait, error=result.error)
        if part.state is PartState.UNKNOWN:
            return None
        return unknown(part, times, error=result.error)

    changed = change_part(row, reply_id, n, change)
    if changed is None:
        return None
    if result.posted is Posted.REFUSED:
        changed = drop_rest(changed, reply_id)
    if result.posted is Posted.SENT:
        changed = disown_pause(changed, result.mid)
    return changed


def unknown(part: Part, times: Times, *, error: str) -> Part:
    """Return the part with an outcome that nobody knows, to be looked for from 20 s on."""
    return replace(part, state=PartState.UNKNOWN, check_at=part.sending_at + times.first_look, error=error)


def found_sending(row: Conversation, times: Times) -> Conversation:
    """A worker died while it was sending: its POST may have gone out."""
    if row.reply is None:
        return row
    parts = tuple(
        unknown(part, times, error="the worker died while sending") if part.state is PartState.SENDING else part
        for part in row.reply.parts
    )
    return replace(row, reply=replace(row.reply, parts=parts))


def not_posted(row: Conversation, reply_id: str, n: int, attempt: int, *, fence: int) -> Conversation | None:
    """Take `sending` back: too late for the POST, and it was not made. Only with the fence still ours."""
    if row.fence != fence:
        return None

    def change(part: Part) -> Part | None:
        if part.attempt != attempt or part.state is not PartState.SENDING:
            return None
        return replace(part, state=PartState.READY, sending_at=0)

    return change_part(row, reply_id, n, change)
