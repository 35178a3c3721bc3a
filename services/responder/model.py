"""What the responder keeps of a conversation: its row, with the reply in hand. Messages and accounts have their own.

Times are milliseconds since 1970 by the store's clock, but for `at`, which is Instagram's timestamp. Ids are strings.
A conversation is one row (account, person); everything that must change together stands in it, so that no change
ever needs a transaction over several documents. The other collections follow the row: see `marks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.responder.message import Author, Kept

FOREVER = 2**63 - 1
"""A pause without an end: until somebody resumes."""


class Wait(StrEnum):
    """What a conversation waits for; closed words, the same in RPCs, logs and the command line."""

    QUIET = "quiet"
    PAUSED = "paused"
    OVER_BUDGET = "over_budget"
    TOKEN_DEAD = "token_dead"  # noqa: S105 - a state, not a password
    ACCOUNT_LIMITED = "account_limited"
    BACK_OFF = "back_off"
    BREAKER_OPEN = "breaker_open"
    UNKNOWN_SEND = "unknown_send"


class State(StrEnum):
    """What a person sees of a conversation; derived, never stored by hand."""

    IDLE = "idle"
    DUE = "due"
    WORKING = "working"
    WAITING = "waiting"
    PAUSED = "paused"
    FAILED = "failed"
    HELD = "held"


class PartState(StrEnum):
    """Where one part of a reply is: ready → sending → sent | refused | unknown → (sent | ready | held); dropped."""

    READY = "ready"
    SENDING = "sending"
    SENT = "sent"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    HELD = "held"
    DROPPED = "dropped"


class Pending(Kept, frozen=True, kw_only=True):
    """A customer's message that has no answer yet. `edit` is the version of the text that counts."""

    key: str
    mid: str
    at: int
    recorded_at: int
    edit: int = 0
    stop: bool = False  # a stop word: gets one confirmation
    asked_for: bool = False  # Resume(answer_pending) wants it answered although it came in a pause
    request: str = ""  # the id that follows its delivery through the logs


class Pause(Kept, frozen=True, kw_only=True):
    """The bot stays silent from `since` to `until`. `mid` is the echo that made it, empty for an operator's pause."""

    since: int
    until: int
    mid: str = ""


class Opt(Kept, frozen=True, kw_only=True):
    """A stop or start word; of several the latest by Instagram's timestamp counts."""

    at: int
    key: str
    stop: bool


class NeedsPerson(StrEnum):
    """Why a conversation needs a person, or has one."""

    FAILED = "failed"
    HELD = "held"
    TAKEN_OVER = "taken_over"


class Handover(Kept, frozen=True, kw_only=True):
    """News for HANDOVER_URL. `subject` (a mid, a reply, a version) tells two of a kind apart, when repeated too."""

    reason: NeedsPerson
    subject: str
    quick: bool = False  # a takeover within seconds of the customer's message: perhaps a machine's
    tries: int = 0  # how often it was sent
    tell_at: int = 0  # when to send it, or to send it again


class Echo(Kept, frozen=True, kw_only=True):
    """A message from the business that may be ours or a person's; nobody knows yet."""

    key: str
    mid: str
    at: int
    sha256: str


class Part(Kept, frozen=True, kw_only=True):
    """One message of a reply, at most 1,000 bytes of text."""

    n: int
    text: str
    sha256: str  # of the folded text
    state: PartState = PartState.READY
    mid: str = ""
    attempt: int = 0  # how often `sending` was written
    sending_at: int = 0
    first_at: int = 0  # when `sending` was first written
    not_before: int = 0  # back-off
    resent: int = 0  # how often it went from unknown back to ready
    absent_at: int = 0  # the first successful read that did not show it
    unreadable_since: int = 0
    check_at: int = 0  # when to look for it next
    error: str = ""


class Reply(Kept, frozen=True, kw_only=True):
    """A reply in hand or, in `sends`, a finished one."""

    id: str
    account: str
    person: str
    author: Author
    answers: tuple[Pending, ...]
    parts: tuple[Part, ...]
    created_at: int
    version: int  # the row's version when the text was written
    final: bool = False  # superseded twice: goes without the version test
    confirms: bool = False  # the confirmation of an opt-out
    fallback: bool = False  # FALLBACK_TEXT in place of the model's words
    human_agent: bool = False  # a person wrote it: after the 24 hours it goes under this tag
    outcome: str = ""
    stopped: str = ""  # why no further part may go out, once some part may have
    unsettled: bool = False  # in `sends` while nobody knows whether its unknown part arrived


class Mark(Kept, frozen=True, kw_only=True):
    """A change of a message's `answered_by` that the row has decided and the message may not show yet.

    `was` is what it must be now: empty for unanswered, a reply's id when that reply turned out never to have arrived.
    """

    key: str
    answered_by: str
    was: str = ""


class Conversation(Kept, frozen=True, kw_only=True):
    """One row. Every write of it is conditional on `rev`, so each rule sees exactly what it changes."""

    account: str
    person: str
    rev: int = 0  # 0: not stored yet
    version: int = 0
    owner: str = ""
    fence: int = 0
    lease_until: int = 0
    due_at: int | None = None
    waiting_for: Wait | None = None
    unanswered: tuple[Pending, ...] = ()
    reply: Reply | None = None
    unsettled: tuple[Reply, ...] = ()  # replies that moved to `sends` with an unknown part
    undecided: tuple[Echo, ...] = ()
    marks: tuple[Mark, ...] = ()
    pauses: tuple[Pause, ...] = ()
    resumed_at: int = 0
    opted_out: bool = False
    opts: tuple[Opt, ...] = ()  # the stop and start words, oldest first; the last one counts
    window_closes_at: int = 0
    superseded: int = 0
    tries: int = 0  # faults of this conversation's own, in a row
    backed_off: int = 0  # outages met, in a row
    retry_at: int = 0  # back-off: nothing is tried before
    failed: bool = False
    last_error: str = ""
    replied_at: tuple[int, ...] = ()  # the bot's replies of the last day, for the budgets
    held: tuple[str, ...] = ()  # ids of held replies
    handovers: tuple[Handover, ...] = ()  # news, until they are delivered
    greeted: bool = False  # the history before our first event was looked at
    erased_at: int = 0  # what was said until then was erased and stays so
    fell_back: bool = False  # FALLBACK_TEXT was the last thing that the bot said
    username: str = ""
    profile_at: int = 0
    last_at: int = 0  # the newest message's timestamp, whoever wrote it


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Store-wide figures for the gauges."""

    due: int
    due_oldest_at: int | None
    held: int
    failed: int = 0
