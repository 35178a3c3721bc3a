"""Is a token dead? Only Instagram is believed, asked once more with the same token; and not when many die at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import structlog

from services.common.account_state import AccountState
from services.common.errors import UnknownAccount
from services.common.graph_errors import GraphError, GraphFailure
from services.common.unfinished import Unfinished
from services.tokens import schedule, state
from services.tokens.accounts import TOKEN_FIELD, Account, Summary
from services.tokens.planner import refresh_at, usual_refresh
from services.tokens.ports import Instagram, Ports
from services.tokens.reasons import DEAD, LIMITING, UNDECIDED, reason

log = structlog.get_logger(__name__)


class Verdict(StrEnum):
    """What a probe with an account's own token says."""

    ALIVE = "alive"
    DEAD = "dead"
    LIMITED = "limited"
    UNANSWERED = "unanswered"


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe's verdict and, where Instagram gave one, its error."""

    verdict: Verdict
    error: GraphError | None = None


async def probe(instagram: Instagram, account: Account, token: str) -> Probe:
    """Ask `/me`; for a limited account also its messages, which is where the limit shows."""
    try:
        await instagram.profile(token)
    except GraphFailure as failure:
        return verdict(failure)
    if account.state != AccountState.LIMITED:
        return Probe(Verdict.ALIVE)
    try:
        await instagram.look_at_messages(token)
    except GraphFailure as failure:
        if failure.fault in LIMITING | UNDECIDED:
            return verdict(failure)
    return Probe(Verdict.ALIVE)


def verdict(failure: GraphFailure) -> Probe:
    """Read a failed probe: whatever is neither a dead token nor a limit is no answer."""
    if failure.fault in DEAD:
        return Probe(Verdict.DEAD, failure.error)
    if failure.fault in LIMITING:
        return Probe(Verdict.LIMITED, failure.error)
    return Probe(Verdict.UNANSWERED, failure.error)


async def settle(ports: Ports, account: Account) -> Account:
    """Probe the account's token and store what follows. Unavailable when the token cannot be opened now."""
    if account.token is None:
        return account
    token = ports.keys.open(account.account, TOKEN_FIELD, account.token.sealed)
    found = await probe(ports.instagram, account, token)
    log.info("token_probed", account=account.account, version=account.last_version, verdict=found.verdict)
    if found.verdict == Verdict.ALIVE:
        return await revive(ports, account)
    if found.verdict == Verdict.DEAD:
        return await condemn(ports, account, found.error)
    if found.verdict == Verdict.LIMITED:
        return await limit(ports, account, found.error)
    return await wait(ports, account)


async def revive(ports: Ports, account: Account) -> Account:
    """Store that the token works."""
    usual, now, version = await usual_refresh(ports), ports.clock.now(), account.last_version
    token = account.token
    due = refresh_at(ports, usual, token.issued_at, token.expires_at) if token else usual
    return await ports.accounts.change(
        account.account, lambda found: state.alive(found, version, now=now, refresh_at=due)
    )


async def limit(ports: Ports, account: Account, error: GraphError | None) -> Account:
    """Store that Instagram limits the account, or still does."""
    now, version = ports.clock.now(), account.last_version
    probe_at, why = schedule.next_probe(now, account.probes, ports.chance), reason(error)
    limited = await ports.accounts.change(
        account.account,
        lambda found: (
            state.limited(found, version, why, now=now, probe_at=probe_at)
            if found.state == AccountState.ACTIVE
            else state.still_ill(found, version, now=now, probe_at=probe_at)
        ),
    )
    log.warning("account_limited", account=account.account, error=str(error))
    return limited


async def wait(ports: Ports, account: Account) -> Account:
    """Store that the probe had no answer: soon again while a dead token may still be lent."""
    now, version = ports.clock.now(), account.last_version
    lent = account.state == AccountState.ACTIVE
    probe_at = (
        schedule.unanswered_probe(now, ports.chance) if lent else schedule.next_probe(now, account.probes, ports.chance)
    )
    return await ports.accounts.change(
        account.account, lambda found: state.still_ill(found, version, now=now, probe_at=probe_at)
    )


async def condemn(ports: Ports, account: Account, error: GraphError | None) -> Account:
    """Store that Instagram rejects the token; the account turns unless too many would turn at once."""
    now, version, chance = ports.clock.now(), account.last_version, ports.chance
    lent = account.state in state.LIVE
    probe_at = schedule.doubtful_probe(now, chance) if lent else schedule.next_probe(now, account.probes, chance)
    marked = await ports.accounts.change(
        account.account, lambda found: state.suspected(found, version, now=now, probe_at=probe_at)
    )
    if marked.state not in state.LIVE or marked.last_version != version:
        return marked
    # The mark is written before the others are counted: of two replicas that count at once, one sees both.
    summary = await ports.rota.summary(now - state.BRAKE_WINDOW)
    if state.braked(marked, rejected=summary.rejected, accounts=in_use(summary), now=now):
        await spare(ports, summary)
        return marked
    hour, why = schedule.next_probe(now, 0, chance), reason(error)
    log.warning("account_needs_its_owner", account=account.account, version=version, error=str(error))
    return await ports.accounts.change(
        account.account, lambda found: state.turned(found, version, why, now=now, probe_at=hour)
    )


async def spare(ports: Ports, summary: Summary) -> None:
    """Bring back those that turned within the brake's window: when too many die at once, none of them do."""
    log.error("mass_token_rejection", rejected=summary.rejected, accounts=in_use(summary))
    now = ports.clock.now()
    for account in await ports.accounts.all():
        if state.turned_since(account, now - state.BRAKE_WINDOW):
            rule = partial(state.spared, now=now, probe_at=schedule.doubtful_probe(now, ports.chance))
            await ports.accounts.change(account.account, rule)


def in_use(summary: Summary) -> int:
    """Count the accounts that their owners have not disconnected."""
    return sum(count for name, count in summary.by_state.items() if name != AccountState.DISCONNECTED)


class Reports:
    """What borrowers report of rejected tokens; many reports of one account are one probe."""

    def __init__(self, ports: Ports, unfinished: Unfinished) -> None:
        """Start with no probe under way; one that is goes on when whoever reported is gone."""
        self.ports = ports
        self.unfinished = unfinished
        self.under_way: dict[str, asyncio.Future[Account]] = {}

    async def rejected(self, account_id: str, version: int, error: GraphError) -> AccountState:
        """Take one report in; return the account's state afterwards. UnknownAccount when there is none."""
        account = await self.ports.accounts.find(account_id)
        if account is None:
            raise UnknownAccount("no such account")
        if account.last_version != version or account.state not in state.LIVE:
            return account.state
        if error.fault in LIMITING:
            return (await limit(self.ports, account, error)).state
        if error.fault not in DEAD:
            return account.state
        return (await self._doubt(account)).state

    async def _doubt(self, account: Account) -> Account:
        now, version = self.ports.clock.now(), account.last_version
        recent = account.probed_at is not None and now - account.probed_at < schedule.PROBE_PAUSE
        probe_at = now + schedule.PROBE_PAUSE
        # Written before the probe: were this process killed now, the next sweep would probe.
        doubted = await self.ports.accounts.change(
            account.account, lambda found: state.doubted(found, version, probe_at)
        )
        if recent:
            return doubted
        task = self.under_way.get(account.account)
        if task is None or task.done():
            task = self.under_way[account.account] = self.unfinished.begin(settle(self.ports, doubted))
            task.add_done_callback(lambda _: self.under_way.pop(account.account, None))
        return await asyncio.shield(task)
