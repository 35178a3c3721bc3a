"""What every store of accounts does, on each of them: in memory (the other tests' fake), SQLite, MongoDB."""

import asyncio
import sqlite3
from dataclasses import replace
from datetime import timedelta

import pytest

from services.common import sqlite
from services.common.account_state import AccountState
from services.common.database_url import MongoDatabase, parse_database_url
from services.common.errors import Refused, SchemaTooNew, Unavailable, UnknownAccount
from services.tokens import disconnect, state
from services.tokens.accounts import Alert, Plan
from services.tokens.mongo_accounts import MongoAccounts
from services.tokens.ports import Chore
from services.tokens.schedule import LEASE
from services.tokens.sqlite_accounts import SqliteAccounts
from tests.tokens.fakes import BASE, MemoryAccounts, account


@pytest.fixture(params=["memory", "sqlite", "mongo"])
def make_store(request, tmp_path):
    """Makes stores that share their data, as replicas do."""
    if request.param == "memory":
        one = MemoryAccounts()
        return lambda: one
    if request.param == "sqlite":
        return lambda: SqliteAccounts(tmp_path)
    url = parse_database_url(request.getfixturevalue("mongo_url"))
    assert isinstance(url, MongoDatabase)
    return lambda: MongoAccounts(url)


@pytest.fixture
async def replicas(make_store):
    """Opens any number of stores on the same data, and closes them."""
    opened = []

    async def open_one():
        store = make_store()
        if not isinstance(store, MemoryAccounts):
            await store.open()
            opened.append(store)
        return store

    yield open_one
    for store in opened:
        await store.close()


@pytest.fixture
async def store(replicas):
    return await replicas()


async def put(store, made):
    return await store.put(made.account, lambda _: made)


def due(number, at=BASE, **how):
    return account(number, plan=Plan(refresh_at=at, subscription_at=at), **how)


class TestAccounts:
    async def test_an_account_comes_back_as_it_was_put(self, store):
        made = account(
            1,
            state=AccountState.LIMITED,
            reason="because of \u0000 é 🥖",
            plan=Plan(BASE, BASE + timedelta(hours=1), None, BASE + timedelta(seconds=5)),
            rejected_at=BASE,
            probes=3,
            failures=2,
            fence=7,
            lease_until=BASE,
            subscribed_fields=("messages",),
            alerts=(Alert("1", AccountState.LIMITED, "why", BASE, 2),),
        )
        await put(store, made)
        assert await store.find(made.account) == made

    async def test_either_id_finds_it(self, store):
        made = await put(store, account(1))
        assert await store.find(made.app_scoped_id) == made
        assert await store.find("1") is None

    async def test_the_professional_id_goes_before_another_accounts_app_scoped_one(self, store):
        first = await put(store, account(1))
        await put(store, replace(account(2), app_scoped_id=first.account))
        assert await store.find(first.account) == first

    async def test_putting_again_renews_the_one_row(self, store):
        await put(store, account(1))
        await store.put(account(1).account, lambda old: replace(old, username="new_name"))
        assert [row.username for row in await store.all()] == ["new_name"]

    async def test_an_app_scoped_id_belongs_to_one_account(self, store):
        first = await put(store, account(1))
        with pytest.raises(Refused):
            await put(store, replace(account(2), app_scoped_id=first.app_scoped_id))
        assert await store.all() == [first]

    async def test_all_are_listed_by_their_id(self, store):
        made = [await put(store, account(number)) for number in (3, 1, 2)]
        assert await store.all() == sorted(made, key=lambda one: one.account)

    async def test_more_accounts_than_a_page_are_all_listed(self, store):
        await asyncio.gather(*(put(store, account(number)) for number in range(205)))
        assert [row.account for row in await store.all()] == [account(number).account for number in range(205)]

    async def test_a_rule_changes_the_account_for_good(self, store, replicas):
        await put(store, account(1))
        await store.change(account(1).account, lambda found: replace(found, username="renamed"))
        other = await replicas()
        assert (await other.find(account(1).account)).username == "renamed"

    async def test_a_rule_that_returns_nothing_changes_nothing(self, store):
        made = await put(store, account(1))
        assert await store.change(made.account, lambda _: None) == made

    async def test_what_a_rule_raises_comes_out_and_nothing_is_stored(self, store):
        made = await put(store, account(1, fence=3))
        with pytest.raises(state.LostLease):
            await store.change(made.account, lambda found: state.fenced(found, 2))
        assert await store.find(made.account) == made

    async def test_an_unknown_account_cannot_be_changed(self, store):
        with pytest.raises(UnknownAccount):
            await store.change("1", lambda found: found)

    async def test_no_change_is_lost_among_many_at_once(self, replicas):
        stores = [await replicas() for _ in range(4)]
        made = await put(stores[0], account(1))
        rule = lambda found: replace(found, probes=found.probes + 1)  # noqa: E731 - a rule
        await asyncio.gather(*(store.change(made.account, rule) for store in stores for _ in range(10)))
        assert (await stores[0].find(made.account)).probes == 40

    async def test_a_forgotten_account_is_gone(self, store):
        made = await put(store, account(1))
        await store.forget(made.account)
        assert await store.find(made.account) is None
        assert await store.all() == []

    async def test_an_account_is_only_forgotten_when_the_caller_says_so_of_its_row(self, store):
        made = await put(store, account(1))
        assert not await store.forget(made.account, when=lambda found: found.last_version == 2)
        assert await store.find(made.account) == made
        assert await store.forget(made.account, when=lambda found: found == made)
        assert not await store.forget(made.account)

    async def test_an_account_takes_the_place_of_another_with_its_app_scoped_id(self, store):
        old = await put(store, account(1))
        new = replace(account(2), app_scoped_id=old.app_scoped_id)
        for _ in range(2):  # whoever heard of a failure does it again
            assert await store.put(new.account, lambda _: new, in_place_of=old.account) == new
            assert await store.all() == [new]

    async def test_opening_again_is_harmless(self, store, replicas):
        made = await put(store, account(1))
        again = await replicas()
        assert await again.all() == [made]


class TestRota:
    async def test_the_one_that_has_waited_longest_is_claimed_first(self, store):
        await put(store, due(1, BASE - timedelta(minutes=1)))
        await put(store, due(2, BASE - timedelta(minutes=9)))
        claimed = [await store.claim(Chore.REFRESH, now=BASE, until=BASE + LEASE) for _ in range(3)]
        assert [one and one.account for one in claimed] == [account(2).account, account(1).account, None]

    async def test_what_is_not_due_is_left_alone(self, store):
        await put(store, due(1, BASE + timedelta(seconds=1)))
        await put(store, account(2, plan=Plan()))
        assert await store.claim(Chore.REFRESH, now=BASE, until=BASE + LEASE) is None
        assert await store.claim(Chore.WATCH, now=BASE, until=BASE + LEASE) is None

    async def test_a_lease_keeps_others_out_until_it_ends(self, store):
        await put(store, due(1))
        first = await store.claim(Chore.WATCH, now=BASE, until=BASE + LEASE)
        assert await store.claim(Chore.REFRESH, now=BASE + LEASE / 2, until=BASE + LEASE) is None
        second = await store.claim(Chore.WATCH, now=BASE + LEASE, until=BASE + 2 * LEASE)
        assert second.fence == first.fence + 1

    async def test_a_slow_owners_write_is_refused(self, store):
        await put(store, due(1))
        slow = await store.claim(Chore.REFRESH, now=BASE, until=BASE + LEASE)
        await store.claim(Chore.REFRESH, now=BASE + LEASE, until=BASE + 2 * LEASE)
        with pytest.raises(state.LostLease):
            await store.change(slow.account, lambda found: state.refresh_failed(found, slow.fence, BASE))

    async def test_eight_claimers_share_the_due_accounts_without_overlap(self, replicas, make_store, request):
        number = 50 if is_slow(request) else 500
        stores = [await replicas() for _ in range(8)]
        for start in range(0, number, 100):
            await asyncio.gather(*(put(stores[0], due(n)) for n in range(start, min(start + 100, number))))
        claimed = await asyncio.gather(*(claim_all(store) for store in stores))
        taken = [one for each in claimed for one in each]
        assert len(taken) == number
        assert len(set(taken)) == number

    async def test_turns_come_one_a_second_among_all_replicas(self, replicas):
        first, second = await replicas(), await replicas()
        turns = [await store.turn(BASE) for store in (first, second, first)]
        assert [(turn - BASE).total_seconds() for turn in turns] == [0, 1, 2]
        assert await second.turn(BASE + timedelta(hours=1)) == BASE + timedelta(hours=1)

    async def test_a_turn_that_a_wrong_clock_took_holds_nobody_up(self, replicas):
        wrong, right = await replicas(), await replicas()
        await wrong.turn(BASE + timedelta(days=365))
        turns = [await right.turn(BASE) for _ in range(2)]
        assert [(turn - BASE).total_seconds() for turn in turns] == [0, 1]
        await wrong.turn(BASE + timedelta(seconds=30))  # clocks may differ a little
        assert await right.turn(BASE) == BASE + timedelta(seconds=31)

    async def test_a_refresh_planned_beyond_the_tokens_end_is_due_a_week_before_that(self, store):
        end = BASE + timedelta(days=60)
        next_year, seconds = Plan(refresh_at=BASE + timedelta(days=365)), timedelta(seconds=1)
        await put(store, account(1, plan=next_year))
        await put(store, account(2, plan=replace(next_year, refresh_at=None)))
        await put(store, account(3, plan=Plan(refresh_at=end)))
        week_before = end - timedelta(days=7)
        for now, found in ((week_before - seconds, None), (week_before, account(1).account), (week_before, None)):
            claimed = await store.claim(Chore.REFRESH, now=now, until=now + LEASE)
            assert (claimed and claimed.account) == found
        claimed = await store.claim(Chore.REFRESH, now=end, until=end + LEASE)
        assert claimed.account == account(3).account

    async def test_a_token_that_ran_out_keeps_its_back_off(self, store):
        now = BASE + timedelta(days=61)
        await put(store, account(1, plan=Plan(refresh_at=now + timedelta(hours=1))))
        assert await store.claim(Chore.REFRESH, now=now, until=now + LEASE) is None

    async def test_a_watch_planned_further_ahead_than_any_is_due(self, store):
        far, near = BASE + timedelta(days=365), BASE + timedelta(days=1)
        await put(store, account(1, plan=Plan(subscription_at=far)))
        await put(store, account(2, plan=Plan(probe_at=near, subscription_at=far)))
        claimed = [await store.claim(Chore.WATCH, now=BASE, until=BASE + LEASE) for _ in range(2)]
        assert [one and one.account for one in claimed] == [account(1).account, None]

    async def test_a_lease_that_ends_further_ahead_than_any_keeps_nobody_out(self, store):
        await put(store, due(1, lease_until=BASE + timedelta(days=365)))
        await put(store, due(2, lease_until=BASE + timedelta(minutes=30)))  # clocks may differ by minutes
        claimed = [await store.claim(Chore.REFRESH, now=BASE, until=BASE + LEASE) for _ in range(2)]
        assert [one and one.account for one in claimed] == [account(1).account, None]

    async def test_planned_refreshes_are_counted(self, store):
        for number, minutes in enumerate((0, 10, 59, 60)):
            await put(store, account(number, plan=Plan(refresh_at=BASE + timedelta(minutes=minutes))))
        hour = timedelta(hours=1)
        windows = [(BASE, BASE + hour), (BASE + hour, BASE + 2 * hour), (BASE - hour, BASE)]
        assert list(await store.planned(windows)) == [3, 1, 0]

    async def test_the_summary_counts_states_and_late_rejections(self, store):
        dead = AccountState.REAUTHORIZE
        await put(store, account(1, subscribed_fields=("message_edit", "messages")))
        await put(store, account(2, rejected_at=BASE - timedelta(days=2), scopes=("messages",)))
        await put(store, account(3, state=dead, state_at=BASE - timedelta(minutes=5), rejected_at=BASE))
        await put(store, account(4, state=dead, state_at=BASE - timedelta(minutes=15), rejected_at=BASE))
        await put(store, account(5, state=AccountState.DISCONNECTED, token=None, rejected_at=BASE))
        found = await store.summary(BASE - timedelta(minutes=10))
        assert found.by_state == {AccountState.ACTIVE: 2, dead: 2, AccountState.DISCONNECTED: 1}
        assert found.least_expiry == dict.fromkeys((AccountState.ACTIVE, dead), BASE + timedelta(days=60))
        assert found.last_refresh == BASE
        assert found.rejected == 2
        assert found.unsubscribed == 1

    async def test_an_empty_store_has_an_empty_summary(self, store):
        found = await store.summary(BASE)
        assert (found.by_state, found.least_expiry, found.last_refresh, found.rejected) == ({}, {}, None, 0)


async def claim_all(store):
    """Claim until nothing is left."""
    taken = []
    while one := await store.claim(Chore.REFRESH, now=BASE, until=BASE + LEASE):
        taken.append(one.account)
    return taken


def is_slow(request):
    """Whether the store is the Python build of the Mongo stand-in."""
    from tests.tools import find

    return "mongo" in request.node.name and not find("secantusd-rs")


async def test_sqlite_that_is_not_open_is_unavailable(tmp_path):
    store = SqliteAccounts(tmp_path)
    with pytest.raises(Unavailable):
        await store.find("1")
    with pytest.raises(Unavailable):
        await put(store, account(1))
    await store.close()


async def test_sqlite_swaps_two_rows_at_once_also_while_its_log_is_being_read(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "PATIENCE_SECONDS", 0.1)
    store = SqliteAccounts(tmp_path)
    await store.open()
    old = await put(store, account(1))
    new = replace(account(2), app_scoped_id=old.app_scoped_id)
    reader = sqlite3.connect(tmp_path / "tokens.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM accounts").fetchone()  # the log cannot be emptied now

    def fail(_):
        raise Unavailable("no")

    with pytest.raises(Unavailable):
        await store.put(new.account, fail, in_place_of=old.account)
    assert await store.all() == [old]
    await store.put(new.account, lambda _: new, in_place_of=old.account)
    assert await store.all() == [new]
    reader.close()
    await store.close()


async def test_a_forget_that_could_not_empty_the_log_is_not_done_until_it_is_empty(here, tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "PATIENCE_SECONDS", 0.1)
    store = SqliteAccounts(tmp_path)
    await store.open()
    made = await put(store, account(77, username="someone_private", state=AccountState.DISCONNECTED))
    ports = replace(here.ports, accounts=store)
    reader = sqlite3.connect(tmp_path / "tokens.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM accounts").fetchone()
    for _ in range(2):
        with pytest.raises(Unavailable):
            await disconnect.forget(ports, made.app_scoped_id)
    reader.close()
    await disconnect.forget(ports, made.app_scoped_id)
    assert b"someone_private" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    await store.close()


async def test_sqlite_keeps_no_trace_of_a_forgotten_account(tmp_path):
    store = SqliteAccounts(tmp_path)
    await store.open()
    made = await put(store, account(77, username="someone_private"))
    await put(store, account(78))
    await store.forget(made.account)
    left = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for trace in (made.account, made.app_scoped_id, "someone_private"):
        assert trace.encode() not in left
    await store.close()


async def test_a_store_written_by_a_newer_igbot_is_left_alone(tmp_path, mongo_url):
    sqlite = SqliteAccounts(tmp_path)
    await sqlite.open()
    await sqlite.close()
    with sqlite3.connect(tmp_path / "tokens.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(SchemaTooNew):
        await SqliteAccounts(tmp_path).open()
    url = parse_database_url(mongo_url)
    assert isinstance(url, MongoDatabase)
    mongo = MongoAccounts(url)
    await mongo.open()
    await mongo.accounts.insert_one({"_id": "1", "schema": 99, "app_scoped_id": "2"})
    with pytest.raises(SchemaTooNew):
        await mongo.open()
    await mongo.close()


async def test_a_field_of_a_newer_igbot_survives_in_mongo(mongo_url):
    url = parse_database_url(mongo_url)
    assert isinstance(url, MongoDatabase)
    store = MongoAccounts(url)
    await store.open()
    made = await put(store, account(1))
    await store.accounts.update_one({"_id": made.account}, {"$set": {"of_tomorrow": 1}})
    await store.change(made.account, lambda found: replace(found, probes=5))
    found = await store.accounts.find_one({"_id": made.account})
    assert found is not None
    assert (found["of_tomorrow"], found["probes"]) == (1, 5)
    await store.close()
