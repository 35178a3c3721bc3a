"""What a worker does next with a conversation: one step at a time, from the row alone. Rules only.

The order of the questions is the order of section "When the bot answers" in docs/architecture.md. A pass ends with
`Rest`: everything is answered, or the row says when to look again and what it waits for.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from services.common.account_state import AccountState
from services.responder import echoes, ending, ledger, record
from services.responder.account import Account
from services.responder.holds import held_for, wait_of
from services.responder.message import HUMAN, Author
from services.responder.metrics import Skip
from services.responder.model import FOREVER, Conversation, Mark, Part, PartState, Pending, Reply, State, Wait
from services.responder.news import next_telling
from services.responder.pauses import caught_up, paused_at, paused_until
from services.responder.times import DAY, HOUR, Policy, Times

Answers = tuple[Pending, ...]


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do now: release the conversation as this row says."""

    row: Conversation


@dataclass(frozen=True, slots=True)
class Change:
    """Write this row and ask again."""

    row: Conversation


@dataclass(frozen=True, slots=True)
class Finish:
    """The reply in hand is over: move it to `sends`, then write this row."""

    ended: tuple[Reply, ...]
    row: Conversation


@dataclass(frozen=True, slots=True)
class SendPart:
    """Move this part of the reply in hand to `sending` and post it."""

    n: int


@dataclass(frozen=True, slots=True)
class Look:
    """Read the conversation to see what became of this part."""

    reply: Reply
    part: Part


@dataclass(frozen=True, slots=True)
class Write:
    """Write a reply to these messages and begin it."""

    answers: Answers
    final: bool


@dataclass(frozen=True, slots=True)
class Confirm:
    """Confirm the opt-out to the customer, once."""

    answers: Answers


Step = Rest | Change | Finish | SendPart | Look | Write | Confirm


def next_step(row: Conversation, account: Account, *, now: int, times: Times, policy: Policy) -> Step:
    """Return the next step. Every answer but Rest changes the row, so a pass comes to an end."""
    resumed = caught_up(row, account)
    if resumed != row:
        return Change(resumed)
    if row.undecided:
        decided = echoes.decide(row, now=now, times=times, policy=policy)
        if decided != row:
            return Change(decided)
    settled, ended = ending.settled_apart(row)
    if ended:
        return Finish(tuple(ended), settled)
    look = due_look(row, now)
    if look:
        return look
    ready = row.reply is not None and any(part.state is PartState.READY for part in row.reply.parts)
    if ready and account.state == AccountState.DISCONNECTED:
        return Change(ledger.drop_unsent(row))
    if row.reply is not None and not (ready and row.failed):
        return reply_step(row, row.reply, account, now=now, times=times)
    return message_step(row, account, now=now, times=times, policy=policy)


def due_look(row: Conversation, now: int) -> Look | None:
    """Return the unknown part whose next look is due first."""
    due = [(part.check_at, reply, part) for reply, part in ledger.unknown_parts(row) if part.check_at <= now]
    if not due:
        return None
    _, reply, part = min(due, key=lambda one: one[0])
    return Look(reply, part)


def reply_step(row: Conversation, reply: Reply, account: Account, *, now: int, times: Times) -> Step:
    """Carry the reply in hand on."""
    if ledger.finished(reply):
        return Finish((ending.closed(reply),), ending.clear(row))
    unknown = [part for part in reply.parts if part.state is PartState.UNKNOWN]
    if unknown:
        give_way_at = unknown[0].sending_at + times.newer_wait if gives_way(row, reply, account, now=now) else None
        decided_at = [part.sending_at + times.post_timeout + times.echo_grace for part in unknown if row.undecided]
        if give_way_at is not None and now >= give_way_at:
            moved = ending.step_aside(row)
            return Finish(moved.unsettled[-1:], moved)
        due = [part.check_at for part in unknown] + decided_at + ([] if give_way_at is None else [give_way_at])
        return rest(row, min(due), Wait.UNKNOWN_SEND, now=now, times=times)
    if row.undecided:
        return rest(row, now + times.pass_floor, Wait.UNKNOWN_SEND, now=now, times=times)
    part = next(part for part in reply.parts if part.state is PartState.READY)
    if part.not_before > now:
        reason = Wait.BREAKER_OPEN if part.error == Wait.BREAKER_OPEN else Wait.BACK_OFF
        return rest(row, part.not_before, reason, now=now, times=times)
    return SendPart(part.n)


def gives_way(row: Conversation, reply: Reply, account: Account, *, now: int) -> bool:
    """Whether newer messages wait for this reply: not for a person's words while the bot is silent anyway."""
    return bool(row.unanswered) and (reply.author is Author.BOT or not paused_until(row, account, now=now))


def message_step(row: Conversation, account: Account, *, now: int, times: Times, policy: Policy) -> Step:
    """Decide about the messages without an answer: skip, wait or write."""
    skipped = skip_some(row, account, now=now, policy=policy)
    if skipped is not None:
        return Change(skipped)
    wait = reason_to_wait(row, account, now=now, policy=policy)
    if wait is not None:
        until, reason = wait
        return rest(row, until, reason, now=now, times=times)
    if not row.unanswered:
        return rest(row, None, None, now=now, times=times)
    if row.opted_out:
        return Confirm(row.unanswered)
    return Write(row.unanswered, final=row.superseded >= MAX_SUPERSEDED)


MAX_SUPERSEDED = 2


def skip_some(row: Conversation, account: Account, *, now: int, policy: Policy) -> Conversation | None:
    """Return the row without the messages that will never be answered, None when there are none."""
    reasons = {one.key: skip_reason(row, account, one, now=now, policy=policy) for one in row.unanswered}
    gone = tuple(one for one in row.unanswered if reasons[one.key])
    if not gone:
        return None
    marks = tuple(Mark(key=one.key, answered_by=str(reasons[one.key])) for one in gone)
    kept = tuple(one for one in row.unanswered if not reasons[one.key])
    return replace(row, unanswered=kept, marks=(*row.marks, *marks))


def skip_reason(row: Conversation, account: Account, one: Pending, *, now: int, policy: Policy) -> str | None:
    """Return why this message gets no reply of the bot's, ever."""
    if record.answered_by_person(row, one):  # while a reply to it was looked for in vain
        return HUMAN
    if account.state == AccountState.DISCONNECTED:
        return Skip.DISCONNECTED
    if now >= row.window_closes_at:
        return Skip.WINDOW_CLOSED
    if now - one.at > policy.stale:
        return Skip.STALE
    if not one.asked_for and over_pause(row, account, one, now=now):
        return Skip.PAUSED
    if paused_until(row, account, now=now):
        return None  # kept until the pause is over: Resume may want it answered
    if row.opted_out and not one.stop:
        return Skip.OPTED_OUT
    return None


def over_pause(row: Conversation, account: Account, one: Pending, *, now: int) -> bool:
    """Whether a pause that is over covered the message's time."""
    ended = [pause for pause in (*row.pauses, *account.pauses) if pause.since < pause.until <= now]
    return any(one.at < pause.until for pause in ended)


def pause_over(row: Conversation, now: int) -> int | None:
    """Return when to look again; the account's own pause is kept by its row, which no claim gets past."""
    until = paused_until(row, now=now) or now
    return None if until == FOREVER else until


def reason_to_wait(row: Conversation, account: Account, *, now: int, policy: Policy) -> tuple[int | None, Wait] | None:
    """Return until when the unanswered messages wait, and for what."""
    if row.failed:
        return None, Wait.BACK_OFF
    if not row.unanswered:
        return None
    if paused_until(row, account, now=now):
        return pause_over(row, now), Wait.PAUSED
    if record.quiet_until(row, policy) > now:
        return record.quiet_until(row, policy), Wait.QUIET
    if row.retry_at > now:
        return row.retry_at, Wait.BACK_OFF
    budget = budget_until(row, now=now, policy=policy)
    return (budget, Wait.OVER_BUDGET) if budget > now else None


def budget_until(row: Conversation, *, now: int, policy: Policy) -> int:
    """Return when this person may get the next reply; 0 means off for either limit."""
    until = 0
    for limit, span in ((policy.per_hour, HOUR), (policy.per_day, DAY)):
        recent = sorted(at for at in row.replied_at if at > now - span)
        if limit and len(recent) >= limit:
            until = max(until, recent[-limit] + span)
    return until


def rest(row: Conversation, until: int | None, reason: Wait | None, *, now: int, times: Times) -> Rest:
    """End the pass. What waits in the background (unknown parts of older replies) may wake it earlier."""
    checks = [part.check_at for _, part in ledger.unknown_parts(row)]
    if checks and (until is None or min(checks) < until):
        until, reason = min(checks), reason or Wait.UNKNOWN_SEND
    telling = next_telling(row)
    if telling is not None and (until is None or telling < until):
        until, reason = telling, reason or Wait.BACK_OFF
    if until is not None:
        until = max(until, now + times.pass_floor)
    recent = tuple(at for at in row.replied_at if at > now - DAY)
    open_still = bool(row.unanswered) or row.reply is not None
    failed = row.failed and open_still  # whom a person answered, nobody needs to look after any more
    superseded = row.superseded if row.unanswered else 0  # what was to be answered has been dealt with
    return Rest(replace(row, due_at=until, waiting_for=reason, replied_at=recent, failed=failed, superseded=superseded))


def state_of(row: Conversation, account: Account, *, now: int) -> State:
    """Return the one word that people see."""
    if row.failed:
        return State.FAILED
    if row.held or (row.reply and any(part.state is PartState.HELD for part in row.reply.parts)):
        return State.HELD
    if row.lease_until > now:
        return State.WORKING
    if paused_until(row, account, now=now):
        return State.PAUSED
    if row.due_at is None:
        return State.IDLE
    return State.DUE if row.due_at <= now and held_for(account, now=now) is None else State.WAITING


def shown_wait(row: Conversation, account: Account, *, now: int) -> Wait | None:
    """Return what people see a conversation wait for: what keeps its whole account silent goes before its own."""
    if row.due_at is not None and paused_at(account, now):
        return Wait.PAUSED
    held = None if row.due_at is None or paused_at(row, now) else held_for(account, now=now)
    return row.waiting_for if held is None else wait_of(held)
