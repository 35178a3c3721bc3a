"""Refreshing tokens and looking after accounts."""

from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from services.common.account_state import AccountState
from services.common.errors import Unavailable
from services.common.graph_errors import GraphError, GraphFailure
from services.common.graph_usage import Usage
from services.common.unfinished import Unfinished
from services.tokens import connect, disconnect, judge, keep_alive, schedule, state
from services.tokens.judge import Reports
from services.tokens.metrics import RefreshOutcome, SubscriptionOutcome
from services.tokens.ports import Chore
from tests.tokens.fakes import BASE, A, B, profile, refusal, silence


class PowerCut(BaseException):
    """Ends a process where it stands."""


CALLBACK = "https://bot.example/oauth/callback"


async def test_a_due_token_is_refreshed_and_planned_anew(here):
    row = await here.connected()
    here.clock.time = row.plan.refresh_at
    assert await keep_alive.refresh_next(here.ports) == RefreshOutcome.REFRESHED
    after = await here.row()
    assert after.last_version == row.last_version + 1
    assert after.token.expires_at == here.clock.now() + timedelta(days=60)
    assert after.plan.refresh_at - here.clock.now() >= timedelta(days=12)
    assert after.lease_until is None
    assert await keep_alive.refresh_next(here.ports) is None


async def test_the_stored_token_is_the_one_that_came(here):
    await here.connected()
    here.clock.tick(days=50)
    await keep_alive.refresh_next(here.ports)
    newest = list(here.meta.owners[A.account].tokens)[-1]
    assert here.ports.keys.open(A.account, "token", (await here.row()).token.sealed) == newest


async def test_nothing_is_refreshed_before_it_is_due(here):
    await here.connected()
    assert await keep_alive.refresh_next(here.ports) is None


async def test_no_token_is_refreshed_before_24_hours_of_age(here):
    await here.connected()
    here.clock.tick(hours=24)
    assert await keep_alive.refresh_now(here.ports, A.account) == RefreshOutcome.TOO_YOUNG
    assert "refresh" not in here.meta.calls
    here.clock.tick(minutes=5)
    assert await keep_alive.refresh_now(here.ports, A.account) == RefreshOutcome.REFRESHED


async def test_a_refresh_that_is_due_too_early_waits_until_the_token_is_old_enough(here):
    row = await here.connected()
    await here.store.change(A.account, lambda found: replace(found, plan=replace(found.plan, refresh_at=BASE)))
    assert await keep_alive.refresh_next(here.ports) == RefreshOutcome.TOO_YOUNG
    assert (await here.row()).plan.refresh_at == row.token.issued_at + schedule.MIN_AGE


@pytest.mark.parametrize(("days", "fault"), [(0, None), (2, silence()), (2, refusal(2, 500)), (2, refusal(100))])
async def test_a_request_that_cannot_be_carried_out_leaves_the_plan_as_it_is(here, days, fault):
    before = await here.connected()
    here.clock.tick(days=days)
    here.meta.fault_of = lambda _: fault
    assert await keep_alive.refresh_now(here.ports, A.account) != RefreshOutcome.REFRESHED
    after = await here.row()
    assert after.plan.refresh_at == before.plan.refresh_at
    assert (after.lease_until, after.failures) == (None, 0)


async def test_a_refusal_for_its_age_is_no_dead_token(here):
    await here.connected()
    here.clock.tick(days=50)
    here.meta.faults = [refusal(100)]
    assert await keep_alive.refresh_next(here.ports) == RefreshOutcome.REFUSED
    assert (await here.row()).state == AccountState.ACTIVE


@pytest.mark.parametrize("fault", [silence(), refusal(2, 500), refusal(4, 403), refusal(17), refusal(None, 502)])
async def test_faults_back_off_and_never_give_the_account_up(here, fault):
    await here.connected()
    here.clock.tick(days=30)
    here.meta.fault_of = lambda _: fault
    pauses = []
    for _ in range(20):
        here.clock.time = max((await here.row()).plan.refresh_at, here.clock.now())
        assert await keep_alive.refresh_next(here.ports) in {RefreshOutcome.FAILED, RefreshOutcome.REFUSED}
        pauses.append((await here.row()).plan.refresh_at - here.clock.now())
    assert pauses[0] <= timedelta(minutes=1)
    assert timedelta(hours=3) <= pauses[-1] <= timedelta(hours=6)
    assert (await here.row()).state == AccountState.ACTIVE
    here.meta.fault_of = lambda _: None
    here.clock.time = (await here.row()).plan.refresh_at
    assert await keep_alive.refresh_next(here.ports) == RefreshOutcome.REFRESHED
    assert (await here.row()).failures == 0


async def test_close_to_the_end_the_pauses_are_an_hour_at_most(here):
    row = await here.connected()
    here.clock.time = row.token.expires_at - timedelta(days=3)
    here.meta.fault_of = lambda _: silence()
    for _ in range(12):
        here.clock.time = max((await here.row()).plan.refresh_at, here.clock.now())
        await keep_alive.refresh_next(here.ports)
    assert (await here.row()).plan.refresh_at - here.clock.now() <= timedelta(hours=1)


async def test_the_time_that_instagram_asks_for_is_waited(here):
    await here.connected()
    here.clock.tick(days=50)
    limit = GraphFailure("limit", reached=True, error=GraphError(400, 80002), usage=Usage(100, 23 * 60))
    here.meta.faults = [limit]
    await keep_alive.refresh_next(here.ports)
    assert (await here.row()).plan.refresh_at - here.clock.now() >= timedelta(minutes=23)


async def test_two_replicas_never_refresh_one_token_twice(here):
    await here.connected()
    here.clock.tick(days=50)
    assert await here.store.claim(Chore.REFRESH, now=here.clock.now(), until=here.clock.now() + schedule.LEASE)
    assert await keep_alive.refresh_next(here.ports) is None


async def test_refreshes_of_all_replicas_come_at_one_a_second_at_most(here):
    for number in range(5):
        await here.connected(profile(number))
    here.clock.tick(days=50)
    began = here.clock.now()
    for _ in range(5):
        assert await keep_alive.refresh_next(here.ports) == RefreshOutcome.REFRESHED
    assert here.clock.now() - began == timedelta(seconds=4)


async def test_a_slow_refresh_whose_lease_ran_out_is_not_written(here):
    await here.connected()
    here.clock.tick(days=50)
    now = here.clock.now()
    slow = await here.store.claim(Chore.REFRESH, now=now, until=now + schedule.LEASE)
    here.clock.tick(minutes=3)
    assert await keep_alive.refresh_next(here.ports) == RefreshOutcome.REFRESHED
    before = await here.row()
    here.clock.tick(days=2)
    assert await keep_alive.refresh(here.ports, slow) == RefreshOutcome.LOST_LEASE
    assert await here.row() == before


async def test_a_refresh_under_way_never_overwrites_a_new_connection(here):
    await here.connected()
    here.clock.tick(days=50)
    now = here.clock.now()
    slow = await here.store.claim(Chore.REFRESH, now=now, until=now + schedule.LEASE)
    again = await here.connected()
    assert await keep_alive.refresh(here.ports, slow) == RefreshOutcome.LOST_LEASE
    assert (await here.row()).last_version == again.last_version


async def test_a_refresh_under_way_never_brings_a_disconnected_account_back(here):
    await here.connected()
    here.clock.tick(days=50)
    now = here.clock.now()
    slow = await here.store.claim(Chore.REFRESH, now=now, until=now + schedule.LEASE)
    await disconnect.disconnect(here.ports, A.account, "the owner left")
    assert await keep_alive.refresh(here.ports, slow) == RefreshOutcome.LOST_LEASE
    assert (await here.row()).token is None


async def test_a_store_that_fails_right_after_instagrams_answer_is_waited_for(here):
    await here.connected()
    here.clock.tick(days=50)
    sleep = here.clock.sleep

    def fault(call):
        here.store.down = call == "refresh"

    async def back_later(seconds):
        await sleep(seconds)
        here.store.down = here.store.down and len(here.clock.slept) < 10

    here.meta.fault_of = fault
    here.clock.sleep = back_later
    assert await keep_alive.refresh_next(here.ports) == RefreshOutcome.REFRESHED
    here.store.down = False
    assert (await here.row()).last_version == 2


async def test_a_process_killed_after_instagrams_answer_loses_one_refresh_and_no_account(here):
    await here.connected()
    here.clock.tick(days=50)
    change = here.store.change

    async def killed(*_):
        raise PowerCut

    here.store.change = killed
    with pytest.raises(PowerCut):
        await keep_alive.refresh_next(here.ports)
    here.store.change = change
    here.clock.tick(minutes=3)
    assert await keep_alive.refresh_next(here.ports) == RefreshOutcome.REFRESHED
    assert here.meta.owners[A.account].refreshes == 2


async def test_an_unreadable_token_is_left_alone_and_tried_again(here):
    await here.connected()
    here.clock.tick(days=50)
    before = (await here.row()).token
    opens = here.ports.keys.open

    def away(*_):
        raise Unavailable("the key is away")

    here.ports.keys.open = away
    assert await keep_alive.refresh_next(here.ports) == RefreshOutcome.FAILED
    here.ports.keys.open = opens
    after = await here.row()
    assert (after.token, after.state) == (before, AccountState.ACTIVE)
    here.clock.time = after.plan.refresh_at
    assert await keep_alive.refresh_next(here.ports) == RefreshOutcome.REFRESHED


async def test_a_limited_account_is_kept_alive_too(here):
    row = await here.connected()
    await Reports(here.ports, Unfinished()).rejected(A.account, row.last_version, GraphError(403, 10))
    here.clock.tick(days=50)
    assert await keep_alive.refresh_next(here.ports) == RefreshOutcome.REFRESHED
    assert (await here.row()).state == AccountState.LIMITED


async def test_overdue_tokens_are_taken_at_once(here):
    await here.connected()
    here.clock.tick(days=59)
    assert await keep_alive.refresh_next(here.ports) == RefreshOutcome.REFRESHED


async def look(here):
    """Let the subscription be looked at."""
    here.clock.time = max((await here.row()).plan.subscription_at, here.clock.now())
    done = await keep_alive.watch_next(here.ports, here.alerts)
    assert done is not None
    return done[0]


async def test_the_subscription_is_looked_at_every_hour_or_so(here):
    await here.connected()
    gaps = []
    for _ in range(20):
        assert await look(here) == SubscriptionOutcome.IN_PLACE
        gaps.append((await here.row()).plan.subscription_at - here.clock.now())
    assert all(timedelta(minutes=45) <= gap <= timedelta(minutes=75) for gap in gaps)
    assert len(set(gaps)) == 20


async def test_a_subscription_that_went_away_is_repaired(here):
    await here.connected()
    here.meta.owners[A.account].subscribed = ()
    assert await look(here) == SubscriptionOutcome.REPAIRED
    assert "messages" in here.meta.owners[A.account].subscribed
    assert await look(here) == SubscriptionOutcome.IN_PLACE


async def test_disabled_webhooks_are_noticed(here):
    await here.connected()
    here.meta.owners[A.account].subscribed = ()
    with capture_logs() as lines:
        await look(here)
    assert {"event": "webhooks_disabled", "repaired": True} in [
        {key: line.get(key) for key in ("event", "repaired")} for line in lines
    ]


async def test_a_subscription_in_place_is_not_asked_for_again(here):
    await here.connected()
    asked = sum(call.startswith("subscribe ") for call in here.meta.calls)
    await look(here)
    assert sum(call.startswith("subscribe ") for call in here.meta.calls) == asked


async def test_fields_that_no_repair_brings_back_are_incomplete(here):
    here.meta.owner()
    here.meta.offers = {"messages"}
    await connect.connect(here.ports, here.meta.code(), CALLBACK)
    assert await look(here) == SubscriptionOutcome.INCOMPLETE
    assert (await here.row()).subscribed_fields == ("messages",)


async def test_a_look_that_fails_is_repeated_within_minutes(here):
    await here.connected()
    here.meta.fault_of = lambda _: silence()
    assert await look(here) == SubscriptionOutcome.FAILED
    row = await here.row()
    assert row.plan.subscription_at - here.clock.now() <= timedelta(minutes=10)
    assert row.state == AccountState.ACTIVE


async def test_a_watch_that_fails_half_way_is_repeated_when_its_lease_ends(here):
    await here.connected()
    here.clock.tick(hours=2)
    opens = here.ports.keys.open

    def away(*_):
        raise Unavailable("the key is away")

    here.ports.keys.open = away
    with pytest.raises(Unavailable):
        await keep_alive.watch_next(here.ports, here.alerts)
    assert await keep_alive.watch_next(here.ports, here.alerts) is None
    here.ports.keys.open = opens
    here.clock.tick(minutes=2)
    assert await keep_alive.watch_next(here.ports, here.alerts) == (SubscriptionOutcome.IN_PLACE,)


async def test_the_operator_is_told_of_each_change_once_and_in_order(here):
    await here.connected()
    await sicken(here)
    here.heal()
    here.clock.time = (await here.row()).plan.probe_at
    for _ in range(3):
        await keep_alive.watch_next(here.ports, here.alerts)
        here.clock.tick(seconds=1)
    assert here.alerts.told == [(A.account, AccountState.REAUTHORIZE), (A.account, AccountState.ACTIVE)]


async def sicken(here):
    """Let the account turn."""
    here.kill()
    await judge.settle(here.ports, await here.row())


async def test_an_alert_that_does_not_get_through_is_tried_again(here):
    await here.connected()
    await sicken(here)
    here.alerts.down = True
    for _ in range(5):
        here.clock.time = (await here.row()).plan.alert_at
        await keep_alive.watch_next(here.ports, here.alerts)
    here.alerts.down = False
    here.clock.time = (await here.row()).plan.alert_at
    await keep_alive.watch_next(here.ports, here.alerts)
    assert here.alerts.told == [(A.account, AccountState.REAUTHORIZE)]
    assert (await here.row()).alerts == ()


async def test_a_later_alert_waits_for_an_earlier_one(here):
    await here.connected()
    await sicken(here)
    here.alerts.down = True
    here.clock.time = (await here.row()).plan.alert_at
    await keep_alive.watch_next(here.ports, here.alerts)
    here.heal()
    await judge.settle(here.ports, await here.row())
    here.alerts.refused = {AccountState.REAUTHORIZE}
    here.alerts.down = False
    here.clock.tick(minutes=1)
    await keep_alive.watch_next(here.ports, here.alerts)
    assert here.alerts.told == []
    here.alerts.refused = set()
    here.clock.tick(minutes=10)
    await keep_alive.watch_next(here.ports, here.alerts)
    assert here.alerts.told == [(A.account, AccountState.REAUTHORIZE), (A.account, AccountState.ACTIVE)]


async def test_an_alert_is_given_up_after_a_day(here):
    await here.connected()
    await sicken(here)
    here.alerts.down = True
    here.clock.tick(hours=25)
    await keep_alive.watch_next(here.ports, here.alerts)
    assert (await here.row()).alerts == ()


async def test_a_connection_alarms_nobody(here):
    await here.connected(A)
    await here.connected(B)
    await here.connected(A)
    here.clock.tick(hours=2)
    while await keep_alive.watch_next(here.ports, here.alerts):
        pass
    assert here.alerts.told == []


async def test_an_operators_refresh_waits_its_turn(here):
    await here.connected()
    here.clock.tick(days=2)
    now = here.clock.now()
    await here.store.change(A.account, lambda found: state.leased(found, now, now + schedule.LEASE))
    with pytest.raises(Unavailable):
        await keep_alive.refresh_now(here.ports, A.account)
