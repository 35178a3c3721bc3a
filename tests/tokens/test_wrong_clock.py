"""What a replica leaves behind whose clock was a year ahead for a moment, and that each claim finds its index."""

import json
from datetime import timedelta

import pytest

from services.common.database_url import MongoDatabase, parse_database_url
from services.tokens import keep_alive, mongo_accounts, schedule
from services.tokens.metrics import RefreshOutcome, SubscriptionOutcome
from services.tokens.mongo_accounts import MongoAccounts
from services.tokens.ports import Chore
from services.tokens.sqlite_accounts import CLAIMS, SqliteAccounts, moments
from tests.tokens.fakes import BASE, A, silence


async def under_a_wrong_clock(here, work):
    """Do some work with a clock that is a year ahead, so that no certificate is valid; then put it right."""
    right, here.clock.time = here.clock.time, here.clock.time + timedelta(days=365)
    here.meta.fault_of = lambda _: silence(reached=False)
    await work()
    here.clock.time = right
    here.meta.fault_of = lambda _: None


async def test_a_plan_that_a_wrong_clock_made_costs_no_token(here):
    row = await here.connected()
    here.clock.tick(hours=2)
    await under_a_wrong_clock(here, lambda: keep_alive.refresh_next(here.ports))
    assert (await here.row()).plan.refresh_at > row.token.expires_at
    here.clock.time = row.token.expires_at - schedule.ALARM_LEFT
    assert await keep_alive.refresh_next(here.ports) == RefreshOutcome.REFRESHED
    assert max(here.clock.slept) < 60


async def test_what_fails_after_a_wrong_clock_backs_off_as_anything_else(here):
    row = await here.connected()
    here.clock.tick(hours=2)
    await under_a_wrong_clock(here, lambda: keep_alive.refresh_next(here.ports))
    here.clock.time = row.token.expires_at - timedelta(days=3)
    here.meta.fault_of = lambda _: silence()
    tries = 0
    while here.clock.time < row.token.expires_at + timedelta(days=1):
        tries += await keep_alive.refresh_next(here.ports) is not None
        here.clock.tick(minutes=1)
    assert 4 * 24 <= tries <= 2 * 4 * 24 + 12
    assert (await here.row()).plan.refresh_at - here.clock.now() <= timedelta(hours=1)


async def test_webhooks_are_looked_at_though_a_wrong_clock_planned_that_for_next_year(here):
    await here.connected()
    here.clock.tick(hours=2)
    await under_a_wrong_clock(here, lambda: keep_alive.watch_next(here.ports, here.alerts))
    assert (await here.row()).plan.subscription_at - here.clock.now() > timedelta(days=364)
    assert await keep_alive.watch_next(here.ports, here.alerts) == (SubscriptionOutcome.IN_PLACE,)
    assert await keep_alive.watch_next(here.ports, here.alerts) is None


async def test_a_lease_that_a_wrong_clock_took_ends_with_its_error(here):
    await here.connected()
    here.clock.tick(days=50)
    now = here.clock.now()
    a_year = now + timedelta(days=365)
    await here.store.claim(Chore.REFRESH, now=a_year, until=a_year + schedule.LEASE)
    assert await keep_alive.refresh_now(here.ports, A.account) == RefreshOutcome.REFRESHED


@pytest.mark.parametrize("query", [query for both in CLAIMS.values() for query in both])
async def test_each_claim_on_sqlite_goes_by_the_index_that_sorts_it(tmp_path, query):
    store = SqliteAccounts(tmp_path)
    await store.open()
    plan = await store.file.read(lambda db: db.execute(f"EXPLAIN QUERY PLAN {query}", moments(BASE)).fetchall())
    field = query.split()[query.split().index("BY") + 1]
    assert [step["detail"].split(" (")[0] for step in plan] == [f"SEARCH accounts USING INDEX accounts_{field}"]
    await store.close()


@pytest.mark.parametrize(("wanted", "field"), [one for chore in Chore for one in mongo_accounts.due(chore, BASE)])
async def test_each_claim_on_mongo_goes_by_the_index_that_sorts_it(mongo_url, wanted, field):
    url = parse_database_url(mongo_url)
    assert isinstance(url, MongoDatabase)
    store = MongoAccounts(url)
    await store.open()
    command = {"find": store.accounts.name, "filter": wanted, "sort": {field: 1}}
    explained = await store.client[url.name].command("explain", command, verbosity="queryPlanner")
    chosen = json.dumps(explained["queryPlanner"]["winningPlan"], default=str)
    assert f'"indexName": "{field}_1"' in chosen
    assert '"SORT"' not in chosen
    await store.close()
