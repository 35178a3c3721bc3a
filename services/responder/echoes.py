"""Messages from the business's side: ours, a person's, or of nobody knows whom yet. Rules only."""

from __future__ import annotations

from msgspec.structs import replace

from services.responder import ledger
from services.responder.message import HUMAN
from services.responder.model import Conversation, Echo, Handover, Mark, NeedsPerson, Part, PartState, Pause
from services.responder.times import DAY, SECOND, Policy, Times

QUICK = 3 * SECOND
"""Few people answer faster than this: Instagram's own automatic replies do."""


def take_in(row: Conversation, one: Echo, *, now: int, times: Times, policy: Policy) -> Conversation:
    """A message from the business whose mid is in no finished reply: decide whose it is, or put it off."""
    if any(pause.mid == one.mid for pause in row.pauses) or any(each.mid == one.mid for each in row.undecided):
        return row
    owned, settled = own(row, one, times)
    if owned:
        return row if settled == row else replace(settled, due_at=now, waiting_for=None)
    if row.reply is not None and any(part.state is PartState.SENDING for part in row.reply.parts):
        return replace(row, undecided=(*row.undecided, one))
    return human(row, one.mid, one.at, now=now, policy=policy)


def own(row: Conversation, one: Echo, times: Times) -> tuple[bool, Conversation]:
    """Whether an echo is of one of the row's parts: by mid, or by text for a part that has none yet.

    Words from before a part's first POST are not that part. Of several with these words it is the one that was posted
    nearest to it.
    """
    if one.mid in ledger.mids_in(row):
        return True, row
    found = ledger.meant(row, one.sha256, one.at, times)
    if found is None:
        return False, row
    reply, part = found
    sent = replace(part, state=PartState.SENT, mid=one.mid, error="")
    return True, ledger.with_reply(row, ledger.with_part(reply, sent))


def decide(row: Conversation, *, now: int, times: Times, policy: Policy) -> Conversation:
    """Decide about the echoes that were put off, as soon as the POST's answer, or its silence, allows."""
    parts: tuple[Part, ...] = row.reply.parts if row.reply else ()
    left, row = row.undecided, replace(row, undecided=())
    for one in left:
        owned, row = own(row, one, times)
        if owned:
            continue
        if any(undecidable(part, now, times) for part in parts):
            row = replace(row, undecided=(*row.undecided, one))
        else:
            row = human(row, one.mid, one.at, now=now, policy=policy)
    return row


def undecidable(part: Part, now: int, times: Times) -> bool:
    """Whether the part's POST may still prove to be what was echoed."""
    silent_until = part.sending_at + times.post_timeout + times.echo_grace
    return part.state is PartState.SENDING or (part.state is PartState.UNKNOWN and now < silent_until)


def human(row: Conversation, mid: str, at: int, *, now: int, policy: Policy) -> Conversation:
    """A person wrote in the account's name: what the customer said until then is theirs, and the bot steps aside."""
    at = min(at, now)
    until = at if at < row.resumed_at else at + policy.takeover
    row = ledger.silenced(row) if until > now or speaks_to(row, at) else row
    row = replace(row, version=row.version + 1, superseded=0)
    gone = tuple(one for one in row.unanswered if one.at <= at)
    pauses = tuple(pause for pause in row.pauses if pause.until + policy.stale > now)
    return replace(
        row,
        handovers=(*row.handovers, *taken_over(row, mid, at, until, now=now)),
        unanswered=tuple(one for one in row.unanswered if one.at > at),
        marks=(*row.marks, *(Mark(key=one.key, answered_by=HUMAN) for one in gone)),
        pauses=(*pauses, Pause(since=at, until=until, mid=mid)),
        last_at=max(row.last_at, at),
        due_at=now,
        waiting_for=None,
    )


def speaks_to(row: Conversation, at: int) -> bool:
    """Whether a person's words of then answer something that the reply in hand answers; older words leave it alone."""
    return row.reply is None or any(one.at <= at for one in row.reply.answers)


def taken_over(row: Conversation, mid: str, at: int, until: int, *, now: int) -> tuple[Handover, ...]:
    """Return the news that a person has the conversation now, when nobody had it before."""
    if until <= now or any(pause.mid and pause.since <= now < pause.until for pause in row.pauses):
        return ()
    asked_at = row.window_closes_at - DAY
    quick = 0 <= at - asked_at <= QUICK
    return (Handover(reason=NeedsPerson.TAKEN_OVER, subject=mid, quick=quick),)
