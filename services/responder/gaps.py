"""The gap check: what Instagram shows and no delivery brought is recorded as if it had been delivered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from services.common.account_state import AccountState
from services.responder.account import Account
from services.responder.deliver import Deliver
from services.responder.incoming import Incoming, IncomingKind, Outcome
from services.responder.message import Kind, key_of
from services.responder.metrics import ResponderMetrics
from services.responder.outside import Instagram, Lent, Shown, Tokens
from services.responder.ports import Store
from services.responder.taps import tapped
from services.responder.times import MINUTE, Policy

log = structlog.get_logger(__name__)

TOO_YOUNG = 1 * MINUTE
"""Younger messages are probably on their way."""


@dataclass
class Gaps:
    """Compares recent messages with the store, one account at a time."""

    store: Store
    tokens: Tokens
    instagram: Instagram
    deliver: Deliver
    metrics: ResponderMetrics
    policy: Policy
    checked: dict[tuple[str, str], int] = field(default_factory=dict)  # conversation -> its updated_at last time

    async def check_all(self, accounts: Sequence[Account]) -> tuple[int, int]:
        """Check the active ones of these accounts; return how many, and how many messages were missing.

        When an account was connected is the mirror's news: what was said before is none of our business, so an account
        of which nobody told that yet waits for it.
        """
        active = [one for one in accounts if one.state == AccountState.ACTIVE and one.connected_at]
        found = [await self.check(one) for one in active]
        return len(active), sum(found)

    async def check(self, account: Account) -> int:
        """Record what is missing of one account; return how many messages that were."""
        lent = await self.tokens.lend(account.account)
        now = self.store.clock.now()
        missing = 0
        for talk in await self.instagram.talks(lent):
            key = (account.account, talk.person)
            if talk.updated_at < now - self.policy.stale or self.checked.get(key) == talk.updated_at:
                continue
            missing += await self.check_talk(account, lent, talk.person)
            if talk.updated_at < now - TOO_YOUNG:
                self.checked[key] = talk.updated_at
        if missing:
            log.warning("gap_found", account=account.account, messages=missing)
        return missing

    async def check_talk(self, account: Account, lent: Lent, person: str) -> int:
        """Record what is missing of one conversation."""
        reading = await self.instagram.read(lent, person)
        now = self.store.clock.now()
        oldest = max(account.connected_at, now - self.policy.stale)
        shown = [
            one for one in (reading.messages if reading else ()) if oldest <= one.at <= now - TOO_YOUNG and one.mid
        ]
        ours = {account.account, account.app_scoped_id} - {""}
        keys = {
            key_of(account.account, Kind.ECHO if one.sender in ours else Kind.MESSAGE, one.mid): one for one in shown
        }
        known = {one.key for one in await self.store.messages.get(list(keys))}
        unknown = [one for key, one in keys.items() if key not in known]
        theirs = [one for one in unknown if one.sender not in ours]
        delivered = await tapped(self.store.messages, account.account, person, theirs) if theirs else set()
        lost = [as_incoming(one, account, person, ours) for one in unknown if one.mid not in delivered]
        verdicts = await self.deliver.deliver(lost) if lost else []
        found = sum(verdict.outcome is Outcome.STORED for verdict in verdicts)
        self.metrics.gap_messages.inc(found)
        return found


def as_incoming(one: Shown, account: Account, person: str, ours: set[str]) -> Incoming:
    """Return a message that Instagram shows as the event that should have come."""
    outgoing = one.sender in ours
    return Incoming(
        kind=IncomingKind.MESSAGE,
        account=account.account,
        sender=account.account if outgoing else person,
        recipient=person if outgoing else account.account,
        at=one.at,
        mid=one.mid,
        text=one.text,
        is_echo=outgoing,
        is_unsupported=not one.text and not outgoing,
    )
