"""What is known of an account: who it is, what the token service says of it, and what holds its conversations."""

from __future__ import annotations

from enum import StrEnum

from services.responder.message import Kept
from services.responder.model import Pause


class HoldReason(StrEnum):
    """Why an account's conversations are not worked on."""

    TOKEN_DEAD = "token_dead"  # noqa: S105 - a state, not a password
    ACCOUNT_LIMITED = "account_limited"
    RATE_LIMITED = "rate_limited"


class Account(Kept, frozen=True, kw_only=True):
    """What the responder knows of an account: both ids, the tokens service's word, and what holds it."""

    account: str
    app_scoped_id: str = ""
    username: str = ""
    state: str = "active"
    seen_at: int = 0  # when tokens last said so
    connected_at: int = 0
    hold: HoldReason | None = None
    hold_until: int = 0  # a probe may go out then
    hold_step: int = 0  # how often the hold was prolonged
    pauses: tuple[Pause, ...] = ()
    resumed_at: int = 0  # the last Resume of the whole account; it goes for each conversation
    speaking: tuple[str, ...] = ()  # the people to whom somebody's own words wait: no pause stops those
    answer_pending: bool = False  # the last Resume wants the newest message answered
    rev: int = 0
