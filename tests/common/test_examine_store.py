"""What a service finds in its own database: on real SQLite files and a real MongoDB-wire server."""

import pymongo
import pytest

from services.common import examine_store
from services.common.database_url import parse_database_url
from services.common.errors import Unavailable
from services.common.examine_store import indexed, replicated, written
from services.common.findings import Finding
from services.responder.mongo_store import MongoStore
from services.responder.sqlite_store import SqliteStore
from services.tokens.mongo_accounts import MongoAccounts
from services.tokens.sqlite_accounts import SqliteAccounts

CHECKS = ["database write", "database indexes", "database replicas"]


def by_name(findings):
    return {finding.check: finding for finding in findings}


@pytest.fixture
def any_disk(monkeypatch):
    """A disk that is slow for a moment makes nothing red."""
    monkeypatch.setattr(examine_store, "SLOW_MS", 10_000)


@pytest.fixture(params=["tokens", "responder"])
async def file(request, tmp_path):
    """A store in SQLite, and its file."""
    store = SqliteAccounts(tmp_path) if request.param == "tokens" else SqliteStore(tmp_path / "responder.db")
    await store.open()
    yield store, store.file
    await store.close()


@pytest.mark.usefixtures("any_disk")
async def test_a_file_in_order_is_green(file):
    store, _ = file
    found = await store.examine()
    assert [(one.check, one.ok) for one in found] == [(name, True) for name in CHECKS], found


async def test_a_lost_index_is_named(file):
    store, inside = file
    (name,) = [name for name in ("accounts_refresh_at", "conversations_due") if await has(inside, name)]
    await inside.write(lambda db: db.execute(f"DROP INDEX {name}"))
    found = by_name(await store.examine())["database indexes"]
    assert (found.ok, found.found) == (False, f"missing: {name}")


async def has(inside, name):
    return await inside.read(lambda db: db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone())


async def test_a_file_that_takes_no_write_is_unavailable(file):
    store, inside = file
    await inside.write(lambda db: db.execute("PRAGMA query_only = ON"))
    with pytest.raises(Unavailable):
        await store.examine()


async def test_looking_changes_nothing(file):
    store, inside = file
    before = await inside.read(lambda db: list(db.iterdump()))
    await store.examine()
    assert await inside.read(lambda db: list(db.iterdump())) == before


@pytest.mark.usefixtures("any_disk")
@pytest.mark.parametrize("service", ["tokens", "responder"])
async def test_mongodb_is_written_to_and_its_indexes_are_counted(service, mongo_url):
    store = MongoAccounts(parse_database_url(mongo_url)) if service == "tokens" else MongoStore(mongo_url)
    await store.open()
    try:
        found = by_name(await store.examine())
        assert (found["database write"].ok, found["database indexes"].ok) == (True, True), found
        name, lost = ("token_accounts", "refresh_at_1") if service == "tokens" else ("responder_conversations", "due")
        with pymongo.MongoClient(mongo_url) as client:
            client.get_default_database()[name].drop_index(lost)
        assert by_name(await store.examine())["database indexes"].found == f"missing: {name}.{lost}"
    finally:
        await store.close()


async def test_a_mongodb_that_is_gone_is_unavailable():
    store = MongoAccounts(parse_database_url("mongodb://127.0.0.1:1/igbot?serverSelectionTimeoutMS=100"))
    with pytest.raises(Unavailable):
        await store.examine()
    await store.close()


@pytest.mark.parametrize(
    ("hello", "ok", "word"),
    [
        ({"setName": "rs0", "hosts": ["a", "b", "c"]}, True, "rs0, 3 members"),
        ({"setName": "rs0", "hosts": ["a", "b"], "arbiters": ["c"]}, True, "3 members"),
        ({"setName": "rs0", "hosts": ["a"]}, False, "1 members"),
        ({"msg": "isdbgrid"}, True, "mongos"),
        ({}, False, "standalone"),
    ],
)
def test_a_replica_set_of_three_is_wanted(hello, ok, word):
    found = replicated(hello)
    assert (found.ok, word in found.found) == (ok, True), found
    assert found.ok or found.advice


def test_a_slow_write_is_red():
    assert written(0.01).ok
    assert not written(0.3).ok


def test_what_is_there_besides_does_no_harm():
    assert indexed(["a"], ["a", "b"]) == Finding("database indexes", True, "all 1 there", indexed([], []).advice)
