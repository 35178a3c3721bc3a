"""The move to `sending`: every test of it, and the point of no return. Rules only.

A test that fails has a name. Each function returns the row as it must be written, or that name.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec.structs import replace

from services.responder.ledger import past_no_return, with_part
from services.responder.message import Author
from services.responder.model import Conversation, Part, PartState, Reply
from services.responder.pauses import paused_at
from services.responder.record import answered_by_person
from services.responder.times import Policy


class Void(StrEnum):
    """Why a part must not be sent now."""

    FENCE = "fence"  # another worker has the conversation
    SUPERSEDED = "superseded"  # the customer wrote, or somebody stepped in, since the text was written
    PAUSED = "paused"
    OPTED_OUT = "opted_out"
    WINDOW_CLOSED = "window_closed"
    STALE = "stale"
    TAKEN_BACK = "taken_back"
    EDITED = "edited"


def objection(row: Conversation, reply: Reply, *, fence: int, now: int, policy: Policy) -> Void | None:
    """Return what forbids moving a part of this reply to `sending` now: the tests of every such move."""
    if row.fence != fence:
        return Void.FENCE
    if reply.stopped:
        return Void.TAKEN_BACK
    if reply.author is Author.BOT:
        if paused_at(row, now):
            return Void.PAUSED
        if row.opted_out and not reply.confirms:
            return Void.OPTED_OUT
        if reply.confirms and not row.opted_out:
            return Void.TAKEN_BACK
        if reply.answers and now - max(one.at for one in reply.answers) > policy.stale:
            return Void.STALE
    window = row.window_closes_at
    if reply.human_agent:
        window += policy.human_agent_window - policy.window
    return Void.WINDOW_CLOSED if now >= window else None


def begin(row: Conversation, draft: Reply, *, fence: int, now: int, policy: Policy) -> Conversation | Void:
    """Store a new reply and move its first part to `sending`: the point of no return.

    Its version must be the row's (but for a final one), and each message that it answers must still be unanswered in
    the wording that was read.
    """
    found = objection(row, draft, fence=fence, now=now, policy=policy)
    if found:
        return found
    if row.reply is not None or (draft.version != row.version and not draft.final):
        return Void.SUPERSEDED
    open_now = {one.key: one for one in row.unanswered}
    for one in draft.answers:
        if one.key not in open_now:
            return Void.TAKEN_BACK
        if open_now[one.key].edit != one.edit:
            return Void.EDITED
    answered = {one.key for one in draft.answers}
    row = replace(
        row,
        reply=draft,
        unanswered=tuple(one for one in row.unanswered if one.key not in answered),
        superseded=0,
        fell_back=row.fell_back if draft.confirms else draft.fallback,
        replied_at=row.replied_at if draft.confirms else (*row.replied_at, now),
    )
    return to_sending(row, draft, draft.parts[0], now)


def resume_part(row: Conversation, n: int, *, fence: int, now: int, policy: Policy) -> Conversation | Void:
    """Move part n of the reply in hand to `sending`, first, later or again."""
    reply = row.reply
    if reply is None or reply.parts[n].state is not PartState.READY:
        return Void.FENCE
    found = objection(row, reply, fence=fence, now=now, policy=policy)
    if found:
        return found
    overtaken = reply.version != row.version and not reply.final
    answered = any(answered_by_person(row, one) for one in reply.answers)  # also what goes without the version test
    if reply.author is Author.BOT and not past_no_return(reply) and (overtaken or answered):
        return Void.SUPERSEDED
    return to_sending(row, reply, reply.parts[n], now)


def needs_tag(row: Conversation, reply: Reply, part: Part) -> bool:
    """Whether a part that is in `sending` goes under HUMAN_AGENT: its 24 hours were over when that was written."""
    return reply.human_agent and part.sending_at >= row.window_closes_at


def to_sending(row: Conversation, reply: Reply, part: Part, now: int) -> Conversation:
    """Write that a POST is about to go out."""
    sending = replace(part, state=PartState.SENDING, attempt=part.attempt + 1, sending_at=now)
    sending = replace(sending, first_at=part.first_at or now, absent_at=0, unreadable_since=0, check_at=0, error="")
    return replace(row, reply=with_part(reply, sending))
