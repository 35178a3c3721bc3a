"""What a failed call to Instagram means for the part, the account and the conversation. Rules only.

The table is Meta's error codes as services/common/graph_errors.py reads them.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.common.graph import GraphFailure
from services.common.graph_errors import Fault
from services.common.graph_usage import Usage
from services.responder.account import HoldReason
from services.responder.posted import Posted, PostResult
from services.responder.times import Times

REPORTED = frozenset({Fault.TOKEN_DEAD, Fault.APP_REMOVED, Fault.ACCOUNT_LIMITED, Fault.SETUP})
"""Faults that the token service must hear of: it alone decides what they mean for the account."""

LATER = {
    Fault.RATE_LIMITED: HoldReason.RATE_LIMITED,
    Fault.APP_LIMITED: HoldReason.RATE_LIMITED,
    Fault.BLOCKED: HoldReason.RATE_LIMITED,
    Fault.TOKEN_DEAD: HoldReason.TOKEN_DEAD,
    Fault.APP_REMOVED: HoldReason.TOKEN_DEAD,
    Fault.ACCOUNT_LIMITED: HoldReason.ACCOUNT_LIMITED,
    Fault.SETUP: HoldReason.ACCOUNT_LIMITED,
}
"""Faults of the account, not of the message: the message goes out when the account can send again."""


SLOW_FROM = 0.8
"""The share of a limit from which an account goes slower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consequence:
    """What follows from a failure: for the part, and how long the account is held (ms), if it is."""

    result: PostResult
    hold: HoldReason | None = None
    hold_for: int = 0
    whole_app: bool = False
    report: bool = False
    pause: bool = False  # another app has this conversation, or Instagram has had enough of it


def consequence(failure: GraphFailure, *, step: int, back_off: int, times: Times) -> Consequence:
    """Return what a failed send leads to. `step` counts the account's limits in a row."""
    fault = failure.fault
    hold = LATER.get(fault) if failure.error else None
    code = str(failure.error) if failure.error else str(failure)
    return Consequence(
        result=PostResult(posted=posted(failure), error=code, wait=0 if hold else back_off),
        hold=hold,
        hold_for=hold_for(failure, step=step, times=times) if hold else 0,
        whole_app=fault is Fault.APP_LIMITED,
        report=fault in REPORTED,
        pause=fault in {Fault.NOT_THREAD_OWNER, Fault.PERSON_LIMITED},
    )


def posted(failure: GraphFailure) -> Posted:
    """Return what became of the message itself."""
    if not failure.refused:
        return Posted.UNKNOWN
    if failure.error is None or failure.fault in LATER or failure.fault is Fault.TRANSIENT:
        return Posted.NOT_SENT
    return Posted.REFUSED


def slow_for(usage: Usage, *, times: Times) -> int:
    """Return how long (ms) an account takes a breath after an answer that shows how much of a limit is used up.

    Nothing below 80 %, then from a second to a minute; so that Meta never has to say it.
    """
    used = min(usage.percent, 100.0) / 100
    if used < SLOW_FROM:
        return 0
    if used >= 1 and usage.regain_seconds is not None:
        return int(usage.regain_seconds * 1000)
    share = (used - SLOW_FROM) / (1 - SLOW_FROM)
    return int(times.pass_floor + share * (times.limited_for - times.pass_floor))


def hold_for(failure: GraphFailure, *, step: int, times: Times) -> int:
    """Return how long the account waits before its next call, in ms."""
    if failure.fault is Fault.BLOCKED:
        return times.blocked_for
    if failure.usage.regain_seconds is not None:
        return int(failure.usage.regain_seconds * 1000)
    if failure.fault in {Fault.RATE_LIMITED, Fault.APP_LIMITED}:
        return int(min(times.limited_for * 2**step, times.limited_at_most))
    return times.probe_every
