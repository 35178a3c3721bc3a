"""The webhook subscription of an account: asked for, read back, repaired.

Meta leaves out without an error what the app's dashboard has not ticked, refuses the whole call for one unknown
field, and drops the subscription after an hour of failed deliveries, so what was asked for says little.
"""

from __future__ import annotations

import structlog

from services.common.account_state import AccountState
from services.common.graph_errors import Fault, GraphFailure
from services.tokens import schedule, state
from services.tokens.accounts import Account
from services.tokens.metrics import SubscriptionOutcome
from services.tokens.ports import Instagram, Ports
from services.tokens.reasons import DEAD, LIMITING, reason

log = structlog.get_logger(__name__)

WANTED = (
    "messages",
    "messaging_postbacks",
    "message_reactions",
    "messaging_seen",
    "messaging_referral",
    "message_edit",
)
LEAST = ("messages",)
TOO_MANY_FIELDS = frozenset({Fault.OUR_BUG, Fault.UNKNOWN_CODE})


async def subscribe(instagram: Instagram, token: str) -> tuple[str, ...]:
    """Ask for all fields, for the least where one of them is refused; return what Instagram then says it sends."""
    try:
        await instagram.subscribe(token, WANTED)
    except GraphFailure as failure:
        if failure.fault not in TOO_MANY_FIELDS:
            raise
        await instagram.subscribe(token, LEAST)
    return await instagram.subscribed(token)


def missing(fields: tuple[str, ...]) -> tuple[str, ...]:
    """Return the wanted fields that are not among these."""
    return tuple(field for field in WANTED if field not in fields)


async def look(ports: Ports, account: Account, token: str) -> SubscriptionOutcome:
    """Read the fields back, subscribe again where some are missing, and plan the next look."""
    try:
        found = await ports.instagram.subscribed(token)
        fields = found if not missing(found) else await subscribe(ports.instagram, token)
    except GraphFailure as failure:
        await failed(ports, account, failure)
        return SubscriptionOutcome.REFUSED if failure.error else SubscriptionOutcome.FAILED
    await note(ports, account, fields)
    return judged(account, found, fields)


def judged(account: Account, found: tuple[str, ...], fields: tuple[str, ...]) -> SubscriptionOutcome:
    """Say what a look came to, and log what an operator must know."""
    if not found:
        # Nothing at all is what an hour of failed deliveries leaves behind.
        log.warning("webhooks_disabled", account=account.account, repaired=bool(fields))
    if "messages" not in fields:
        log.error("webhooks_missing", account=account.account, fields=list(fields))
        return SubscriptionOutcome.INCOMPLETE
    if missing(fields):
        # What the dashboard does not tick stays away for ever; the gain of the messages is still a repair.
        return SubscriptionOutcome.INCOMPLETE if "messages" in found else SubscriptionOutcome.REPAIRED
    return SubscriptionOutcome.REPAIRED if missing(found) else SubscriptionOutcome.IN_PLACE


async def note(ports: Ports, account: Account, fields: tuple[str, ...]) -> Account:
    """Store what is sent and when to look next."""
    now = ports.clock.now()
    next_at = schedule.next_subscription(now, ports.chance)
    return await ports.accounts.change(
        account.account, lambda found: state.subscription_read(found, fields, now=now, next_at=next_at)
    )


async def failed(ports: Ports, account: Account, failure: GraphFailure) -> Account:
    """Store what a refused look means: a limited account, a doubted token, or only another try."""
    now, version = ports.clock.now(), account.last_version
    log.warning("subscription_failed", account=account.account, why=str(failure))
    if failure.fault in LIMITING:
        probe_at = schedule.next_probe(now, account.probes, ports.chance)
        why = reason(failure.error)
        return await ports.accounts.change(
            account.account, lambda found: state.limited(found, version, why, now=now, probe_at=probe_at)
        )
    if failure.fault in DEAD:
        await ports.accounts.change(account.account, lambda found: state.doubted(found, version, now))
    next_at = schedule.retry_subscription(now, ports.chance)
    return await ports.accounts.change(account.account, lambda found: state.subscription_later(found, next_at))


def is_watched(account: Account) -> bool:
    """Whether the account's webhooks are looked after."""
    return account.state == AccountState.ACTIVE and account.token is not None
