"""What may happen to an account, as functions from one account to the next. Rules only: nothing here waits.

    connect ──▶ active ◀──────────── probe answers ───────────┐
                  │ ├─ dead, a probe agrees, no brake ─▶ reauthorize ─┐
                  │ └─ Instagram limits it ───────────▶ limited ──────┤ (dead: reauthorize)
                  └──────────── disconnect ─────────────────▶ disconnected ──▶ connect

A rule that does not apply (an old version, a state that has moved on) returns None: nothing changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.common.account_state import AccountState
from services.common.errors import Unavailable
from services.tokens import schedule
from services.tokens.accounts import Account, Alert, Plan, Profile, Sealed, Token

BRAKE_WINDOW = timedelta(minutes=10)
BRAKE_HOLDS = timedelta(hours=24)
PROBES_FORGOTTEN = timedelta(hours=24)
ALERTS_KEPT = 10
LIVE = frozenset({AccountState.ACTIVE, AccountState.LIMITED})
ILL = frozenset({AccountState.REAUTHORIZE, AccountState.LIMITED})


class LostLease(Unavailable):
    """Another worker took this account over; what this one found out is not written."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A token ready to be stored, with the plan that comes with it."""

    sealed: Sealed
    at: datetime
    expires_at: datetime
    refresh_at: datetime


def connected(
    old: Account | None,
    profile: Profile,
    token: Stored,
    *,
    scopes: tuple[str, ...],
    subscription_at: datetime,
    former: Sequence[str] = (),
) -> Account:
    """The account after its owner agreed: a new one, or the old one with everything that was learnt renewed.

    `former` are the ids under which the owner was known, if that was under others.
    """
    base = old or Account(profile.account, profile.app_scoped_id, profile.username, connected_at=token.at)
    renewed = replace(
        base,
        app_scoped_id=profile.app_scoped_id,
        username=profile.username,
        connected_at=token.at,
        scopes=scopes,
        rejected_at=None,
        probes=0,
        failures=0,
        # A refresh that is under way read the token before this one: its write must be refused.
        fence=base.fence + 1,
        lease_until=None,
        former=tuple(one for one in dict.fromkeys((*base.former, *former)) if one != base.account),
    )
    active = _to(_with_token(renewed, token), AccountState.ACTIVE, "", token.at)
    return replace(active, plan=replace(active.plan, probe_at=None, subscription_at=subscription_at))


def _with_token(account: Account, token: Stored) -> Account:
    version = account.last_version + 1
    return replace(
        account,
        token=Token(token.sealed, version, token.at, token.expires_at),
        last_version=version,
        plan=replace(account.plan, refresh_at=token.refresh_at),
    )


def leased(account: Account, now: datetime, until: datetime) -> Account:
    """The account in the hands of one worker, under a new fence; Unavailable while another has it."""
    if schedule.is_leased(account.lease_until, now):
        raise Unavailable("the account is being worked on; try again in a minute")
    return replace(account, lease_until=until, fence=account.fence + 1)


def released(account: Account, fence: int) -> Account | None:
    """The account out of this worker's hands; unchanged when it is in another's."""
    return replace(account, lease_until=None) if account.fence == fence else None


def fenced(account: Account, fence: int) -> Account:
    """The account if it is still this worker's; LostLease otherwise."""
    if account.fence != fence:
        raise LostLease("another worker has this account now")
    return account


def refreshed(account: Account, fence: int, token: Stored) -> Account:
    """The account with its new token; whatever was held against the old one is over."""
    if fenced(account, fence).token is None:
        raise LostLease("the account was disconnected meanwhile")
    renewed = replace(_with_token(account, token), failures=0, rejected_at=None, lease_until=None)
    if account.state == AccountState.LIMITED:
        return renewed
    fine = _to(renewed, AccountState.ACTIVE, "", token.at)
    return replace(fine, plan=replace(fine.plan, probe_at=None, subscription_at=fine.plan.subscription_at or token.at))


def refresh_failed(account: Account, fence: int, retry_at: datetime) -> Account:
    """The account after a refresh that failed for no fault of its own."""
    mine = refresh_planned(account, fence, retry_at)
    return replace(mine, failures=mine.failures + 1)


def refresh_planned(account: Account, fence: int, refresh_at: datetime | None) -> Account:
    """The account with its refresh at another time; only what lives is refreshed."""
    due = refresh_at if fenced(account, fence).token is not None and account.state in LIVE else None
    return replace(account, lease_until=None, plan=replace(account.plan, refresh_at=due))


def doubted(account: Account, version: int, probe_at: datetime) -> Account | None:
    """The account with a probe due: somebody says that its token is dead, and nobody could check yet."""
    if not _lends(account, version):
        return None
    soonest = min(probe_at, account.plan.probe_at or probe_at)
    return replace(account, plan=replace(account.plan, probe_at=soonest))


def suspected(account: Account, version: int, *, now: datetime, probe_at: datetime) -> Account | None:
    """The account marked: a probe with the same token was rejected. Whether it turns is the brake's to say."""
    if account.last_version != version or account.token is None:
        return None
    marked = replace(account, rejected_at=account.rejected_at or now, probed_at=now, probes=account.probes + 1)
    return replace(marked, plan=replace(marked.plan, probe_at=probe_at))


def turned(account: Account, version: int, reason: str, *, now: datetime, probe_at: datetime) -> Account | None:
    """The account in `reauthorize`: only its owner, or a probe that succeeds, brings it back."""
    if not _lends(account, version) or account.rejected_at is None:
        return None
    dead = _to(account, AccountState.REAUTHORIZE, reason, now)
    return replace(dead, probes=0, plan=Plan(probe_at=probe_at, alert_at=dead.plan.alert_at))


def spared(account: Account, *, now: datetime, probe_at: datetime) -> Account | None:
    """The account back from `reauthorize`, because too many turned at once; it stays suspected."""
    if not turned_since(account, now - BRAKE_WINDOW) or held_long(account, now):
        return None
    back = _to(account, AccountState.ACTIVE, "", now)
    return replace(back, plan=replace(back.plan, refresh_at=probe_at, subscription_at=probe_at, probe_at=probe_at))


def turned_since(account: Account, moment: datetime) -> bool:
    """Whether the account turned `reauthorize` after a moment."""
    return account.state == AccountState.REAUTHORIZE and account.state_at is not None and account.state_at > moment


def limited(account: Account, version: int, reason: str, *, now: datetime, probe_at: datetime) -> Account | None:
    """The account in `limited`: the token lives and is kept alive, but Instagram lets it do nothing."""
    if not _lends(account, version):
        return None
    relapse = account.probed_at is not None and now - account.probed_at < PROBES_FORGOTTEN
    held = _to(account, AccountState.LIMITED, reason, now)
    plan = replace(held.plan, probe_at=probe_at, subscription_at=None)
    return replace(held, probes=account.probes if relapse else 0, rejected_at=None, plan=plan)


def still_ill(account: Account, version: int, *, now: datetime, probe_at: datetime) -> Account | None:
    """The account after a probe that changed nothing, or had no answer."""
    if account.last_version != version:
        return None
    plan = replace(account.plan, probe_at=probe_at)
    return replace(account, probed_at=now, probes=account.probes + 1, plan=plan)


def alive(account: Account, version: int, *, now: datetime, refresh_at: datetime) -> Account | None:
    """The account after a probe that succeeded: active, whatever was held against it."""
    if account.last_version != version or account.token is None or account.state == AccountState.DISCONNECTED:
        return None
    fine = _to(replace(account, rejected_at=None, probed_at=now), AccountState.ACTIVE, "", now)
    if account.state == AccountState.ACTIVE:
        return replace(fine, plan=replace(fine.plan, probe_at=None))
    due = fine.plan.refresh_at or refresh_at
    return replace(fine, plan=replace(fine.plan, probe_at=None, refresh_at=due, subscription_at=now))


def subscription_read(account: Account, fields: tuple[str, ...], *, now: datetime, next_at: datetime) -> Account | None:
    """The account with the webhook fields that Instagram says it sends."""
    if account.token is None:
        return None
    plan = replace(account.plan, subscription_at=next_at if account.state == AccountState.ACTIVE else None)
    return replace(account, subscribed_fields=fields, subscription_checked_at=now, plan=plan)


def subscription_later(account: Account, next_at: datetime) -> Account | None:
    """The account whose webhook fields could not be read now."""
    if account.plan.subscription_at is None:
        return None
    return replace(account, plan=replace(account.plan, subscription_at=next_at))


def disconnected(account: Account, reason: str, now: datetime) -> Account:
    """The account without its token; the row stays, so that its webhooks are known for what they are."""
    gone = _to(account, AccountState.DISCONNECTED, reason, now)
    bare = replace(gone, token=None, subscribed_fields=(), rejected_at=None, lease_until=None)
    return replace(bare, plan=Plan(alert_at=gone.plan.alert_at))


def left(account: Account, connected_at: datetime, reason: str, now: datetime) -> Account | None:
    """The account without its token, if its connection is still the one that was to be dropped.

    A newer one stays. What was asked of Instagram for the old one may have cost it its webhooks: they are due.
    """
    if account.connected_at != connected_at:
        return subscription_later(account, now)
    return disconnected(account, reason, now)


def resealed(account: Account, version: int, sealed: Sealed) -> Account | None:
    """The account with the same token under another key."""
    if account.token is None or account.last_version != version:
        return None
    return replace(account, token=replace(account.token, sealed=sealed))


def told(account: Account, alert_id: str, now: datetime) -> Account:
    """The account without an alert that was delivered, or given up."""
    left = tuple(alert for alert in account.alerts if alert.id != alert_id)
    return replace(account, alerts=left, plan=replace(account.plan, alert_at=now if left else None))


def told_later(account: Account, alert_id: str, next_at: datetime) -> Account:
    """The account with one more failed try to tell."""
    kept = tuple(replace(one, tries=one.tries + 1) if one.id == alert_id else one for one in account.alerts)
    return replace(account, alerts=kept, plan=replace(account.plan, alert_at=next_at if kept else None))


def too_many(rejected: int, accounts: int) -> bool:
    """Whether so many tokens died at once that Instagram, or we, must be at fault."""
    return rejected > max(3, accounts / 5)


def braked(account: Account, *, rejected: int, accounts: int, now: datetime) -> bool:
    """Whether the brake keeps this suspected account active. It yields to a day of rejections without a break."""
    return too_many(rejected, accounts) and not held_long(account, now)


def held_long(account: Account, now: datetime) -> bool:
    """Whether the account's token has been rejected for so long that it must be true."""
    return account.rejected_at is not None and now - account.rejected_at >= BRAKE_HOLDS


def _lends(account: Account, version: int) -> bool:
    """Whether a finding about this version still matters to an account that is in use."""
    return account.last_version == version and account.token is not None and account.state in LIVE


def _to(account: Account, state: AccountState, reason: str, now: datetime) -> Account:
    """The account in a state, with an alert when an operator would want to know."""
    if state == account.state and account.state_at is not None:
        return replace(account, reason=reason)
    moved = replace(account, state=state, reason=reason, state_at=now)
    if state not in ILL and not (state == AccountState.ACTIVE and account.state in ILL):
        return moved
    news = Alert(f"{account.account}-{int(now.timestamp() * 1000)}-{state}", state, reason, now)
    alerts = (*account.alerts, news)[-ALERTS_KEPT:]
    return replace(moved, alerts=alerts, plan=replace(moved.plan, alert_at=now))
