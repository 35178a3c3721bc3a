"""The accounts as the responder knows them: who an id belongs to, and whether its conversations may be worked on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from msgspec.structs import replace

from services.common.account_state import AccountState
from services.common.errors import NotConnected, Unavailable, UnknownAccount
from services.common.graph_usage import Usage
from services.responder.account import Account, HoldReason
from services.responder.answers import slow_for
from services.responder.holds import UNPROBED, freed, given_back, healed, held, held_for
from services.responder.outside import KnownAccount, Lent, Tokens
from services.responder.pauses import paused_at
from services.responder.ports import Accounts, Clock
from services.responder.times import SECOND, Times

log = structlog.get_logger(__name__)

FRESH = 5 * SECOND
"""An answer of the token service no older than this counts as now; also how long an unknown id is remembered."""

SEEN_FOR = 1 * SECOND
"""How long a row of an account is believed without reading it again."""


@dataclass
class AccountBook:
    """Looks accounts up, mirrors their state, holds and releases them. One per process; the truth is the store's."""

    accounts: Accounts
    tokens: Tokens
    clock: Clock
    times: Times
    seen: dict[str, tuple[int, Account]] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)  # either id -> professional id
    unknown: dict[str, int] = field(default_factory=dict)
    usernames: frozenset[str] = frozenset()
    app_held_until: int = 0
    slow_until: dict[str, int] = field(default_factory=dict)  # accounts near a limit, by Instagram's usage headers
    tokenless: dict[str, int] = field(default_factory=dict)  # accounts whose token nobody lends -> when to ask again
    probing: dict[str, int] = field(default_factory=dict)  # accounts probed here -> `hold_until` of what is probed

    async def resolve(self, account_id: str) -> Account:
        """Return the account with either id, as connected.

        Raises UnknownAccount or NotConnected("disconnected") only on a fresh word of the token service, else
        Unavailable.
        """
        now = self.clock.now()
        if now - self.unknown.get(account_id, -FRESH) < FRESH:
            raise UnknownAccount("no such account")
        known = await self.find(account_id)
        if known is not None and known.state != AccountState.DISCONNECTED:
            return known
        try:
            return await self.ask(account_id)
        except UnknownAccount:
            self.unknown = {one: at for one, at in self.unknown.items() if now - at < FRESH}
            self.unknown[account_id] = now
            raise

    async def find(self, account_id: str) -> Account | None:
        """Return the account from memory or the store."""
        professional = self.ids.get(account_id)
        if professional:
            row = await self.current(professional)
            if row.rev:
                return row  # else it was erased, perhaps by another replica
        found = await self.accounts.get(account_id)
        if found is not None:
            self.remember(found)
        return found

    async def ask(self, account_id: str) -> Account:
        """Ask the token service about an account that the store does not know or calls disconnected."""
        try:
            lent = await self.tokens.lend(account_id, fresh_ms=FRESH)
        except NotConnected as error:
            return await self.ask_for_unlent(account_id, str(error))
        return await self.learn(known_from(lent))

    async def ask_for_unlent(self, account_id: str, state: str) -> Account:
        """An account whose token cannot be lent still gets its messages stored, unless it is disconnected."""
        if state == AccountState.DISCONNECTED:
            raise NotConnected(state)
        for known in await self.tokens.accounts():
            if account_id in {known.account, known.app_scoped_id}:
                return await self.learn(known)
        raise Unavailable("the token service knows the account and does not list it")

    async def learn(self, known: KnownAccount) -> Account:
        """Write what the token service says of an account, if it is news."""
        while True:
            now = self.clock.now()
            row = await self.accounts.get(known.account) or Account(account=known.account)
            news = replace(
                row,
                app_scoped_id=known.app_scoped_id or row.app_scoped_id,
                username=known.username or row.username,
                state=known.state,
                connected_at=known.connected_at or row.connected_at,
                hold=None if healed(row, known.state) else row.hold,
            )
            if row.rev and news == row:
                self.remember(row)
                return row
            saved = await self.accounts.save(replace(news, seen_at=now))
            if saved is not None:
                self.remember(saved)
                return saved

    @property
    def has_several(self) -> bool:
        """Whether more than one account is known here; one has two ids at most."""
        return len(self.ids) > 2

    def remember(self, row: Account) -> None:
        """Keep a row in memory for a second, and its ids for good: ids never change."""
        self.seen[row.account] = (self.clock.now(), row)
        self.ids[row.account] = row.account
        if row.app_scoped_id:
            self.ids[row.app_scoped_id] = row.account

    async def current(self, account: str, *, fresh: bool = False) -> Account:
        """Return the account's row, at most a second old."""
        at, row = self.seen.get(account, (0, None))
        if row is not None and not fresh and self.clock.now() - at < SEEN_FOR:
            return row
        found = await self.accounts.get(account) or Account(account=account)
        self.remember(found)
        return found

    async def mirror(self) -> None:
        """Take over every account's state from the token service."""
        listed = await self.tokens.accounts()
        for known in listed:
            if self.differs(self.seen.get(known.account), known) and await self.is_wanted(known):
                await self.learn(known)
        here = [one.username.casefold() for one in listed if one.state != AccountState.DISCONNECTED]
        self.usernames = frozenset(name for name in here if name)

    async def is_wanted(self, known: KnownAccount) -> bool:
        """Whether to keep what is told: a disconnected account without a row was erased, and stays so."""
        return known.state != AccountState.DISCONNECTED or await self.accounts.get(known.account) is not None

    def differs(self, seen: tuple[int, Account] | None, known: KnownAccount) -> bool:
        """Whether the token service says anything else than what was last seen."""
        if seen is None:
            return True
        row = seen[1]
        told = (known.state, known.username, known.app_scoped_id, known.connected_at)
        return (row.state, row.username, row.app_scoped_id, row.connected_at) != told or healed(row, known.state)

    # --- holds: the account's row keeps its conversations from being claimed ---------------------------------------

    async def may_work(self, account: str) -> bool:
        """Whether a conversation of this account may be claimed now.

        A held account lets one probe through a minute: whoever prolongs the hold may go. While the token service is
        down, one conversation a second goes to ask.
        """
        now = self.clock.now()
        row = await self.current(account)
        if row.state == AccountState.DISCONNECTED:
            return True  # nothing is sent; what is due is skipped, whatever held or paused the account
        if now < max(self.app_held_until, self.slow_until.get(account, 0)):
            return False
        if paused_at(row, now) or (row.hold is not None and now < row.hold_until):
            return False
        if account in self.tokenless:
            if now < self.tokenless[account]:
                return False
            self.no_token(account)
        if row.hold is None or row.hold in UNPROBED:
            return True
        saved = await self.accounts.save(replace(row, hold_until=now + self.times.probe_every))
        self.seen.pop(account, None)
        if saved is not None:
            self.probing[account] = saved.hold_until
        return saved is not None

    def lets_speak(self, row: Account) -> bool:
        """Whether a person's own words may go out, which a pause of the account does not stop."""
        return self.clock.now() >= max(self.left_alone_until(row), self.tokenless.get(row.account, 0))

    def left_alone_until(self, row: Account) -> int:
        """Until when nobody who can wait calls Instagram for this account: held or near a limit, or the app is."""
        held = row.hold_until if row.hold else 0
        return max(self.app_held_until, self.slow_until.get(row.account, 0), held)

    def no_token(self, account: str) -> None:
        """The token service is down: the account's conversations wait together, not each by its own back-off.

        So they are all answered when it is back; one whose turn came often in the outage would wait for minutes more.
        """
        self.tokenless[account] = self.clock.now() + self.times.pass_floor

    def goes_on(self, account: str) -> None:
        """A token of the account was lent, or a conversation needed none: the others go on."""
        self.tokenless.pop(account, None)

    async def speaks(self, account: str, person: str) -> None:
        """A person is about to say something here: it goes out whatever pauses the account, from whichever replica.

        It is always a write, so that who found nothing said a moment ago does not forget them now.
        """
        await self.change(account, lambda row: replace(row, speaking=(*others(row, person), person)), always=True)

    async def said_nothing(self, row: Account, person: str) -> None:
        """No words wait there, looked for after this row was read: forget the person, unless the row has changed."""
        if person in row.speaking:
            self.seen.pop(row.account, None)
            await self.accounts.save(replace(row, speaking=others(row, person)))

    async def spoke(self, account: str, person: str) -> None:
        """Nothing of a person's words waits any more."""
        await self.change(account, lambda row: replace(row, speaking=others(row, person)))

    def heard(self, account: str, usage: Usage) -> None:
        """Slow an account down before Instagram does: nothing of it is claimed for a while."""
        wait = slow_for(usage, times=self.times)
        if wait:
            log.info("account_slowed", account=account, percent=usage.percent, seconds=wait / 1000)
            self.slow_until[account] = self.clock.now() + wait
        else:
            self.slow_until.pop(account, None)

    def holds(self, row: Account) -> bool:
        """Whether nothing may be sent for this account now, but by its probe."""
        now = self.clock.now()
        runs = row.hold is not None and now < row.hold_until and row.hold_until != self.probing.get(row.account)
        return runs or now < self.app_held_until

    async def hold(self, account: str, reason: HoldReason, *, for_ms: int, whole_app: bool = False) -> None:
        """Keep the account's conversations (or the whole app's) from being worked on for so long."""
        now = self.clock.now()
        if whole_app:
            self.app_held_until = max(self.app_held_until, now + for_ms)
        log.warning("account_held", account=account, reason=reason, seconds=for_ms / 1000, whole_app=whole_app)
        probed = self.probing.pop(account, None)
        await self.change(
            account, lambda row: held(row, reason, now + for_ms, now=now, probed=row.hold_until == probed)
        )

    async def release(self, account: str) -> None:
        """A call of the account succeeded: nothing holds it any more, unless it was held while the call ran."""
        row = await self.current(account)
        if (row.hold is not None or row.hold_step) and not self.holds(row):
            # What was held within the last second, perhaps by another replica, shows only when the row is read again.
            await self.change(account, lambda newest: newest if self.holds(newest) else freed(newest))
            if (await self.current(account)).hold is None:
                log.info("account_released", account=account, reason=row.hold)
                self.probing.pop(account, None)

    async def give_back(self, account: str, probe: int | None) -> None:
        """A probe had nothing to send, or met nothing that holds the account or frees it: the next may go at once."""
        if probe is not None and self.probing.get(account) == probe:
            del self.probing[account]
            await self.change(account, lambda row: given_back(row, probe, now=self.clock.now()))

    def silent(self, row: Account) -> bool:
        """Whether the account's row keeps what is due there from being worked on."""
        now = self.clock.now()
        return held_for(row, now=now) is not None or now < self.app_held_until or paused_at(row, now)

    async def disconnect(self, account: str) -> None:
        """The token service does not have the account any more: what is due there is skipped."""
        await self.change(account, lambda row: replace(row, state=AccountState.DISCONNECTED, hold=None))

    async def change(self, account: str, rule: Callable[[Account], Account], *, always: bool = False) -> None:
        """Write the account's row by a rule, again until nobody was faster. One that was erased does not come back."""
        while row := await self.accounts.get(account):
            changed = rule(row)
            saved = row if changed == row and not always else await self.accounts.save(changed)
            if saved is not None:
                self.remember(saved)
                return


def others(row: Account, person: str) -> tuple[str, ...]:
    """Return to whom else words wait."""
    return tuple(one for one in row.speaking if one != person)


def known_from(lent: Lent) -> KnownAccount:
    """Return what a lent token tells of its account."""
    return KnownAccount(
        account=lent.account,
        app_scoped_id=lent.app_scoped_id,
        username=lent.username,
        state=AccountState.ACTIVE,
        connected_at=0,
    )
