"""When things are due."""

import random
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from bench import refreshes
from services.tokens import schedule
from tests.tokens.fakes import BASE, SIXTY_DAYS

LIVES = st.floats(min_value=60, max_value=SIXTY_DAYS * 2).map(lambda seconds: timedelta(seconds=seconds))
SEEDS = st.integers().map(random.Random)


@given(LIVES, SEEDS)
def test_no_refresh_is_planned_before_the_token_may_be_refreshed(life, chance):
    for moment in schedule.refresh_candidates(BASE, BASE + life, chance):
        assert moment - BASE > timedelta(hours=24)


@given(SEEDS)
def test_a_refresh_is_planned_well_before_the_end(chance):
    end = BASE + timedelta(days=60)
    for moment in schedule.refresh_candidates(BASE, end, chance):
        assert timedelta(days=12) <= moment - BASE
        assert end - moment >= timedelta(days=12) > schedule.ALARM_LEFT


def test_the_emptiest_hour_is_taken():
    moments = [BASE, BASE + timedelta(hours=1), BASE + timedelta(hours=2)]
    assert schedule.emptiest(moments, [3, 1, 2]) == moments[1]
    assert schedule.emptiest(moments, [1, 1, 1]) == moments[0]


def test_a_moment_is_counted_in_its_hour_of_the_clock():
    start, end = schedule.hour_of(BASE + timedelta(minutes=59, seconds=59))
    assert (start, end) == (BASE, BASE + timedelta(hours=1))


@given(st.integers(0, 10_000), SEEDS, st.floats(0, 100_000))
def test_a_failed_refresh_waits_between_half_a_minute_and_six_hours_or_as_long_as_asked(failures, chance, wait):
    end = BASE + timedelta(days=30)
    pause = schedule.retry_refresh(BASE, end, failures, chance, wait) - BASE
    assert pause >= timedelta(seconds=max(wait, 30)) - timedelta(milliseconds=1)
    assert pause <= max(timedelta(hours=6), timedelta(seconds=wait + 1))


@given(st.integers(0, 1000), SEEDS)
def test_probes_come_within_the_hour_for_a_day_then_daily(probes, chance):
    pause = schedule.next_probe(BASE, probes, chance) - BASE
    if probes < 24:
        assert timedelta(minutes=50) < pause <= timedelta(hours=1)
    else:
        assert timedelta(hours=20) < pause <= timedelta(days=1)


@given(SEEDS)
def test_what_could_not_be_decided_is_looked_at_again_within_minutes(chance):
    for later in (schedule.unanswered_probe, schedule.doubtful_probe, schedule.retry_subscription):
        assert timedelta(minutes=1) < later(BASE, chance) - BASE <= timedelta(minutes=10)


@given(st.integers(0, 1000), SEEDS)
def test_alerts_are_tried_again_between_seconds_and_ten_minutes(tries, chance):
    assert timedelta(seconds=2) < schedule.retry_alert(BASE, tries, chance) - BASE <= timedelta(minutes=10)


@given(SEEDS)
def test_replicas_that_start_together_drift_apart(chance):
    assert len({schedule.sweep_pause(30, chance) for _ in range(5)}) == 5


async def test_ten_thousand_accounts_connected_together_are_refreshed_evenly():
    found = refreshes.measured(await refreshes.simulate(days=100), days=100)
    assert found["ratio"] <= 2
    assert found["peak_minute"] <= 60
