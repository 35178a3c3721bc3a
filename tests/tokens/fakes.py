"""Stand-ins with a memory for everything that the token service needs of the world."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from services.common.account_state import AccountState
from services.common.errors import Refused, Unavailable, UnknownAccount
from services.common.findings import Finding
from services.common.graph_errors import GraphError, GraphFailure
from services.tokens import connect, schedule, state, subscription
from services.tokens.accounts import Account, Alert, Fresh, Grant, Profile, Sealed, Summary, Token
from services.tokens.documents import from_document, to_document
from services.tokens.ports import Chore, Ports, Rule, always

BASE = datetime(2026, 10, 1, 12, tzinfo=UTC)
A = Profile("17841400000000001", "27640000000000001", "north_pier_bakery")
B = Profile("17841400000000002", "27640000000000002", "lumen_bikes")
SIXTY_DAYS = 60 * 86_400.0


class FakeClock:
    """A clock that moves when it is told to, and when somebody sleeps."""

    def __init__(self, now: datetime = BASE) -> None:
        self.time = now
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return (self.time - BASE).total_seconds()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += timedelta(seconds=seconds)
        await asyncio.sleep(0)

    def tick(self, **passed: float) -> None:
        self.time += timedelta(**passed)


class MemoryAccounts:
    """The ports Accounts and Rota in a dictionary; it passes the contract of the real ones."""

    def __init__(self) -> None:
        self.rows: dict[str, Account] = {}
        self.next_turn = datetime.min.replace(tzinfo=UTC)
        self.down = False
        self.falls_between = 0

    def _up(self) -> None:
        if self.down:
            raise Unavailable("the store is away")

    def _save(self, account: Account) -> None:
        twins = [row for row in self.rows.values() if row.app_scoped_id == account.app_scoped_id]
        if any(twin.account != account.account for twin in twins):
            raise Refused("the app-scoped id belongs to another account")
        self.rows[account.account] = from_document(to_document(account))

    async def find(self, account: str) -> Account | None:
        self._up()
        rows = self.rows.values()
        return self.rows.get(account) or next((row for row in rows if row.app_scoped_id == account), None)

    async def all(self) -> Sequence[Account]:
        self._up()
        return [self.rows[key] for key in sorted(self.rows)]

    async def put(
        self, account: str, make: Callable[[Account | None], Account], *, in_place_of: str | None = None
    ) -> Account:
        self._up()
        if in_place_of is not None:
            self.rows.pop(in_place_of, None)
            if self.falls_between:
                self.falls_between -= 1
                raise Unavailable("the store dropped the old row, and fell before it had the new one")
        made = make(self.rows.get(account))
        self._save(made)
        return made

    async def change(self, account: str, rule: Rule) -> Account:
        self._up()
        found = self.rows.get(account)
        if found is None:
            raise UnknownAccount("no such account")
        changed = rule(found)
        if changed is not None:
            self._save(changed)
        return changed or found

    async def forget(self, account: str, *, when: Callable[[Account], bool] = always) -> bool:
        self._up()
        if account not in self.rows or not when(self.rows[account]):
            return False
        del self.rows[account]
        return True

    async def claim(self, chore: Chore, *, now: datetime, until: datetime) -> Account | None:
        self._up()
        free = [row for row in self.rows.values() if not schedule.is_leased(row.lease_until, now)]
        waiting = [(at > now, at, row.account) for row in free if (at := due_at(row, chore, now))]
        if not waiting:
            return None
        claimed = state.leased(self.rows[min(waiting)[2]], now, until)
        self._save(claimed)
        return claimed

    async def turn(self, now: datetime) -> datetime:
        self._up()
        mine = schedule.next_turn(self.next_turn, now)
        self.next_turn = mine + schedule.TURN
        return mine

    async def planned(self, windows: Sequence[tuple[datetime, datetime]]) -> Sequence[int]:
        self._up()
        moments = [row.plan.refresh_at for row in self.rows.values() if row.plan.refresh_at]
        return [sum(start <= at < end for at in moments) for start, end in windows]

    async def examine(self) -> list[Finding]:
        self._up()
        return [Finding("database write", ok=True, found="in memory")]

    async def summary(self, rejected_since: datetime) -> Summary:
        self._up()
        rows = list(self.rows.values())
        tokens = [(row.state, row.token) for row in rows if row.token]
        return Summary(
            by_state={name: count for name in AccountState if (count := sum(row.state == name for row in rows))},
            least_expiry={
                name: min(token.expires_at for at, token in tokens if at == name) for name in {at for at, _ in tokens}
            },
            last_refresh=max((token.issued_at for _, token in tokens), default=None),
            rejected=sum(
                row.rejected_at is not None if row.state in state.LIVE else state.turned_since(row, rejected_since)
                for row in rows
            ),
            unsubscribed=sum(
                row.state == AccountState.ACTIVE and "messages" not in row.subscribed_fields for row in rows
            ),
        )


def due_at(account: Account, chore: Chore, now: datetime) -> datetime | None:
    """For when a chore that is due was planned."""
    at, token = account.plan.refresh_at, account.token
    if chore == Chore.WATCH:
        return account.plan.watch_at if schedule.watch_due(account.plan.watch_at, now) else None
    astray = at and token and schedule.astray(at, token.expires_at, now)
    return at if at and (at <= now or astray) else None


class PlainKeys:
    """The port Keys without secrecy, for tests about something else."""

    current = "plain"

    def seal(self, account: str, field: str, text: str) -> Sealed:
        return Sealed(self.current, f"{account}|{field}|{text}".encode())

    def open(self, account: str, field: str, sealed: Sealed) -> str:
        owner, name, text = sealed.blob.decode().split("|", 2)
        assert (owner, name) == (account, field)
        return text


@dataclass
class Owner:
    """One Instagram account as Meta sees it."""

    profile: Profile
    scopes: tuple[str, ...] | None = connect.REQUIRED
    tokens: dict[str, datetime] = field(default_factory=dict)  # text -> its end
    issued: dict[str, datetime] = field(default_factory=dict)
    subscribed: tuple[str, ...] = ()
    dead: GraphError | None = None
    limited: GraphError | None = None
    refreshes: int = 0


class FakeMeta:
    """The ports Grants and Instagram with a memory: accounts, tokens, faults, and every call in order."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.owners: dict[str, Owner] = {}
        self.codes: dict[str, str] = {}
        self.offers = set(subscription.WANTED)
        self.accepts = set(subscription.WANTED)
        self.calls: list[str] = []
        self.faults: list[GraphFailure] = []
        self.fault_of: Callable[[str], GraphFailure | None] = lambda _call: None
        self.made = 0
        self.on_rejected: Callable[[str], None] = lambda _account: None

    def owner(self, profile: Profile = A, **how: object) -> Owner:
        """An account that exists."""
        made = self.owners[profile.account or profile.app_scoped_id] = Owner(profile, **how)
        return made

    def code(self, profile: Profile = A) -> str:
        """A code as the callback brings it."""
        code = f"code-{len(self.codes)}-{profile.username}"
        self.codes[code] = profile.account or profile.app_scoped_id
        return code

    def token(self, owner: Owner, life: float = SIXTY_DAYS, prefix: str = "IGAAlong") -> str:
        """A token of an account."""
        self.made += 1
        text = f"{prefix}{self.made:08d}{owner.profile.account}"
        owner.tokens[text] = self.clock.now() + timedelta(seconds=life)
        owner.issued[text] = self.clock.now()
        return text

    async def exchange(self, code: str, redirect_uri: str) -> Grant:
        self._call("exchange")
        if code not in self.codes:
            raise refusal(400, of_exchange=True)
        owner = self.owners[self.codes.pop(code)]
        return Grant(self.token(owner, 3600, "IGAAshort"), owner.scopes, owner.profile.app_scoped_id)

    async def lengthen(self, token: str) -> Fresh:
        self._call("lengthen")
        owner = self._of(token)
        if token.startswith("IGAAlong"):
            raise refusal(452, session_key=True)
        return Fresh(self.token(owner), SIXTY_DAYS)

    async def refresh(self, token: str) -> Fresh:
        self._call("refresh")
        owner = self._of(token)
        if self.clock.now() - owner.issued[token] < timedelta(hours=24):
            raise refusal(100)
        owner.refreshes += 1
        return Fresh(self.token(owner), SIXTY_DAYS)

    async def profile(self, token: str) -> Profile:
        self._call("profile")
        return self._of(token).profile

    async def look_at_messages(self, token: str) -> None:
        self._call("look_at_messages")
        owner = self._of(token)
        if owner.limited:
            raise GraphFailure("limited", reached=True, error=owner.limited)

    async def subscribe(self, token: str, fields: Sequence[str]) -> None:
        self._call(f"subscribe {','.join(fields)}")
        owner = self._of(token)
        if owner.limited:
            raise GraphFailure("limited", reached=True, error=owner.limited)
        if not set(fields) <= self.accepts:
            raise refusal(100)
        owner.subscribed = tuple(one for one in fields if one in self.offers)

    async def subscribed(self, token: str) -> tuple[str, ...]:
        self._call("subscribed")
        return self._of(token).subscribed

    async def unsubscribe(self, token: str) -> None:
        self._call("unsubscribe")
        self._of(token).subscribed = ()

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.faults:
            raise self.faults.pop(0)
        fault = self.fault_of(name)
        if fault is not None:
            raise fault

    def _of(self, token: str) -> Owner:
        owner = next((one for one in self.owners.values() if token in one.tokens), None)
        if owner is None:
            raise refusal(190)
        if owner.dead:
            self.on_rejected(owner.profile.account)
            raise GraphFailure(f"Graph error {owner.dead}", reached=True, error=owner.dead)
        if owner.tokens[token] <= self.clock.now():
            raise refusal(190, subcode=463)
        return owner


def refusal(code: int | None, status: int = 400, **more: object) -> GraphFailure:
    """An error answer."""
    error = GraphError(status, code, **more)
    return GraphFailure(f"Graph error {error}", reached=True, error=error)


def silence(*, reached: bool = True) -> GraphFailure:
    """A call without an answer."""
    return GraphFailure("no answer: TimeoutError", reached=reached)


class FakeAlerts:
    """The port Alerts that remembers, and may be away."""

    def __init__(self) -> None:
        self.told: list[tuple[str, AccountState]] = []
        self.down = False
        self.refused: set[AccountState] = set()

    async def tell(self, account: Account, alert: Alert) -> None:
        if self.down or alert.state in self.refused:
            raise Unavailable("ACCOUNT_ALERT_URL answers 503")
        self.told.append((account.account, alert.state))


@dataclass
class World:
    """All of it, put together."""

    clock: FakeClock
    meta: FakeMeta
    store: MemoryAccounts
    alerts: FakeAlerts
    ports: Ports

    async def connected(self, profile: Profile = A) -> Account:
        """An account that its owner connected now."""
        if profile.account not in self.meta.owners:
            self.meta.owner(profile)
        made = await connect.connect(self.ports, self.meta.code(profile), "https://bot.example/oauth/callback")
        return made.account

    async def row(self, profile: Profile = A) -> Account:
        """The account as it is stored now."""
        found = await self.store.find(profile.account)
        assert found is not None
        return found

    def kill(self, profile: Profile = A, subcode: int = 460) -> None:
        """The account's tokens die."""
        self.meta.owners[profile.account].dead = GraphError(400, 190, subcode, "OAuthException")

    def heal(self, profile: Profile = A) -> None:
        """The account's tokens work again."""
        self.meta.owners[profile.account].dead = None
        self.meta.owners[profile.account].limited = None


def world(seed: int = 1) -> World:
    """A quiet world with nobody in it."""
    clock = FakeClock()
    meta, store = FakeMeta(clock), MemoryAccounts()
    ports = Ports(store, store, PlainKeys(), meta, meta, clock, random.Random(seed))
    return World(clock, meta, store, FakeAlerts(), ports)


def profile(number: int) -> Profile:
    """The ids of one of many accounts."""
    return Profile(str(17841400000000000 + number), str(27640000000000000 + number), f"shop_{number}")


def account(number: int = 1, **how: object) -> Account:
    """An active account as a store keeps it, due for a refresh in 30 days."""
    who = profile(number)
    plain = Account(
        who.account,
        who.app_scoped_id,
        who.username,
        connected_at=BASE,
        state_at=BASE,
        token=Token(Sealed("k1", b"sealed"), 1, BASE, BASE + timedelta(days=60)),
        last_version=1,
        scopes=connect.REQUIRED,
    )
    made = replace(plain, plan=replace(plain.plan, refresh_at=BASE + timedelta(days=30)))
    return replace(made, **how)
