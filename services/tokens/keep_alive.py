"""Keeps tokens alive: one account's refresh, and one account's watch (probe, webhooks, alerts)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial

import structlog

from services.common.errors import Unavailable
from services.common.graph_errors import GraphFailure
from services.tokens import judge, schedule, state, subscription
from services.tokens.accounts import TOKEN_FIELD, Account, Fresh, Token
from services.tokens.metrics import RefreshOutcome, SubscriptionOutcome
from services.tokens.planner import refresh_at, usual_refresh
from services.tokens.ports import Alerts, Chore, Ports
from services.tokens.reasons import DEAD, LIMITING

log = structlog.get_logger(__name__)

ALERTS_GIVEN_UP = timedelta(hours=24)


async def refresh_next(ports: Ports) -> RefreshOutcome | None:
    """Refresh the token that has waited longest; None when none is due. All replicas share one pace."""
    now = ports.clock.now()
    account = await ports.rota.claim(Chore.REFRESH, now=now, until=now + schedule.LEASE)
    if account is None:
        return None
    turn = await ports.rota.turn(now)
    await ports.clock.sleep(max((turn - now).total_seconds(), 0))
    return await refresh(ports, account)


async def refresh_now(ports: Ports, account_id: str) -> RefreshOutcome:
    """Refresh one account's token because somebody asks; Unavailable while another worker has it."""
    now = ports.clock.now()
    account = await ports.accounts.change(account_id, lambda found: state.leased(found, now, now + schedule.LEASE))
    return await refresh(ports, account)


async def refresh(ports: Ports, account: Account) -> RefreshOutcome:
    """Refresh the token of an account that this worker has leased, and say what came of it."""
    now, token = ports.clock.now(), account.token
    try:
        if token is None:
            await replan(ports, account, None)
            return RefreshOutcome.REFUSED
        if not schedule.may_refresh(token.issued_at, now):
            await replan(ports, account, standing(account, now) or token.issued_at + schedule.MIN_AGE)
            return RefreshOutcome.TOO_YOUNG
        return await trade(ports, account, token)
    except state.LostLease:
        return RefreshOutcome.LOST_LEASE


async def trade(ports: Ports, account: Account, token: Token) -> RefreshOutcome:
    """Trade the token for a new one and store that before anything else happens."""
    try:
        text = ports.keys.open(account.account, TOKEN_FIELD, token.sealed)
    except Unavailable as error:
        log.warning("token_unreadable", account=account.account, why=str(error))
        return await later(ports, account, token, RefreshOutcome.FAILED)
    usual = await usual_refresh(ports)
    try:
        fresh = await ports.grants.refresh(text)
    except GraphFailure as failure:
        return await not_refreshed(ports, account, token, failure)
    await keep(ports, account, fresh, usual)
    log.info("token_refreshed", account=account.account)
    return RefreshOutcome.REFRESHED


async def keep(ports: Ports, account: Account, fresh: Fresh, usual: datetime) -> None:
    """Store a new token, trying for as long as the lease lasts: Instagram will not give this one out again."""
    now = ports.clock.now()
    expires = now + timedelta(seconds=fresh.lives)
    sealed = ports.keys.seal(account.account, TOKEN_FIELD, fresh.text)
    stored = state.Stored(sealed, now, expires, refresh_at(ports, usual, now, expires))
    await insistently(
        ports,
        lambda: ports.accounts.change(account.account, lambda found: state.refreshed(found, account.fence, stored)),
    )


async def insistently(ports: Ports, store: Callable[[], Awaitable[Account]]) -> None:
    """Store, once a second until the lease must have run out."""
    ends = ports.clock.monotonic() + schedule.LEASE.total_seconds()
    while True:
        try:
            await store()
        except state.LostLease:
            raise
        except Unavailable:
            if ports.clock.monotonic() > ends:
                raise
            log.warning("refreshed_token_not_stored_yet")
            await ports.clock.sleep(1)
        else:
            return


async def not_refreshed(ports: Ports, account: Account, token: Token, failure: GraphFailure) -> RefreshOutcome:
    """Back off; where Instagram says that the token is dead, or the account limited, look closer."""
    log.warning("refresh_failed", account=account.account, why=str(failure))
    outcome = RefreshOutcome.REFUSED if failure.error else RefreshOutcome.FAILED
    await later(ports, account, token, outcome, wait=failure.usage.regain_seconds or 0)
    if failure.fault in DEAD:
        await judge.settle(ports, account)
    elif failure.fault in LIMITING:
        await judge.limit(ports, account, failure.error)
    return outcome


async def later(
    ports: Ports, account: Account, token: Token, outcome: RefreshOutcome, *, wait: float = 0
) -> RefreshOutcome:
    """Plan another try, unless the refresh was not due yet, and let the account go."""
    if stands := standing(account, ports.clock.now()):
        await replan(ports, account, stands)
        return outcome
    retry_at = schedule.retry_refresh(ports.clock.now(), token.expires_at, account.failures, ports.chance, wait)
    await ports.accounts.change(account.account, lambda found: state.refresh_failed(found, account.fence, retry_at))
    return outcome


def standing(account: Account, now: datetime) -> datetime | None:
    """Return a plan that has not come yet: then somebody asked, and what came of it must not undo the plan's chance."""
    planned, token = account.plan.refresh_at, account.token
    if planned is None or planned <= now or (token and schedule.astray(planned, token.expires_at, now)):
        return None
    return planned


async def replan(ports: Ports, account: Account, at: datetime | None) -> None:
    """Plan the refresh for another time and let the account go."""
    await ports.accounts.change(account.account, lambda found: state.refresh_planned(found, account.fence, at))


async def watch_next(ports: Ports, alerts: Alerts) -> tuple[SubscriptionOutcome | None] | None:
    """Look after the account that has waited longest; None when none is due, else what its webhooks came to, if seen.

    What fails keeps its lease: the account is looked after again when that has run out.
    """
    now = ports.clock.now()
    account = await ports.rota.claim(Chore.WATCH, now=now, until=now + schedule.LEASE)
    if account is None:
        return None
    outcome = await watch(ports, alerts, account, now)
    await ports.accounts.change(account.account, lambda found: state.released(found, account.fence))
    return (outcome,)


async def watch(ports: Ports, alerts: Alerts, account: Account, now: datetime) -> SubscriptionOutcome | None:
    """Do what is due for one account: tell the operator, probe its token, look at its webhooks."""
    if schedule.watch_due(account.plan.alert_at, now):
        await tell(ports, alerts, account, now)
    if schedule.watch_due(account.plan.probe_at, now):
        account = await judge.settle(ports, account)
    looks = schedule.watch_due(account.plan.subscription_at, now) and subscription.is_watched(account)
    if looks and account.token:
        token = ports.keys.open(account.account, TOKEN_FIELD, account.token.sealed)
        return await subscription.look(ports, account, token)
    return None


async def tell(ports: Ports, alerts: Alerts, account: Account, now: datetime) -> None:
    """Tell the operator of the account's changes in their order; what does not get through waits."""
    for alert in account.alerts:
        try:
            await alerts.tell(account, alert)
        except Unavailable as error:
            if now - alert.at < ALERTS_GIVEN_UP:
                next_at = schedule.retry_alert(now, alert.tries, ports.chance)
                rule = partial(state.told_later, alert_id=alert.id, next_at=next_at)
                await ports.accounts.change(account.account, rule)
                return
            log.warning("alert_given_up", account=account.account, why=str(error))
        await ports.accounts.change(account.account, partial(state.told, alert_id=alert.id, now=now))
