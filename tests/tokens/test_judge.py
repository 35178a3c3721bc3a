"""Who decides that a token is dead: Instagram, asked twice, and never many at once."""

import asyncio
import json
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from services.common.account_state import AccountState
from services.common.errors import Unavailable, UnknownAccount
from services.common.graph import deciphered
from services.common.graph_errors import Fault, GraphError, GraphFailure
from services.common.unfinished import Unfinished
from services.tokens import judge, keep_alive, state
from services.tokens.judge import Reports
from tests.tokens.fakes import A, account, profile, refusal, silence

FIXTURES = Path(__file__).parents[1] / "fixtures" / "graph"
EXPIRED = GraphError(400, 190, 463, "OAuthException")
DEAD, ACTIVE, LIMITED = AccountState.REAUTHORIZE, AccountState.ACTIVE, AccountState.LIMITED

# The state that each answer of the fixtures leads to when a borrower reports it and a probe with the same token gets
# it as well. What is not here changes nothing.
LEADS_TO = {
    **dict.fromkeys(
        (
            "error_0_auth",
            "error_102_key_invalid",
            "error_190_458_app_removed",
            "error_190_459_checkpoint",
            "error_190_460_password",
            "error_190_463_expired",
            "error_190_463_expired_pt",
            "error_190_467_invalid",
            "error_190_cannot_parse",
            "error_190_invalid",
            "error_code_as_text",
            "refresh_expired",
        ),
        DEAD,
    ),
    **dict.fromkeys(
        (
            "error_10_1893063_restricted",
            "error_10_2534077_link",
            "error_10_permission",
            "error_100_2534029_blocked",
            "error_200_2534041_dm_off",
            "error_200_dm_off_no_subcode",
            "error_200_permission",
            "error_25_2207050_restricted",
            "error_368_policy",
            "error_4_2207051_blocked",
            "subscribe_no_permission",
        ),
        LIMITED,
    ),
}


def failures():
    """Every error answer of the fixtures."""
    for path in sorted(FIXTURES.glob("*/*")):
        if path.name.endswith(".headers.json"):
            continue
        try:
            deciphered(int(path.name.partition(".")[0]), path.read_bytes(), {})
        except GraphFailure as failure:
            yield pytest.param(path.parent.name, failure, id=path.parent.name)


@pytest.mark.parametrize(("case", "failure"), list(failures()))
async def test_an_error_leads_to_the_state_of_the_table(here, case, failure):
    row = await here.connected()
    here.meta.fault_of = lambda _: failure
    await Reports(here.ports, Unfinished()).rejected(A.account, row.last_version, failure.error or GraphError(502))
    assert (await here.row()).state == LEADS_TO.get(case, ACTIVE)


@pytest.mark.parametrize(("case", "failure"), list(failures()))
async def test_a_refresh_that_fails_so_leads_to_the_same_state(here, case, failure):
    await here.connected()
    here.clock.tick(days=50)
    here.meta.fault_of = lambda _: failure
    await keep_alive.refresh_next(here.ports)
    assert (await here.row()).state == LEADS_TO.get(case, ACTIVE)


@pytest.mark.parametrize(("case", "failure"), list(failures()))
async def test_a_subscription_check_that_fails_so_leads_to_the_same_state(here, case, failure):
    await here.connected()
    here.clock.tick(hours=2)
    here.meta.fault_of = lambda _: failure
    for _ in range(3):
        await keep_alive.watch_next(here.ports, here.alerts)
        here.clock.tick(minutes=3)
    assert (await here.row()).state == LEADS_TO.get(case, ACTIVE)


async def test_a_reported_death_that_a_probe_denies_changes_nothing(here):
    row = await here.connected()
    assert await Reports(here.ports, Unfinished()).rejected(A.account, row.last_version, EXPIRED) == ACTIVE
    assert here.meta.calls[-1] == "profile"
    assert (await here.row()).rejected_at is None


async def test_a_report_of_anything_but_a_death_asks_nobody(here):
    row = await here.connected()
    here.kill()
    before = len(here.meta.calls)
    for error in (GraphError(400, 613), GraphError(500, 2), GraphError(400, 100, 2534014), GraphError(502)):
        assert await Reports(here.ports, Unfinished()).rejected(A.account, row.last_version, error) == ACTIVE
    assert len(here.meta.calls) == before


async def test_a_late_report_about_an_old_version_changes_nothing(here):
    first = await here.connected()
    await here.connected()
    before = await here.row()
    here.kill()
    assert await Reports(here.ports, Unfinished()).rejected(A.account, first.last_version, EXPIRED) == ACTIVE
    assert await here.row() == before


async def test_a_report_about_a_version_to_come_changes_nothing(here):
    row = await here.connected()
    here.kill()
    assert await Reports(here.ports, Unfinished()).rejected(A.account, row.last_version + 1, EXPIRED) == ACTIVE


async def test_a_probe_without_an_answer_decides_nothing_and_is_repeated_soon(here):
    row = await here.connected()
    here.meta.fault_of = lambda _: silence()
    assert await Reports(here.ports, Unfinished()).rejected(A.account, row.last_version, EXPIRED) == ACTIVE
    assert (await here.row()).plan.probe_at - here.clock.now() <= timedelta(minutes=5)


class PowerCut(BaseException):
    """Ends a process where it stands."""


async def test_a_death_whose_probe_was_cut_off_is_found_by_the_next_sweep(here):
    row = await here.connected()
    here.kill()

    def cut(_call):
        raise PowerCut

    here.meta.fault_of = cut
    with pytest.raises(PowerCut):
        await Reports(here.ports, Unfinished()).rejected(A.account, row.last_version, EXPIRED)
    here.meta.fault_of = lambda _: None
    here.clock.tick(minutes=2)
    await keep_alive.watch_next(here.ports, here.alerts)
    assert (await here.row()).state == DEAD


async def test_many_reports_at_once_are_one_probe(here):
    row = await here.connected()
    reports = Reports(here.ports, Unfinished())
    before = here.meta.calls.count("profile")
    await asyncio.gather(*(reports.rejected(A.account, row.last_version, EXPIRED) for _ in range(20)))
    assert here.meta.calls.count("profile") == before + 1


async def test_a_probe_goes_on_when_whoever_reported_is_gone_and_a_stop_waits_for_it(here):
    row, unfinished = await here.connected(), Unfinished()
    asked, going = asyncio.Event(), asyncio.Event()
    here.kill()
    profile_of = here.meta.profile

    async def slowly(*args, **how):
        asked.set()
        await going.wait()
        return await profile_of(*args, **how)

    here.meta.profile = slowly
    report = asyncio.create_task(Reports(here.ports, unfinished).rejected(A.account, row.last_version, EXPIRED))
    await asked.wait()
    report.cancel()
    with pytest.raises(asyncio.CancelledError):
        await report
    going.set()
    await unfinished.finish(10)
    assert (await here.row()).state == DEAD


async def test_reports_one_after_the_other_probe_once_a_minute(here):
    row = await here.connected()
    reports = Reports(here.ports, Unfinished())
    before = here.meta.calls.count("profile")
    for _ in range(10):
        await reports.rejected(A.account, row.last_version, EXPIRED)
        here.clock.tick(seconds=10)
    assert here.meta.calls.count("profile") - before <= 3


async def test_a_token_that_dies_right_after_a_probe_is_known_within_minutes(here):
    row = await here.connected()
    reports = Reports(here.ports, Unfinished())
    await reports.rejected(A.account, row.last_version, EXPIRED)
    here.kill()
    await reports.rejected(A.account, row.last_version, EXPIRED)
    here.clock.tick(minutes=2)
    await keep_alive.watch_next(here.ports, here.alerts)
    assert (await here.row()).state == DEAD


async def test_an_unknown_account_cannot_be_reported(here):
    with pytest.raises(UnknownAccount):
        await Reports(here.ports, Unfinished()).rejected("1", 1, EXPIRED)


async def test_a_key_that_is_away_leaves_the_account_alone(here):
    row = await here.connected()
    here.kill()

    def away(*_):
        raise Unavailable("no key")

    here.ports.keys.open = away
    with pytest.raises(Unavailable):
        await Reports(here.ports, Unfinished()).rejected(A.account, row.last_version, EXPIRED)
    assert (await here.row()).state == ACTIVE


async def test_reauthorize_heals_when_a_probe_succeeds(here):
    row = await here.connected()
    here.kill()
    await Reports(here.ports, Unfinished()).rejected(A.account, row.last_version, EXPIRED)
    here.heal()
    here.clock.tick(hours=1, seconds=1)
    await keep_alive.watch_next(here.ports, here.alerts)
    healed = await here.row()
    assert healed.state == ACTIVE
    assert healed.plan.refresh_at is not None
    assert healed.plan.subscription_at is not None


async def test_ill_accounts_are_probed_hourly_for_a_day_then_daily(here):
    row = await here.connected()
    here.kill()
    await Reports(here.ports, Unfinished()).rejected(A.account, row.last_version, EXPIRED)
    moments = []
    for _ in range(30):
        here.clock.time = (await here.row()).plan.probe_at
        moments.append(here.clock.time)
        await keep_alive.watch_next(here.ports, here.alerts)
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    assert all(timedelta(minutes=54) <= gap <= timedelta(hours=1) for gap in gaps[:23])
    assert all(gap > timedelta(hours=21) for gap in gaps[24:])


async def test_a_limited_account_heals_only_when_its_messages_can_be_read(here):
    row = await here.connected()
    here.meta.owners[A.account].limited = GraphError(403, 200, 2534041)
    await Reports(here.ports, Unfinished()).rejected(A.account, row.last_version, GraphError(403, 200, 2534041))
    limited = await here.row()
    assert limited.state == LIMITED
    assert "Allow access to messages" in limited.reason
    await next_probe(here)
    assert (await here.row()).state == LIMITED
    here.heal()
    await next_probe(here)
    assert (await here.row()).state == ACTIVE


async def next_probe(here):
    here.clock.time = (await here.row()).plan.probe_at
    await keep_alive.watch_next(here.ports, here.alerts)


async def test_a_limited_account_whose_token_dies_turns(here):
    row = await here.connected()
    await Reports(here.ports, Unfinished()).rejected(A.account, row.last_version, GraphError(403, 10))
    here.kill()
    await next_probe(here)
    assert (await here.row()).state == DEAD


async def test_an_account_that_is_limited_again_and_again_is_probed_ever_less(here):
    row = await here.connected()
    reports = Reports(here.ports, Unfinished())
    gaps = []
    for _ in range(30):
        await reports.rejected(A.account, row.last_version, GraphError(403, 10, 1893063))
        gaps.append((await here.row()).plan.probe_at - here.clock.now())
        here.meta.fault_of = lambda call: refusal(10, 403, subcode=1893063) if call == "look_at_messages" else None
        await next_probe(here)
        here.meta.fault_of = lambda _: None
        await next_probe(here)
    assert gaps[0] <= timedelta(hours=1)
    assert gaps[-1] > timedelta(hours=20)


async def many(here, number):
    """That many connected accounts."""
    return [await here.connected(profile(n)) for n in range(number)]


async def report_all(here, rows):
    reports = Reports(here.ports, Unfinished())
    for row in rows:
        await reports.rejected(row.account, row.last_version, EXPIRED)


async def states(here):
    return [row.state for row in await here.store.all()]


async def test_three_dead_tokens_are_three_dead_tokens(here):
    rows = await many(here, 10)
    for row in rows[:3]:
        here.kill(profile(int(row.username.removeprefix("shop_"))))
    await report_all(here, rows[:3])
    assert (await states(here)).count(DEAD) == 3


async def test_when_more_than_a_fifth_would_turn_within_ten_minutes_none_do(here):
    rows = await many(here, 10)
    here.meta.fault_of = lambda _: refusal(190, 401)
    await report_all(here, rows)
    assert await states(here) == [ACTIVE] * 10
    summary = await here.store.summary(here.clock.now() - state.BRAKE_WINDOW)
    assert state.too_many(summary.rejected, judge.in_use(summary))


async def test_a_fifth_of_many_may_turn(here):
    rows = await many(here, 30)
    for number in range(6):
        here.kill(profile(number))
    await report_all(here, rows)
    assert (await states(here)).count(DEAD) == 6
    here.kill(profile(6))
    here.clock.tick(minutes=1)
    await Reports(here.ports, Unfinished()).rejected(rows[6].account, rows[6].last_version, EXPIRED)
    assert (await states(here)).count(DEAD) == 0


async def test_slow_deaths_are_no_mass_rejection(here):
    rows = await many(here, 10)
    for number, row in enumerate(rows):
        here.kill(profile(number))
        await Reports(here.ports, Unfinished()).rejected(row.account, row.last_version, EXPIRED)
        here.clock.tick(minutes=4)
    assert await states(here) == [DEAD] * 10


async def test_after_a_mass_rejection_the_healthy_recover_and_the_dead_turn(here):
    rows = await many(here, 10)
    here.meta.fault_of = lambda _: refusal(190, 401)
    await report_all(here, rows)
    here.meta.fault_of = lambda _: None
    here.kill(profile(4))
    for _ in range(60):
        here.clock.tick(minutes=1)
        while await keep_alive.watch_next(here.ports, here.alerts):
            pass
    assert await states(here) == [DEAD if number == 4 else ACTIVE for number in range(10)]


async def test_a_mass_rejection_that_lasts_for_a_day_is_believed(here):
    rows = await many(here, 10)
    here.meta.fault_of = lambda _: refusal(190, 401)
    await report_all(here, rows)
    for hours in range(26):
        here.clock.tick(hours=1)
        while await keep_alive.watch_next(here.ports, here.alerts):
            pass
        if hours == 22:
            assert await states(here) == [ACTIVE] * 10
    assert await states(here) == [DEAD] * 10


def test_the_table_names_only_fixtures_that_exist():
    assert set(LEADS_TO) <= {path.name for path in FIXTURES.iterdir()}


def test_only_dead_and_limiting_faults_are_in_the_table():
    for case in LEADS_TO:
        path = next(one for one in (FIXTURES / case).iterdir() if not one.name.endswith(".headers.json"))
        with pytest.raises(GraphFailure) as caught:
            deciphered(int(path.stem), path.read_bytes(), {})
        assert caught.value.fault in {Fault.TOKEN_DEAD, Fault.APP_REMOVED, Fault.ACCOUNT_LIMITED, Fault.BLOCKED}


def test_the_brake_counts():
    assert not state.too_many(3, 4)
    assert state.too_many(4, 4)
    assert not state.too_many(20, 100)
    assert state.too_many(21, 100)
    assert json.dumps(account(1).account)
