"""What the gateway's use cases need from the world."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Protocol

from services.common.errors import BotError, Unavailable
from services.gateway.events import Event, Reason


class InboxFull(Unavailable):
    """Redis has no room: what is left is for draining it."""


class ResponderFault(BotError):
    """The responder failed at this call: one of its events is the cause."""


class ResponderDown(Unavailable):
    """The responder cannot take anything now."""


class ResponderSlow(ResponderDown):
    """The responder did not manage this call in time or in size; a smaller one may do."""


class Inbox(Protocol):
    """Where deliveries are kept before they are answered 200."""

    def keep(self, body: bytes, request: str) -> Future[None]:
        """Return a future that is done when the body is safe; InboxFull or Unavailable when it is not.

        `request` is kept with it: the id that follows the delivery through all logs.
        """


@dataclass(frozen=True, slots=True)
class Entry:
    """A delivery as the inbox keeps it."""

    id: str
    at_ms: int
    body: bytes
    request: str = ""  # the id that follows it through all logs


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What was put aside, and why; `body` can be posted again as it is."""

    reason: Reason
    source: str  # the entry's id in the inbox
    at_ms: int
    account: str
    person: str
    mids: tuple[str, ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Finished:
    """A delivery whose every event has its final verdict."""

    id: str
    dead: tuple[DeadLetter, ...] = ()


class Stream(Protocol):
    """The inbox as the dispatcher reads it; everything raises Unavailable, and GroupLost when the group is gone."""

    async def fresh(self, count: int, wait: float, finished: Sequence[Finished] = ()) -> list[Entry]:
        """Return new entries, after at most `wait` seconds; they are pending from now on.

        First finish deliveries that leave no dead letters.
        """

    async def pending(self, after: str, count: int) -> list[str]:
        """Return ids of entries that were read and not finished, from the oldest after `after`."""

    async def fetch(self, ids: Sequence[str]) -> list[Entry]:
        """Return the entries of these ids that are still there."""

    async def drop_pending(self, ids: Sequence[str]) -> None:
        """Acknowledge entries that are pending and no longer there."""

    async def finish(self, finished: Sequence[Finished]) -> None:
        """Put dead letters aside, acknowledge and delete, all or nothing for each delivery."""

    async def create(self) -> bool:
        """Make the group; say whether it was missing. Then a look for lost messages is wanted, also if nobody hears."""


class DeadLetters(Protocol):
    """What was put aside."""

    async def scrub(self, mids: Sequence[str]) -> None:
        """Delete every dead letter that holds one of these messages: they were taken back."""

    async def erase(self, accounts: Sequence[str]) -> None:
        """Delete every dead letter of these accounts."""


class GroupLost(Unavailable):
    """The stream or its group was deleted."""


class Lease(Protocol):
    """Who is the active dispatcher."""

    async def take(self) -> bool:
        """Take or renew the lease; say whether it is ours now."""

    async def release(self) -> None:
        """Give it up if it is ours."""


class Question(Protocol):
    """Whether a look for lost messages is wanted, kept where the next gateway finds it; all raises Unavailable."""

    async def keep(self) -> None:
        """Remember that a look is wanted."""

    async def is_open(self) -> bool:
        """Whether a look is wanted that nobody has answered for."""

    async def close(self) -> None:
        """Forget it: there was a look."""


class Outcome(Enum):
    """What became of an event. The numbers are those of protos/responder.proto."""

    STORED = 1
    DUPLICATE = 2
    IGNORED = 3
    UNKNOWN_ACCOUNT = 4
    INVALID = 5
    LATER = 6


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the responder says of an event."""

    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True)
class GapCheck:
    """What a look for lost messages came to: how many were missing, and how many accounts could not be looked at."""

    found: int
    skipped: int


class Responder(Protocol):
    """The responder; raises ResponderDown, ResponderSlow or ResponderFault."""

    async def deliver(self, events: Sequence[tuple[Entry, Event]]) -> list[Verdict]:
        """Hand over events, each with the id of its delivery; one verdict each, in order."""

    async def check_gaps(self) -> GapCheck:
        """Compare every account's recent messages with the store, and record those that are missing."""

    async def erase(self, account: str) -> None:
        """Erase everything about an account."""


@dataclass(frozen=True, slots=True)
class Spent:
    """A state that a callback came with: whether for the first time, and the digest of its invitation, if any."""

    first: bool
    invite: str


class States(Protocol):
    """OAuth states: each lives ten minutes, belongs to one browser and counts once."""

    async def begin(self, nonce: str, browser: str, invite: str) -> None:
        """Remember a state, the digest of its browser's secret, and the invitation that it came with."""

    async def spend(self, nonce: str, browser: str) -> Spent:
        """Spend a state; raises BadState when it is unknown, expired or another browser's."""

    async def settle(self, nonce: str, outcome: str) -> None:
        """Keep what came of it for a second callback."""

    async def outcome(self, nonce: str) -> str | None:
        """Return what came of it, None while that is not known."""


class Doorkeeper(Protocol):
    """Who may connect an account."""

    async def wrong_tries(self, address: str, *, another: bool) -> int:
        """Return how many wrong passwords came from an address in the last minute, before `another` that is counted."""

    async def claim(self, invite: str, browser: str) -> float | None:
        """Return the seconds that an invitation (by its digest) is good for its first browser; None for any other."""

    async def take(self, invite: str, browser: str) -> bool:
        """Take an invitation that is this browser's, so that nobody else can for two minutes; say whether that went."""

    async def give_back(self, invite: str) -> None:
        """Make an invitation good again: no account was connected with it."""

    async def spend(self, invite: str) -> None:
        """End an invitation: its account is connected."""


class ConnectFault(StrEnum):
    """Why an account could not be connected: closed words, each with its own page."""

    CODE_SPENT = "code_spent"
    SETUP = "setup"
    MISSING_SCOPES = "missing_scopes"
    NOT_PROFESSIONAL = "not_professional"
    REFUSED = "refused"
    UPSTREAM = "upstream"
    UNFINISHED = "unfinished"  # nobody heard what became of it: the account may yet be connected


class ConnectFailed(BotError):
    """An account could not be connected."""

    def __init__(self, fault: ConnectFault, detail: str = "") -> None:
        """Keep why, and what the token service said in plain words."""
        super().__init__(detail or fault.value)
        self.fault = fault
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Connected:
    """An account that is connected, and the webhook fields that Meta left out."""

    username: str
    missing_fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dropped:
    """What became of an account that was to be disconnected."""

    accounts: tuple[str, ...]  # its professional id and those it had before; none when it was never known
    connected_again: bool = False  # after that was asked for: it stays


class Tokens(Protocol):
    """The token service."""

    async def connect(self, code: str) -> Connected:
        """Trade a code for an account; raises ConnectFailed."""

    async def disconnect(self, account: str, reason: str, asked_ms: int) -> Dropped:
        """Drop an account's token, unless it was connected after `asked_ms`."""

    async def forget(self, app_scoped_id: str) -> None:
        """Erase a disconnected account."""


@dataclass(frozen=True, slots=True)
class Task:
    """A request of Meta's that is kept until it is done; `accounts` is filled in on the way."""

    id: str
    kind: str  # deauthorize, deletion
    user: str
    code: str
    mark: str
    accounts: tuple[str, ...] = ()  # professional ids: of now, and those before
    asked_ms: int = 0  # the newest, when the owner asked several times


@dataclass(frozen=True, slots=True)
class DeletionStatus:
    """How far a deletion is."""

    done: bool
    at_ms: int
    done_at_ms: int = 0
    kept: bool = False  # the account was connected again meanwhile, so nothing was erased


class Tasks(Protocol):
    """Requests that must outlive any process."""

    async def add(self, kind: str, user: str, code: str, marks: Sequence[str], asked_ms: int) -> str:
        """Keep a request under its first mark; return its code.

        Or that of the same, by any of its marks, that is still open, or was done later.
        """

    async def open(self) -> list[Task]:
        """Return all requests that are not done, the oldest first."""

    async def note_accounts(self, task: Task, accounts: Sequence[str]) -> None:
        """Write the professional ids to the request."""

    async def done(self, task: Task, *, kept: bool) -> bool:
        """Delete a request; its status says done, or kept, from now on, and as long it is not done a second time.

        False, and nothing is changed, when its owner has asked anew since it was read.
        """

    async def status(self, code: str) -> DeletionStatus | None:
        """Return how far a deletion is."""

    async def rewrite(self) -> None:
        """Have Redis write its file anew, without what was deleted."""
