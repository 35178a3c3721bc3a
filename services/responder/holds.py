"""What keeps an account's conversations from being worked on: faults of the account, met by calls. Rules only."""

from __future__ import annotations

from msgspec.structs import replace

from services.common.account_state import AccountState
from services.responder.account import Account, HoldReason
from services.responder.model import Wait

UNPROBED = frozenset({HoldReason.RATE_LIMITED})
"""Holds that simply run out; the others let one probe a minute through."""


def held(row: Account, reason: HoldReason, until: int, *, now: int, probed: bool) -> Account:
    """Return the account held until then; a hold that lasts longer stays as it is, with its reason.

    Conversations that were under way together meet one limit together: that is one step, not many. What a probe meets
    takes the place of what was probed.
    """
    runs = row.hold is not None and now < row.hold_until and not probed
    if runs and row.hold_until >= until:
        return row
    together = runs and row.hold is reason
    return replace(row, hold=reason, hold_until=until, hold_step=row.hold_step + (not together))


def freed(row: Account) -> Account:
    """Return the account with nothing that holds it."""
    return replace(row, hold=None, hold_until=0, hold_step=0)


def given_back(row: Account, probe: int, *, now: int) -> Account:
    """Return the account with a probe given back that told nothing: the next one may go now."""
    untold = row.hold is not None and row.hold_until == probe
    return replace(row, hold_until=min(probe, now)) if untold else row


def held_for(row: Account, *, now: int) -> HoldReason | None:
    """Why nothing but a probe is sent for the account now, None when nothing holds it."""
    over = now >= row.hold_until and row.hold in UNPROBED
    return None if over or row.state == AccountState.DISCONNECTED else row.hold


def wait_of(reason: HoldReason) -> Wait:
    """Return what a conversation waits for while its account is held."""
    return Wait.TOKEN_DEAD if reason == HoldReason.TOKEN_DEAD else Wait.ACCOUNT_LIMITED


def healed(row: Account, state: str) -> bool:
    """Whether the token service's word ends a hold that waited for it."""
    waited = row.hold in {HoldReason.TOKEN_DEAD, HoldReason.ACCOUNT_LIMITED}
    return waited and row.state != AccountState.ACTIVE and state == AccountState.ACTIVE
