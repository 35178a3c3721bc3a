"""The rules of an account's states, driven at random: what holds whatever happens, in whatever order."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.common.account_state import AccountState
from services.common.errors import Unavailable
from services.tokens import state
from services.tokens.accounts import Account, Sealed
from services.tokens.documents import from_document, to_document
from tests.tokens.fakes import BASE, A

HOUR = timedelta(hours=1)
DEAD, ACTIVE, LIMITED, GONE = (
    AccountState.REAUTHORIZE,
    AccountState.ACTIVE,
    AccountState.LIMITED,
    AccountState.DISCONNECTED,
)
VERSIONS = st.integers(-1, 1)  # how far a finding's version is from the account's: mostly it is the same
BRAKES = st.booleans()


def connected_account() -> Account:
    """An account as it begins."""
    token = state.Stored(Sealed("k", b"0"), BASE, BASE + timedelta(days=60), BASE + 24 * HOUR)
    return state.connected(None, A, token, scopes=(), subscription_at=BASE)


class AccountMachine(RuleBasedStateMachine):
    """One account, with two workers that may hold a fence, and a memory of what ought to be true."""

    def __init__(self) -> None:
        super().__init__()
        self.account = connected_account()
        self.now = BASE
        self.fences: dict[str, int] = {}
        self.sealed = 0
        self.agreed = 0  # the version whose rejection a probe has agreed with
        self.changes: list[AccountState] = []

    def stored(self) -> state.Stored:
        self.sealed += 1
        return state.Stored(
            Sealed("k", str(self.sealed).encode()), self.now, self.now + timedelta(days=60), self.now + 24 * HOUR
        )

    def take(self, after: Account | None, off: int = 0) -> None:
        """Go on with what a rule made; a finding about another version than the account's must make nothing."""
        if after is None:
            return
        assert off == 0, "a finding about another version changed the account"
        if after.state != self.account.state:
            self.changes.append(after.state)
        assert after.last_version >= self.account.last_version
        assert after.fence >= self.account.fence
        self.account = after

    @rule(minutes=st.integers(0, 3000))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule()
    def connect_again(self) -> None:
        self.take(state.connected(self.account, A, self.stored(), scopes=(), subscription_at=self.now))
        assert self.account.state == ACTIVE

    @rule(reason=st.sampled_from(["", "the owner removed the app"]))
    def disconnect(self, reason: str) -> None:
        self.take(state.disconnected(self.account, reason, self.now))
        assert self.account.token is None

    @rule(worker=st.sampled_from("ab"))
    def lease(self, worker: str) -> None:
        held = self.account.lease_until is not None and self.account.lease_until > self.now
        try:
            self.take(state.leased(self.account, self.now, self.now + timedelta(minutes=2)))
        except Unavailable:
            assert held
        else:
            assert not held
            self.fences[worker] = self.account.fence

    @rule(worker=st.sampled_from("ab"), refreshed=st.booleans())
    def finish(self, worker: str, refreshed: bool) -> None:
        fence = self.fences.pop(worker, -1)
        before = self.account
        try:
            if refreshed:
                self.take(state.refreshed(before, fence, self.stored()))
            else:
                self.take(state.refresh_failed(before, fence, self.now + HOUR))
        except state.LostLease:
            assert fence != before.fence or before.token is None
        else:
            assert fence == before.fence

    @rule(off=VERSIONS)
    def doubt(self, off: int) -> None:
        before = self.account
        self.take(state.doubted(before, before.last_version + off, self.now), off)
        assert self.account.state == before.state

    @rule(off=VERSIONS, braked=BRAKES)
    def probe_rejects(self, off: int, braked: bool) -> None:
        before, version = self.account, self.account.last_version + off
        self.take(state.suspected(before, version, now=self.now, probe_at=self.now + HOUR), off)
        if off == 0 and before.token is not None:
            self.agreed = version
        assert self.account.state == before.state
        if not braked:
            self.take(state.turned(self.account, version, "why", now=self.now, probe_at=self.now + HOUR), off)

    @rule(off=VERSIONS)
    def turn_without_a_probe(self, off: int) -> None:
        before = self.account
        self.take(state.turned(before, before.last_version + off, "why", now=self.now, probe_at=self.now), off)
        if before.rejected_at is None:
            assert self.account == before

    @rule()
    def spare(self) -> None:
        before = self.account
        self.take(state.spared(before, now=self.now, probe_at=self.now + HOUR))
        if self.account != before:
            assert (before.state, self.account.state) == (DEAD, ACTIVE)
            assert self.account.rejected_at is not None

    @rule(off=VERSIONS)
    def limit(self, off: int) -> None:
        before = self.account
        after = state.limited(before, before.last_version + off, "why", now=self.now, probe_at=self.now + HOUR)
        self.take(after, off)
        assert before.state in state.LIVE or self.account.state == before.state

    @rule(off=VERSIONS)
    def probe_answers(self, off: int) -> None:
        before = self.account
        self.take(state.alive(before, before.last_version + off, now=self.now, refresh_at=self.now + HOUR), off)
        if off == 0 and before.token is not None:
            assert self.account.state == ACTIVE
            assert self.account.rejected_at is None

    @rule(off=VERSIONS)
    def probe_says_nothing(self, off: int) -> None:
        before = self.account
        self.take(state.still_ill(before, before.last_version + off, now=self.now, probe_at=self.now + HOUR), off)
        assert self.account.state == before.state

    @rule()
    def read_subscription(self) -> None:
        self.take(state.subscription_read(self.account, ("messages",), now=self.now, next_at=self.now + HOUR))

    @rule()
    def tell(self) -> None:
        if self.account.alerts:
            self.take(state.told(self.account, self.account.alerts[0].id, self.now))

    @invariant()
    def only_a_probe_with_the_same_version_turns_an_account(self) -> None:
        if self.account.state == DEAD:
            assert self.agreed == self.account.last_version

    @invariant()
    def what_is_in_use_has_a_token_and_a_refresh(self) -> None:
        if self.account.state in state.LIVE:
            assert self.account.token is not None
            assert self.account.token.version == self.account.last_version
            assert self.account.plan.refresh_at is not None

    @invariant()
    def what_is_ill_is_probed_again(self) -> None:
        if self.account.state in state.ILL:
            assert self.account.plan.probe_at is not None

    @invariant()
    def what_is_suspected_is_probed_again(self) -> None:
        if self.account.rejected_at is not None and self.account.state != GONE:
            assert self.account.plan.probe_at is not None

    @invariant()
    def what_is_active_has_its_webhooks_looked_at(self) -> None:
        if self.account.state == ACTIVE:
            assert self.account.plan.subscription_at is not None

    @invariant()
    def what_is_gone_or_dead_is_not_refreshed(self) -> None:
        if self.account.state in {GONE, DEAD}:
            assert self.account.plan.refresh_at is None

    @invariant()
    def every_illness_and_every_recovery_is_told(self) -> None:
        if self.account.alerts:
            assert self.account.plan.alert_at is not None
        for alert in self.account.alerts:
            assert alert.state in {ACTIVE, DEAD, LIMITED}

    @invariant()
    def the_stores_lose_nothing(self) -> None:
        assert from_document(to_document(self.account)) == replace(self.account)


AccountMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=30)
TestAccountMachine = AccountMachine.TestCase
