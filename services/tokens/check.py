"""What an operator sees of one account, and what to do about it."""

from __future__ import annotations

from datetime import datetime

from services.common.errors import Unavailable, UnknownAccount
from services.common.findings import Finding
from services.common.graph_errors import Fault, GraphFailure
from services.tokens import judge, schedule, subscription
from services.tokens.accounts import TOKEN_FIELD, Account
from services.tokens.connect import REQUIRED
from services.tokens.ports import Ports
from services.tokens.reasons import MESSAGES_OFF, RECONNECT, reason


async def check(ports: Ports, account_id: str, *, repair: bool = False) -> tuple[Account, list[Finding]]:
    """Look at an account from all sides; UnknownAccount when there is none. Only with `repair` anything is changed."""
    account = await known(ports, account_id)
    if repair and account.token is not None and subscription.is_watched(account):
        await subscription.look(ports, account, ports.keys.open(account.account, TOKEN_FIELD, account.token.sealed))
        account = await known(ports, account_id)
    findings = [in_state(account), await token_answers(ports, account), in_time(account, ports.clock.now())]
    findings += [granted(account), await webhooks(ports, account)]
    return account, findings


async def known(ports: Ports, account_id: str) -> Account:
    """Read an account by either id; UnknownAccount when there is none."""
    account = await ports.accounts.find(account_id)
    if account is None:
        raise UnknownAccount("no such account")
    return account


def in_state(account: Account) -> Finding:
    """Say what igbot itself thinks of the account."""
    fine = account.state == "active" and account.rejected_at is None
    held = account.rejected_at is not None and account.state == "active"
    doubt = "; Instagram rejects the token, but too many at once to be true" if held else ""
    return Finding("state", fine, f"{account.state}{doubt}", "" if fine else account.reason or RECONNECT)


async def token_answers(ports: Ports, account: Account) -> Finding:
    """Ask Instagram whether the token works."""
    if account.token is None:
        return Finding("token", ok=False, found="none", advice=RECONNECT)
    try:
        text = ports.keys.open(account.account, TOKEN_FIELD, account.token.sealed)
    except Unavailable as error:
        return Finding("token", ok=False, found=str(error), advice="put the key back into TOKEN_KEYS_DIR")
    found = await judge.probe(ports.instagram, account, text)
    if found.verdict == judge.Verdict.ALIVE:
        return Finding("token", ok=True, found=f"valid, version {account.last_version}")
    said = found.verdict != judge.Verdict.UNANSWERED or (found.error and found.error.fault == Fault.SETUP)
    advice = reason(found.error) if said else "Instagram did not say; try again"
    return Finding("token", ok=False, found=f"{found.verdict} {found.error or ''}".strip(), advice=advice)


def in_time(account: Account, now: datetime) -> Finding:
    """Say how long the token lives and when it is refreshed."""
    if account.token is None:
        return Finding("expiry", ok=False, found="no token", advice=RECONNECT)
    left = account.token.expires_at - now
    ok = left > schedule.ALARM_LEFT
    due = f", refreshed on {account.plan.refresh_at:%Y-%m-%d %H:%M} UTC" if account.plan.refresh_at else ""
    advice = "" if ok else "refreshes have failed for weeks: try `igbot accounts refresh`, and look at the log"
    return Finding("expiry", ok, f"{account.token.expires_at:%Y-%m-%d %H:%M} UTC, {left.days} days left{due}", advice)


def granted(account: Account) -> Finding:
    """Say what the owner allowed."""
    if not account.scopes:
        return Finding("scopes", ok=True, found="not known: Instagram did not list them")
    missing = [scope for scope in REQUIRED if scope not in account.scopes]
    advice = f"{' and '.join(missing)}: {RECONNECT} and leave every box ticked" if missing else ""
    return Finding("scopes", not missing, ", ".join(account.scopes), advice)


async def webhooks(ports: Ports, account: Account) -> Finding:
    """Read back which webhooks Instagram sends."""
    if account.token is None:
        return Finding("subscription", ok=False, found="no token", advice=RECONNECT)
    try:
        text = ports.keys.open(account.account, TOKEN_FIELD, account.token.sealed)
        fields = await ports.instagram.subscribed(text)
    except GraphFailure as failure:
        return Finding("subscription", ok=False, found=str(failure), advice=reason(failure.error) or MESSAGES_OFF)
    except Unavailable as error:
        return Finding("subscription", ok=False, found=str(error))
    missing = subscription.missing(fields)
    advice = f"tick in Meta's dashboard, under webhooks: {', '.join(missing)}" if missing else ""
    return Finding("subscription", not missing, ", ".join(fields) or "nothing: no message will ever come", advice)
