"""The reply in hand, part by part: how it may be sent, settled and finished. Rules only.

A part is `ready`, then `sending` (written before the POST), then `sent`, `refused` or `unknown`; an unknown part is
settled by its echo or by reading the conversation, never guessed. Each function takes a row and returns the row as
it must be written; None where the change does not apply any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from services.common.metrics import ReplyOutcome
from services.responder.message import HUMAN, Author
from services.responder.model import Conversation, Handover, Mark, NeedsPerson, Part, PartState, Pending, Reply
from services.responder.times import Policy, Times

MAX_RESENDS = 3
DONE = frozenset({PartState.SENT, PartState.REFUSED, PartState.HELD, PartState.DROPPED})
MAY_HAVE_ARRIVED = frozenset({PartState.SENDING, PartState.SENT, PartState.UNKNOWN, PartState.HELD})
ARRIVED = frozenset({PartState.SENT, PartState.UNKNOWN, PartState.HELD})


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


def past_no_return(reply: Reply) -> bool:
    """Whether some part of it may have reached the customer."""
    return any(part.state in MAY_HAVE_ARRIVED for part in reply.parts)


def paused_at(row: Conversation, now: int) -> bool:
    """Whether the bot must be silent in this conversation."""
    return any(pause.since <= now < pause.until for pause in row.pauses)


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
    if not past_no_return(reply) and reply.version != row.version and not reply.final:
        return Void.SUPERSEDED
    return to_sending(row, reply, reply.parts[n], now)


def to_sending(row: Conversation, reply: Reply, part: Part, now: int) -> Conversation:
    """Write that a POST is about to go out."""
    sending = replace(part, state=PartState.SENDING, attempt=part.attempt + 1, sending_at=now, absent_at=0)
    sending = replace(sending, unreadable_since=0, check_at=0, error="")
    return replace(row, reply=with_part(reply, sending))


def with_part(reply: Reply, part: Part) -> Reply:
    """Return the reply with one part replaced."""
    return replace(reply, parts=tuple(part if one.n == part.n else one for one in reply.parts))


def void(row: Conversation) -> Conversation:
    """Throw the reply's text away: nothing of it can have arrived, and its messages are unanswered again."""
    reply = row.reply
    if reply is None or past_no_return(reply):
        raise ValueError("only a reply before the point of no return can be thrown away")
    back = tuple(sorted((*row.unanswered, *reply.answers), key=lambda one: (one.at, one.key)))
    replied = row.replied_at[:-1] if reply.author is Author.BOT and not reply.confirms else row.replied_at
    return replace(row, reply=None, unanswered=back, replied_at=replied)


def drop_unsent(row: Conversation) -> Conversation:
    """Give up what of the reply was not sent: for good. Before the point of no return all of it is thrown away."""
    if row.reply is None:
        return row
    if not past_no_return(row.reply) and not finished(row.reply) and row.reply.author is Author.BOT:
        return void(row)
    return drop_rest(row, row.reply.id)


# --- what a POST came to ---------------------------------------------------------------------------------------


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


def change_part(row: Conversation, reply_id: str, n: int, change: Callable[[Part], Part | None]) -> Conversation | None:
    """Apply a change to one part, of the reply in hand or of one that waits to be settled."""
    for reply in (*([row.reply] if row.reply else []), *row.unsettled):
        if reply.id != reply_id:
            continue
        changed = change(reply.parts[n])
        return None if changed is None else with_reply(row, with_part(reply, changed))
    return None


def with_reply(row: Conversation, reply: Reply) -> Conversation:
    """Return the row with the reply of this id replaced, wherever it stands."""
    if row.reply is not None and row.reply.id == reply.id:
        return replace(row, reply=reply)
    return replace(row, unsettled=tuple(reply if one.id == reply.id else one for one in row.unsettled))


def drop_rest(row: Conversation, reply_id: str) -> Conversation:
    """After a refused or held part nothing more of this reply goes out."""
    if row.reply is None or row.reply.id != reply_id:
        return row
    parts = tuple(
        replace(part, state=PartState.DROPPED) if part.state is PartState.READY else part for part in row.reply.parts
    )
    return replace(row, reply=replace(row.reply, parts=parts))


def disown_pause(row: Conversation, mid: str) -> Conversation:
    """An echo that was taken for a person's proved ours: undo the pause that it alone made."""
    return replace(row, pauses=tuple(pause for pause in row.pauses if not mid or pause.mid != mid))


# --- settling an unknown part ------------------------------------------------------------------------------------


class Sight(StrEnum):
    """What a read of the conversation shows of an unknown part."""

    PRESENT = "present"
    ABSENT = "absent"
    UNREADABLE = "unreadable"


def unknown_parts(row: Conversation) -> list[tuple[Reply, Part]]:
    """Return the parts whose outcome nobody knows, those of the reply in hand first."""
    replies: Iterable[Reply] = (*([row.reply] if row.reply else []), *row.unsettled)
    return [(reply, part) for reply in replies for part in reply.parts if part.state is PartState.UNKNOWN]


def looked(
    row: Conversation, reply_id: str, n: int, sight: Sight, *, mid: str, now: int, times: Times
) -> Conversation | None:
    """Write down what one look at the conversation showed."""

    def change(part: Part) -> Part | None:
        if part.state is not PartState.UNKNOWN:
            return None
        if sight is Sight.PRESENT:
            return replace(part, state=PartState.SENT, mid=mid, error="")
        if sight is Sight.ABSENT:
            return absent(part, now, times)
        return unreadable(part, now, times)

    changed = change_part(row, reply_id, n, change)
    if changed is None:
        return None
    if sight is Sight.PRESENT:
        return disown_pause(changed, mid)
    return drop_rest(changed, reply_id) if part_of(changed, reply_id, n).state is PartState.HELD else changed


def part_of(row: Conversation, reply_id: str, n: int) -> Part:
    """Return one part of the reply with this id."""
    replies = (*([row.reply] if row.reply else []), *row.unsettled)
    return next(reply.parts[n] for reply in replies if reply.id == reply_id)


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


def unreadable(part: Part, now: int, times: Times) -> Part:
    """Nobody can tell: keep looking for ten minutes, then hold it for a person."""
    since = part.unreadable_since or now
    if now - since >= times.unreadable_for:
        return replace(part, state=PartState.HELD, unreadable_since=since, error="unreadable")
    return replace(part, unreadable_since=since, check_at=now + times.looks_apart)


# --- the end of a reply ------------------------------------------------------------------------------------------


def finished(reply: Reply) -> bool:
    """Whether nothing more will happen to it in the row."""
    return all(part.state in DONE for part in reply.parts)


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


def clear(row: Conversation) -> Conversation:
    """Take the finished reply out of the row; what it answered is answered. `sends` has it already."""
    reply = row.reply
    if reply is None:
        return row
    answered_by = HUMAN if reply.author is Author.HUMAN else reply.id
    held = outcome_of(reply) is ReplyOutcome.HELD
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
    news = Handover(reason=NeedsPerson.HELD, subject=reply_id)
    return replace(row, held=(*row.held, reply_id), handovers=(*row.handovers, news))


def step_aside(row: Conversation) -> Conversation:
    """Newer messages waited long enough for an unknown part: settle it from `sends`, never send it again."""
    dropped = drop_unsent(row)
    if dropped.reply is None:
        return dropped
    return replace(clear(dropped), unsettled=(*row.unsettled, closed(dropped.reply)))


def settled_apart(row: Conversation) -> tuple[Conversation, list[Reply]]:
    """Take the replies out of `unsettled` whose part is known now; return them as `sends` must have them.

    A part that never arrived, with nothing else of its reply sent, makes the reply's messages unanswered again.
    """
    done = [reply for reply in row.unsettled if not any(p.state is PartState.UNKNOWN for p in reply.parts)]
    row = replace(row, unsettled=tuple(reply for reply in row.unsettled if reply not in done))
    closed_now = []
    for reply in done:
        parts = tuple(replace(p, state=PartState.DROPPED) if p.state is PartState.READY else p for p in reply.parts)
        ended = closed(replace(reply, parts=parts))
        closed_now.append(ended)
        if ended.outcome == ReplyOutcome.DROPPED:
            row = reopened(row, reply.answers, reply.id)
        elif ended.outcome == ReplyOutcome.HELD:
            row = keep_held(row, reply.id)
    return row, closed_now


def reopened(row: Conversation, answers: Iterable[Pending], reply_id: str) -> Conversation:
    """Make messages unanswered again whose reply never arrived."""
    known = {one.key for one in row.unanswered}
    back = [one for one in answers if one.key not in known]
    return replace(
        row,
        unanswered=tuple(sorted((*row.unanswered, *back), key=lambda one: (one.at, one.key))),
        marks=(*row.marks, *(Mark(key=one.key, answered_by="", was=reply_id) for one in back)),
    )
