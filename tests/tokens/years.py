"""Three replicas, many accounts, a moved clock and everything that can go wrong: what becomes of the accounts?"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from services.common.account_state import AccountState
from services.common.errors import BotError, NotConnected, Unavailable
from services.common.graph_errors import GraphError, GraphFailure
from services.common.unfinished import Unfinished
from services.tokens import connect, keep_alive
from services.tokens.judge import Reports
from services.tokens.lend import Lender
from services.tokens.ports import Ports
from tests.tokens.fakes import (
    BASE,
    FakeAlerts,
    FakeClock,
    FakeMeta,
    MemoryAccounts,
    PlainKeys,
    profile,
    refusal,
    silence,
)

REPLICAS = 3
EACH_DAY_REVOKED = 0.05
BORROWED_EVERY = timedelta(hours=3)


class PowerCut(BaseException):
    """Ends a replica where it stands."""


class Killable:
    """A port whose calls are where a replica may be killed: before they happen, or right after."""

    def __init__(self, inner: Any, chance: random.Random, odds: Callable[[], float]) -> None:
        self.inner = inner
        self.chance = chance
        self.odds = odds

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)

        async def call(*args: Any, **named: Any) -> Any:
            await asyncio.sleep(0)
            if self.chance.random() < self.odds():
                raise PowerCut
            answer = await found(*args, **named)
            if self.chance.random() < self.odds():
                raise PowerCut
            return answer

        return call


class SharedClock(FakeClock):
    """One clock for all replicas; whoever sleeps only lets the others go on."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class Replica:
    """One process: killed, it begins again with an empty memory."""

    def __init__(self, years: "Years") -> None:
        self.years = years
        self.begin()

    def begin(self) -> None:
        """Start."""
        years = self.years
        store = Killable(years.store, years.chance, lambda: years.kill_odds)
        meta = Killable(years.meta, years.chance, lambda: years.kill_odds)
        self.ports = Ports(store, store, PlainKeys(), meta, meta, years.clock, years.chance)
        self.lender = Lender(self.ports.accounts, self.ports.keys, years.clock)
        self.reports = Reports(self.ports, Unfinished())

    async def sweep(self) -> None:
        """Do all that is due."""
        try:
            while await keep_alive.watch_next(self.ports, self.years.alerts):
                pass
            while await keep_alive.refresh_next(self.ports):
                pass
        except PowerCut:
            self.years.kills += 1
            self.begin()
        except Unavailable:
            self.years.pauses += 1


@dataclass
class Years:
    """The simulation."""

    accounts: int
    days: int
    seed: int = 1
    kill_odds: float = 0.0005
    clock: SharedClock = field(default_factory=SharedClock)
    store: MemoryAccounts = field(default_factory=MemoryAccounts)
    alerts: FakeAlerts = field(default_factory=FakeAlerts)
    kills: int = 0
    pauses: int = 0
    revoked: set[str] = field(default_factory=set)
    first_rejected: dict[str, datetime] = field(default_factory=dict)
    turned: dict[str, datetime] = field(default_factory=dict)
    traded: Counter[str] = field(default_factory=Counter)
    weather: dict[str, datetime] = field(default_factory=dict)  # what is wrong, and until when

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.meta = FakeMeta(self.clock)
        self.meta.fault_of = self.fault
        self.meta.on_rejected = self.rejected
        refresh = self.meta.refresh

        async def counted(token: str) -> Any:
            fresh = await refresh(token)
            self.traded[token] += 1
            return fresh

        self.meta.refresh = counted  # type: ignore[method-assign]

    def is_on(self, name: str) -> bool:
        """Whether something is wrong now."""
        return self.weather.get(name, BASE) > self.clock.now()

    def fault(self, _call: str) -> GraphFailure | None:
        """What Instagram answers in this weather; a single call in a thousand fails anyhow."""
        if self.is_on("silence"):
            return silence(reached=self.chance.random() < 0.5)
        if self.is_on("limit"):
            return refusal(4, 403)
        if self.is_on("mass rejection"):
            return refusal(190, 401)
        return refusal(2, 500) if self.chance.random() < 0.001 else None

    def change_weather(self) -> None:
        """Once an hour: something may begin to be wrong, for less than an hour."""
        for name, odds in (("silence", 0.01), ("limit", 0.01), ("mass rejection", 0.002), ("store", 0.005)):
            if self.chance.random() < odds:
                self.weather[name] = self.clock.now() + timedelta(minutes=self.chance.uniform(1, 25))
        if self.chance.random() < EACH_DAY_REVOKED / 24:
            owner = self.chance.choice(list(self.meta.owners.values()))
            owner.dead = GraphError(400, 190, self.chance.choice([458, 460, 467]), "OAuthException")
            self.revoked.add(owner.profile.account)

    async def run(self) -> None:
        """Connect all, live through the days, then through a quiet one."""
        replicas = [Replica(self) for _ in range(REPLICAS)]
        await self.connect_all()
        end = self.clock.now() + timedelta(days=self.days)
        hour = borrow = self.clock.now()
        while self.clock.now() < end + timedelta(days=1):
            if self.clock.now() >= hour and self.clock.now() < end:
                self.change_weather()
            hour = max(hour, self.clock.now() + timedelta(hours=1)) if self.clock.now() >= hour else hour
            self.store.down = self.is_on("store")
            if self.clock.now() >= borrow:
                await self.borrow(self.chance.choice(replicas))
                borrow = self.clock.now() + BORROWED_EVERY / self.accounts
            if self.is_due():
                await asyncio.gather(*(replica.sweep() for replica in replicas))
                self.note()
            self.clock.tick(minutes=self.chance.uniform(0.5, 5))
            if self.clock.now() >= end:
                self.kill_odds = 0

    def is_due(self) -> bool:
        """Whether a sweep would find anything."""
        now = self.clock.now()
        plans = [row.plan for row in self.store.rows.values()]
        return any(at is not None and at <= now for plan in plans for at in (plan.refresh_at, plan.watch_at))

    async def connect_all(self) -> None:
        """All owners connect, in fair weather."""
        ports = Ports(self.store, self.store, PlainKeys(), self.meta, self.meta, self.clock, self.chance)
        calm, self.meta.fault_of = self.meta.fault_of, lambda _: None
        for number in range(self.accounts):
            self.meta.owner(profile(number))
            await connect.connect(ports, self.meta.code(profile(number)), "https://bot.example/oauth/callback")
        self.meta.fault_of = calm

    async def borrow(self, replica: Replica) -> None:
        """A responder borrows a token, calls Instagram and reports what is rejected."""
        owner = self.chance.choice(list(self.meta.owners.values()))
        account = owner.profile.account
        try:
            loan = await replica.lender.lend(account)
            await self.meta.profile(loan.text)
        except NotConnected:
            return
        except GraphFailure as failure:
            if failure.error and failure.error.code == 190:
                await self.report(replica, account, loan.token.version, failure.error)
        except Unavailable:
            return
        except PowerCut:
            self.kills += 1
            replica.begin()

    def rejected(self, account: str) -> None:
        """Instagram rejected a call of a revoked account: from the first on, an hour may pass."""
        self.first_rejected.setdefault(account, self.clock.now())

    async def report(self, replica: Replica, account: str, version: int, error: GraphError) -> None:
        """Report what was rejected."""
        try:
            await replica.reports.rejected(account, version, error)
        except PowerCut:
            self.kills += 1
            replica.begin()
        except BotError:
            self.pauses += 1

    def note(self) -> None:
        """Remember when revoked accounts turned."""
        for account, row in self.store.rows.items():
            if row.state == AccountState.REAUTHORIZE and account in self.revoked:
                self.turned.setdefault(account, self.clock.now())

    def states(self) -> dict[str, AccountState]:
        """How it ended."""
        return {account: row.state for account, row in self.store.rows.items()}

    def works(self, account: str) -> bool:
        """Whether the stored token is one that Instagram takes."""
        row = self.store.rows[account]
        assert row.token
        text = PlainKeys().open(account, "token", row.token.sealed)
        return self.meta.owners[account].tokens[text] > self.clock.now()
