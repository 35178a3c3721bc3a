"""The loops: they pause, go on, and never end."""

import asyncio
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from services.common.metrics import CommonMetrics, Dependency
from services.common.ops import Health
from services.common.unfinished import Unfinished
from services.tokens import state
from services.tokens.keyring import Keyring
from services.tokens.metrics import RefreshOutcome, TokensMetrics
from services.tokens.sweep import Sweep
from tests.tokens.fakes import A, profile, refusal, silence
from tests.tokens.test_keyring import new_key

OWN = [Dependency.DATABASE, Dependency.KEYRING]


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def health(registry):
    return Health(CommonMetrics(registry, OWN), OWN)


@pytest.fixture
def sweep(here, registry, health):
    return Sweep(here.ports, here.alerts, Unfinished(), gauges=(TokensMetrics(registry), health), seconds=30)


@pytest.fixture
def keyring(tmp_path):
    new_key(tmp_path, "1")
    return Keyring(tmp_path)


async def many(here, number):
    """That many accounts, all of them overdue."""
    for n in range(number):
        await here.connected(profile(n))
    here.clock.tick(days=55)


async def test_all_that_is_overdue_is_refreshed_in_one_sweep(here, sweep, registry):
    await many(here, 5)
    while await sweep.refresh_one():
        pass
    assert registry.get_sample_value("igbot_refreshes_total", {"outcome": RefreshOutcome.REFRESHED}) == 5


@pytest.mark.parametrize("fault", [silence(), refusal(4, 403)])
async def test_one_failure_after_the_other_ends_the_sweep(here, sweep, fault):
    await many(here, 20)
    here.meta.fault_of = lambda _: fault
    before = here.meta.calls.count("refresh")
    while await sweep.refresh_one():
        pass
    assert here.meta.calls.count("refresh") - before == 3


async def test_single_failures_do_not_hold_up_the_others(here, sweep):
    await many(here, 12)
    tries = iter(range(100))
    here.meta.fault_of = lambda call: silence() if call == "refresh" and next(tries) % 3 == 0 else None
    here.clock.tick(seconds=1)
    while await sweep.refresh_one():
        pass
    assert sum(row.last_version > 1 for row in here.store.rows.values()) >= 8


async def test_the_gauges_tell_of_the_store(here, sweep, keyring, registry):
    await here.connected(A)
    here.clock.tick(days=10)
    await sweep.look(keyring)
    assert registry.get_sample_value("igbot_accounts", {"state": "active"}) == 1
    assert registry.get_sample_value("igbot_token_expiry_seconds") == 50 * 86_400
    assert registry.get_sample_value("igbot_token_least_expiry_seconds", {"state": "active"}) == 50 * 86_400
    age = here.clock.now().timestamp() - registry.get_sample_value("igbot_refresh_last_success_timestamp_seconds")
    assert age == 10 * 86_400


async def test_a_mass_rejection_is_raised_and_ends(here, sweep, keyring, registry):
    rows = [await here.connected(profile(n)) for n in range(5)]
    for row in rows:
        now = here.clock.now()
        await here.store.change(
            row.account, lambda found, now=now: state.suspected(found, 1, now=now, probe_at=now + timedelta(hours=1))
        )
    await sweep.look(keyring)
    assert registry.get_sample_value("igbot_mass_token_rejection") == 1
    here.clock.tick(hours=2)
    while await sweep.watch_one():
        pass
    await sweep.look(keyring)
    assert registry.get_sample_value("igbot_mass_token_rejection") == 0


async def test_it_is_ready_after_the_first_look_and_stays_so(here, sweep, keyring, health):
    assert not health.ready
    await sweep.look(keyring)
    assert health.ready
    here.store.down = True
    loops = sweep.tasks(keyring)
    await asyncio.sleep(0)
    for _ in range(50):
        await asyncio.sleep(0)
    assert health.ready
    assert health.checks[Dependency.DATABASE] == "the store is away"
    here.store.down = False
    for _ in range(500):
        await asyncio.sleep(0)
    assert health.checks[Dependency.DATABASE] == "ok"
    for loop in loops:
        loop.cancel()
    await asyncio.gather(*loops, return_exceptions=True)


async def test_a_loop_survives_what_nobody_thought_of(here, sweep):
    turns = []

    async def work():
        turns.append(1)
        if len(turns) < 5:
            raise ZeroDivisionError
        await asyncio.Event().wait()
        return False

    loop = asyncio.ensure_future(sweep._loop(work))
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(turns) == 5
    loop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loop


async def test_a_broken_keyring_is_reported(sweep, keyring, health, tmp_path):
    (tmp_path / "1").write_text("broken")
    await sweep.look(keyring)
    assert "TOKEN_KEYS_DIR" in health.checks[Dependency.KEYRING]
    assert not health.ready


async def test_a_refresh_that_a_stop_interrupts_is_finished(here, sweep):
    await many(here, 1)
    begun, go = asyncio.Event(), asyncio.Event()
    refresh = here.meta.refresh

    async def slowly(token):
        begun.set()
        await go.wait()
        return await refresh(token)

    here.meta.refresh = slowly
    loop = asyncio.ensure_future(sweep._loop(sweep.refresh_one))
    await begun.wait()
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    go.set()
    await sweep.unfinished.finish(5)
    assert here.store.rows[profile(0).account].last_version == 2
