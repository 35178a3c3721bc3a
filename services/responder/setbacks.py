"""What follows for a row when a pass cannot go on: when to look again, when the conversation has failed. Rules only."""

from __future__ import annotations

from msgspec.structs import replace

from services.common.errors import Unavailable
from services.responder.account import HoldReason
from services.responder.holds import wait_of
from services.responder.model import Conversation, Handover, NeedsPerson, Wait
from services.responder.outside import AccountHeld, BreakerOpen, ModelRefused
from services.responder.times import Policy, Times


def set_back(
    row: Conversation, error: Exception, *, now: int, jitter: float, times: Times, policy: Policy
) -> Conversation:
    """Return the row after an error: an outage only delays it, a fault of its own fails it at last.

    `jitter` is a random number from 0 to 1.
    """
    own_fault = isinstance(error, ModelRefused) or not isinstance(error, (Unavailable, TimeoutError))
    until = now + back_off(row.tries if own_fault else row.backed_off, jitter=jitter, times=times)
    row = replace(
        row,
        tries=row.tries + own_fault,
        backed_off=row.backed_off + (not own_fault),
        retry_at=until,
        last_error=type(error).__name__,
    )
    if own_fault and row.tries >= policy.max_tries:
        if row.failed:
            return replace(row, due_at=None, waiting_for=Wait.BACK_OFF)
        news = Handover(reason=NeedsPerson.FAILED, subject=str(row.version))
        row = replace(row, failed=True, handovers=(*row.handovers, news))
        return replace(row, due_at=now + times.pass_floor, waiting_for=Wait.BACK_OFF)  # once more, to tell of it
    return replace(row, due_at=until, waiting_for=wait_for(error))


def set_back_too(newest: Conversation, row: Conversation) -> Conversation:
    """Return a row that was written meanwhile with this one's setback; with news it is not given up."""
    return replace(
        newest,
        tries=row.tries,
        backed_off=row.backed_off,
        retry_at=row.retry_at,
        last_error=row.last_error,
        failed=row.failed and newest.version == row.version,
        handovers=row.handovers if row.failed and newest.version == row.version else newest.handovers,
        due_at=row.retry_at,
        waiting_for=row.waiting_for,
    )


def back_off(step: int, *, jitter: float, times: Times) -> int:
    """Return the next wait in ms: doubling from a second to five minutes, with full jitter."""
    top = min(times.back_off_first * 2 ** min(step + 1, 20), times.back_off_at_most)
    return times.back_off_first + int(jitter * (top - times.back_off_first))


def wait_for(error: Exception) -> Wait:
    """Return what the conversation waits for after this error."""
    if isinstance(error, BreakerOpen):
        return Wait.BREAKER_OPEN
    if isinstance(error, AccountHeld):
        return wait_of(HoldReason(str(error)))
    return Wait.BACK_OFF
