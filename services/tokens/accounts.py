"""What the token service knows of an account. Frozen: rules make new ones, stores keep them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.common.account_state import AccountState

TOKEN_FIELD = "token"  # noqa: S105 - the field's name, to which its ciphertext is bound


@dataclass(frozen=True, slots=True)
class Sealed:
    """A token's text, encrypted; `key_id` names the key that opens it."""

    key_id: str
    blob: bytes


@dataclass(frozen=True, slots=True)
class Token:
    """An account's token. `version` grows with each text that is stored, for ever."""

    sealed: Sealed
    version: int
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Plan:
    """When the account wants attention; None is never."""

    refresh_at: datetime | None = None
    probe_at: datetime | None = None
    subscription_at: datetime | None = None
    alert_at: datetime | None = None

    @property
    def watch_at(self) -> datetime | None:
        """The earliest of everything but the refresh, which has a pace of its own."""
        return min((at for at in (self.probe_at, self.subscription_at, self.alert_at) if at), default=None)


@dataclass(frozen=True, slots=True)
class Alert:
    """A change of state that the operator has not been told yet."""

    id: str
    state: AccountState
    reason: str
    at: datetime
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Account:
    """One connected (or once connected) Instagram account; its key is the professional id."""

    account: str
    app_scoped_id: str
    username: str
    connected_at: datetime
    state: AccountState = AccountState.ACTIVE
    reason: str = ""
    state_at: datetime | None = None
    token: Token | None = None
    last_version: int = 0
    scopes: tuple[str, ...] = ()
    plan: Plan = Plan()
    subscribed_fields: tuple[str, ...] = ()
    subscription_checked_at: datetime | None = None
    rejected_at: datetime | None = None  # Instagram and a probe agree that the token is dead; the brake may hold
    probed_at: datetime | None = None
    probes: int = 0  # since the state was last good for a whole day
    failures: int = 0  # refreshes that failed in a row
    lease_until: datetime | None = None
    fence: int = 0
    alerts: tuple[Alert, ...] = ()  # the oldest first
    former: tuple[str, ...] = ()  # professional ids that it had before; the responder's data of then is under them


@dataclass(frozen=True, slots=True)
class Fresh:
    """A token's text as Instagram just gave it; `lives` is in seconds."""

    text: str
    lives: float
    exact: bool = True  # False: Instagram did not say, and the first refresh will tell

    def __repr__(self) -> str:
        """Say how long it lives and nothing else."""
        return f"Fresh(lives={self.lives})"


@dataclass(frozen=True, slots=True)
class Grant:
    """What an OAuth code was traded for. `scopes` is None when Instagram did not say."""

    text: str
    scopes: tuple[str, ...] | None
    app_scoped_id: str = ""

    def __repr__(self) -> str:
        """Say what was granted and nothing else."""
        return f"Grant(scopes={self.scopes})"


@dataclass(frozen=True, slots=True)
class Profile:
    """Whose token it is: both ids, each a string. `account` is empty for one that is not professional."""

    account: str
    app_scoped_id: str
    username: str


@dataclass(frozen=True, slots=True)
class Summary:
    """All accounts at one moment, for gauges and the brake."""

    by_state: dict[AccountState, int]
    least_expiry: dict[AccountState, datetime]
    last_refresh: datetime | None
    rejected: int  # suspected now, or turned within the brake's window
    unsubscribed: int = 0  # active, but Instagram delivers no messages
