"""The end of a reply: its outcome, what it answered, and what follows when that was settled late. Rules only.

A finished reply is in `sends` before the row is cleared of it.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from services.responder.ledger import drop_unsent, with_part, with_unanswered, without_ready
from services.responder.message import HUMAN, Author
from services.responder.metrics import ReplyOutcome
from services.responder.model import Conversation, Handover, Mark, NeedsPerson, PartState, Pending, Reply


def outcome_of(reply: Reply) -> ReplyOutcome:
    """Say how a reply ended, in one word."""
    states = {part.state for part in reply.parts}
    if PartState.HELD in states:
        return ReplyOutcome.HELD
    if PartState.UNKNOWN in states:
        return ReplyOutcome.UNSETTLED
    if states == {PartState.SENT}:
        return ReplyOutcome.SENT
    if PartState.SENT in states:
        return ReplyOutcome.PARTLY_SENT
    return ReplyOutcome.REFUSED if PartState.REFUSED in states else ReplyOutcome.DROPPED


def closed(reply: Reply) -> Reply:
    """Return the reply as it goes into `sends`."""
    outcome = outcome_of(reply)
    return replace(reply, outcome=outcome, unsettled=outcome is ReplyOutcome.UNSETTLED)


def given_up(reply: Reply, n: int) -> Reply | None:
    """Return a finished reply with a held part dropped, as a person decided; None when it is not held any more."""
    part = reply.parts[n]
    if part.state is not PartState.HELD:
        return None
    return closed(with_part(reply, replace(part, state=PartState.DROPPED)))


def proved(reply: Reply, n: int, mid: str) -> Reply | None:
    """Return a finished reply with a part sent that was given up, as its echo proves; None when another was faster."""
    part = reply.parts[n]
    if part.state not in {PartState.HELD, PartState.DROPPED}:
        return None
    return closed(with_part(reply, replace(part, state=PartState.SENT, mid=mid, error="")))


def clear(row: Conversation) -> Conversation:
    """Take the finished reply out of the row; what it answered is answered. `sends` has it already."""
    reply = row.reply
    if reply is None:
        return row
    outcome = outcome_of(reply)
    if reply.author is Author.HUMAN and outcome is ReplyOutcome.DROPPED:
        return with_unanswered(replace(row, reply=None), reply.answers)  # nothing was said
    # What Instagram refused answers nobody, whoever wrote it: the reply's id leads to its outcome.
    by_person = reply.author is Author.HUMAN and outcome is not ReplyOutcome.REFUSED
    answered_by = HUMAN if by_person else reply.id
    held = outcome is ReplyOutcome.HELD
    return replace(
        keep_held(row, reply.id) if held else row,
        reply=None,
        marks=(*row.marks, *(Mark(key=one.key, answered_by=answered_by) for one in reply.answers)),
        tries=0,
        backed_off=0,
        retry_at=0,
        last_error="",
    )


def keep_held(row: Conversation, reply_id: str) -> Conversation:
    """Nobody could find out what became of this reply: it is a person's from here."""
    if reply_id in row.held:
        return row
    news = Handover(reason=NeedsPerson.HELD, subject=reply_id)
    return replace(row, held=(*row.held, reply_id), handovers=(*row.handovers, news))


def step_aside(row: Conversation) -> Conversation:
    """Something newer waited long enough for an unknown part: settle it from `sends`, never send it again."""
    by_person = row.reply is not None and row.reply.author is Author.HUMAN
    dropped = row if by_person else drop_unsent(row)
    if dropped.reply is None:
        return dropped
    return replace(clear(dropped), unsettled=(*row.unsettled, closed(dropped.reply)))


def settled_apart(row: Conversation) -> tuple[Conversation, list[Reply]]:
    """Take the replies out of `unsettled` whose part is known now; return them as `sends` must have them.

    A part that never arrived, with nothing else of its reply sent, makes the reply's messages unanswered again. But a
    person's words that did not go out are held: whoever wrote them learns of it, and may send them again.
    """
    done = [reply for reply in row.unsettled if not any(p.state is PartState.UNKNOWN for p in reply.parts)]
    row = replace(row, unsettled=tuple(reply for reply in row.unsettled if reply not in done))
    closed_now = []
    for reply in done:
        ended = closed(with_ready_held(reply) if reply.author is Author.HUMAN else without_ready(reply))
        closed_now.append(ended)
        if ended.outcome == ReplyOutcome.DROPPED:
            row = reopened(row, reply.answers, reply.id)
        elif ended.outcome == ReplyOutcome.HELD:
            row = keep_held(row, reply.id)
    return row, closed_now


def with_ready_held(reply: Reply) -> Reply:
    """Return the reply with what was not sent held."""
    return without_ready(reply, PartState.HELD, "newer messages came first")


def reopened(row: Conversation, answers: Iterable[Pending], reply_id: str) -> Conversation:
    """Make messages unanswered again whose reply never arrived, and which are marked as answered by it."""
    known = {one.key for one in row.unanswered}
    marks = tuple(Mark(key=one.key, answered_by="", was=reply_id) for one in answers if one.key not in known)
    return replace(with_unanswered(row, answers), marks=(*row.marks, *marks))
