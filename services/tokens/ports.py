"""What the token service needs of the world outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from random import Random
from typing import Protocol

from services.common.errors import Unavailable
from services.common.findings import Finding
from services.tokens.accounts import Account, Alert, Fresh, Grant, Profile, Sealed, Summary

Rule = Callable[[Account], Account | None]
"""A pure function to the account as it shall be; None leaves it as it is. It may run more than once."""


def always(_: Account) -> bool:
    """Agree to any row."""
    return True


class Chore(StrEnum):
    """What an account is claimed for."""

    REFRESH = "refresh"
    WATCH = "watch"


class Accounts(Protocol):
    """The accounts as they are kept. Unavailable when the store does not answer."""

    async def find(self, account: str) -> Account | None:
        """Return the account with this id, professional or app-scoped."""

    async def all(self) -> Sequence[Account]:
        """Return every account, by its professional id."""

    async def put(
        self, account: str, make: Callable[[Account | None], Account], *, in_place_of: str | None = None
    ) -> Account:
        """Store what `make` gives for the account as it is, or None; Refused when its app-scoped id is another's.

        The account `in_place_of`, if it is there, makes room for it. Where that takes two steps, and the second fails,
        whoever calls again gets the same.
        """

    async def change(self, account: str, rule: Rule) -> Account:
        """Apply a rule at once and for good; UnknownAccount when there is none. What the rule raises comes out."""

    async def forget(self, account: str, *, when: Callable[[Account], bool] = always) -> bool:
        """Erase the account, and its traces in the store's files, if `when` agrees to its row; say whether it did."""

    async def examine(self) -> list[Finding]:
        """Look at the store itself: a write, its indexes, its replicas."""


class Rota(Protocol):
    """The work that is due, shared among all replicas."""

    async def claim(self, chore: Chore, *, now: datetime, until: datetime) -> Account | None:
        """Lease the account that has waited longest for this chore, under a new fence."""

    async def turn(self, now: datetime) -> datetime:
        """Reserve the next moment at which a refresh may start; all replicas share one pace."""

    async def planned(self, windows: Sequence[tuple[datetime, datetime]]) -> Sequence[int]:
        """Count the refreshes planned within each window."""

    async def summary(self, rejected_since: datetime) -> Summary:
        """Count the accounts by state, and those whose token was rejected lately."""


class KeyUnavailable(Unavailable):
    """The key that a token was encrypted with is not in the folder; the account itself is fine."""


class Unreadable(Unavailable):
    """A stored token does not open with its key: it was altered, or moved from another row."""


class Keys(Protocol):
    """Encryption at rest."""

    @property
    def current(self) -> str:
        """The id of the key that encrypts."""

    def seal(self, account: str, field: str, text: str) -> Sealed:
        """Encrypt a field of an account."""

    def open(self, account: str, field: str, sealed: Sealed) -> str:
        """Decrypt it; raises KeyUnavailable and Unreadable."""


class Grants(Protocol):
    """Instagram as it gives out tokens. GraphFailure says what went wrong."""

    async def exchange(self, code: str, redirect_uri: str) -> Grant:
        """Trade an OAuth code for a token of an hour."""

    async def lengthen(self, token: str) -> Fresh:
        """Trade a token of an hour for one of sixty days."""

    async def refresh(self, token: str) -> Fresh:
        """Trade a token of sixty days for another sixty."""


class Instagram(Protocol):
    """Instagram as an account's token opens it. GraphFailure says what went wrong."""

    async def profile(self, token: str) -> Profile:
        """Read whose token it is."""

    async def look_at_messages(self, token: str) -> None:
        """Fail as reading the account's messages fails."""

    async def subscribe(self, token: str, fields: Sequence[str]) -> None:
        """Ask for webhooks of these fields."""

    async def subscribed(self, token: str) -> tuple[str, ...]:
        """Read which fields' webhooks are sent."""

    async def unsubscribe(self, token: str) -> None:
        """Ask for no more webhooks."""


class Alerts(Protocol):
    """Whoever wants to know when an account changes."""

    async def tell(self, account: Account, alert: Alert) -> None:
        """Deliver one alert; Unavailable when that did not work."""


class Clock(Protocol):
    """The time, as an argument."""

    def now(self) -> datetime:
        """Return the time of day, in UTC."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything that the use cases are given, in one hand."""

    accounts: Accounts
    rota: Rota
    keys: Keys
    grants: Grants
    instagram: Instagram
    clock: Clock
    chance: Random
