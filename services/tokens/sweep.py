"""The loops that keep accounts alive; each lives as long as the service does, whatever happens inside."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from services.common.account_state import AccountState
from services.common.errors import Unavailable
from services.common.metrics import Dependency
from services.common.ops import Health
from services.common.unfinished import Unfinished
from services.tokens import judge, keep_alive, schedule, state
from services.tokens.accounts import Summary
from services.tokens.keyring import Keyring
from services.tokens.metrics import RefreshOutcome, TokensMetrics
from services.tokens.ports import Alerts, Ports

log = structlog.get_logger(__name__)

WATCHERS = 4
FAULT_PAUSE = 5.0
MISSES = frozenset({RefreshOutcome.FAILED, RefreshOutcome.REFUSED})
MISSES_IN_A_ROW = 3
"""After so many it is not the accounts: Instagram is down, or the app over its limit, and each more would add to it."""


class Sweep:
    """One refresher, a few watchers and the gauges. Any number of replicas may run it."""

    def __init__(
        self,
        ports: Ports,
        alerts: Alerts,
        unfinished: Unfinished,
        *,
        gauges: tuple[TokensMetrics, Health],
        seconds: float,
    ) -> None:
        """Sweep every `seconds` or so; what a stop interrupts is finished by `unfinished`."""
        self.ports = ports
        self.alerts = alerts
        self.unfinished = unfinished
        self.metrics, self.health = gauges
        self.seconds = seconds
        self.misses = 0

    def tasks(self, keyring: Keyring) -> list[asyncio.Task[None]]:
        """Start the loops."""
        loops = [self._loop(self.refresh_one), *(self._loop(self.watch_one) for _ in range(WATCHERS))]
        return [asyncio.ensure_future(loop) for loop in (*loops, self._loop(lambda: self.look(keyring)))]

    async def refresh_one(self) -> bool:
        """Refresh one token; say whether to go on at once: not when none is due, nor when one after the other fails."""
        outcome = await keep_alive.refresh_next(self.ports)
        if outcome is None:
            return False
        self.metrics.refreshes.labels(outcome).inc()
        self.misses = self.misses + 1 if outcome in MISSES else 0
        return self.misses < MISSES_IN_A_ROW

    async def watch_one(self) -> bool:
        """Look after one account; say whether there was one."""
        done = await keep_alive.watch_next(self.ports, self.alerts)
        if done is not None and done[0] is not None:
            self.metrics.subscriptions.labels(done[0]).inc()
        return done is not None

    async def look(self, keyring: Keyring) -> bool:
        """Look at keys and accounts as a whole; never says that there is more to do."""
        read = keyring.reload()
        self.health.report(Dependency.KEYRING, up=read, why="TOKEN_KEYS_DIR cannot be read")
        try:
            summary = await self.ports.rota.summary(self.ports.clock.now() - state.BRAKE_WINDOW)
        except Unavailable as error:
            self.health.report(Dependency.DATABASE, up=False, why=str(error))
            raise
        self.health.report(Dependency.DATABASE, up=True)
        self._show(summary)
        return False

    def _show(self, summary: Summary) -> None:
        now = self.ports.clock.now()
        for name in AccountState:
            self.metrics.accounts.labels(name).set(summary.by_state.get(name, 0))
            end = summary.least_expiry.get(name)
            self.metrics.expiry_by_state.labels(name).set((end - now).total_seconds() if end else NO_TOKEN)
        first = summary.least_expiry.get(AccountState.ACTIVE)
        left = (first - now).total_seconds() if first else NO_TOKEN
        self.metrics.expiry.set(left)
        if left < schedule.ALARM_LEFT.total_seconds():
            log.warning("token_close_to_its_end", seconds_left=round(left))
        self.metrics.last_success.set(summary.last_refresh.timestamp() if summary.last_refresh else 0)
        self.metrics.unsubscribed.set(summary.unsubscribed)
        self.metrics.mass_rejection.set(state.too_many(summary.rejected, judge.in_use(summary)))

    async def _loop(self, work: Callable[[], Awaitable[bool]]) -> None:
        """Work until nothing is due, pause, begin again; a store that is away is waited for."""
        while True:
            try:
                while await self.unfinished.run(work()):
                    pass
                pause = self.seconds
            except Unavailable as error:
                log.warning("sweep_paused", why=str(error))
                pause = FAULT_PAUSE
            except Exception:  # this loop must live: what it does not do, nobody does
                log.exception("sweep_failed")
                pause = FAULT_PAUSE
            await self.ports.clock.sleep(schedule.sweep_pause(pause, self.ports.chance))


NO_TOKEN = float("inf")
"""What the gauges say where there is no token: nothing is about to end."""
