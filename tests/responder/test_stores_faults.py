"""What becomes of the stores when processes and servers die, and when another version of igbot was there."""

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest
from pymongo.errors import BulkWriteError
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from services.common.errors import SchemaTooNew, Unavailable
from services.responder.mongo_schema import CONVERSATIONS, MESSAGES, META, SENDS
from services.responder.mongo_store import MongoStore
from services.responder.ports import Store
from services.responder.sqlite_store import SqliteStore
from tests.mongo import MongoServer
from tests.responder.stores import ACCOUNT, LEASE, PERSON, a_message, a_reply, a_row, a_stub, store_at

ROOT = Path(__file__).resolve().parents[2]
WRITER = """
import asyncio, itertools, sys
from tests.responder.stores import a_message, store_at

async def main():
    store = store_at(sys.argv[1])
    await store.open()
    for n in itertools.count():
        await store.messages.add([a_message(f"m{n}")])
        print(n, flush=True)

asyncio.run(main())
"""


@contextlib.contextmanager
def another_process(url: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that adds one message after the other and says so; killed at the end, as a power cut would."""
    command = [sys.executable, "-c", WRITER, url]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: "subprocess.Popen[str]", count: int) -> int:
    """Read so many lines; return the last number."""
    assert process.stdout is not None
    return [int(process.stdout.readline()) for _ in range(count)][-1]


@pytest.mark.parametrize("store_url", ["sqlite", "mongo"], indirect=True)
async def test_what_was_acknowledged_outlives_the_process(store_url: str) -> None:
    with another_process(store_url) as writer:
        said(writer, 20)
        writer.kill()
        rest = writer.communicate()[0].split()
    last = int(rest[-1]) if rest else 19
    store = store_at(store_url)
    await store.open()
    kept = await store.messages.get([a_message(f"m{n}").key for n in range(last + 1)])
    await store.close()
    assert len(kept) == last + 1


async def test_a_second_process_waits_until_the_first_is_gone(tmp_path: Path) -> None:
    store = store_at(f"sqlite:///{tmp_path}")
    with another_process(f"sqlite:///{tmp_path}") as first:
        said(first, 1)
        with pytest.raises(Unavailable, match="another process"):
            await store.open()
        first.kill()
        first.wait()
        await store.open()
    assert await store.messages.get([a_message("m0").key])
    await store.close()


async def test_what_was_erased_is_nowhere_in_the_file(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "responder.db")
    await store.open()
    secret = "words that nobody shall find" * 50
    await store.messages.add([a_message(f"m{n}", text=secret) for n in range(30)])
    await store.sends.put(a_reply())
    await store.conversations.save(a_row(last_error=secret, username=secret))
    files = sorted(tmp_path.glob("responder.db*"))
    assert any(secret.encode() in file.read_bytes() for file in files)
    await store.erasing.erase(ACCOUNT, PERSON)
    for file in files:
        content = file.read_bytes()
        assert secret[:28].encode() not in content, file
        assert PERSON.encode() not in content, file
        assert b"m17" not in content, file
    await store.close()


async def test_an_erasure_whose_traces_could_not_be_emptied_is_not_called_done(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "responder.db")
    await store.open()
    await store.messages.add([a_message()])
    await store.file.write(lambda db: db.execute("PRAGMA busy_timeout=10").fetchall())
    with contextlib.closing(sqlite3.connect(store.file.path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM messages").fetchall()
        with pytest.raises(Unavailable, match="being read"):
            await store.erasing.erase(ACCOUNT, PERSON)
    assert await store.erasing.erase(ACCOUNT, PERSON) == 0
    await store.close()


async def test_a_store_that_is_not_open_is_unavailable(tmp_path: Path) -> None:
    for store in (SqliteStore(tmp_path / "responder.db"), MongoStore("mongodb://127.0.0.1:9/igbot")):
        with pytest.raises(Unavailable):
            await store.ping()
        await store.close()


class TestVersions:
    async def test_a_file_of_a_newer_igbot_is_refused(self, tmp_path: Path) -> None:
        store = SqliteStore(tmp_path / "responder.db")
        await store.open()
        await store.file.write(lambda db: db.execute("PRAGMA user_version=99").fetchall())
        await store.close()
        with pytest.raises(SchemaTooNew):
            await SqliteStore(tmp_path / "responder.db").open()

    async def test_a_database_of_a_newer_igbot_is_refused(self, mongo: MongoStore) -> None:
        async with mongo.link.use(META) as rows:
            await rows.update_one({"_id": "schema"}, {"$set": {"number": 99}})
        with pytest.raises(SchemaTooNew):
            await mongo.open()

    async def test_a_document_of_a_newer_igbot_is_refused(self, mongo: MongoStore) -> None:
        await mongo.conversations.save(a_row())
        await edit(mongo, {"schema": 99})
        with pytest.raises(SchemaTooNew, match="99"):
            await mongo.conversations.load(ACCOUNT, PERSON)

    async def test_a_word_that_we_do_not_know_is_named_but_no_value_is(self, mongo: MongoStore) -> None:
        await mongo.conversations.save(a_row())
        await edit(mongo, {"waiting_for": "moonlight"})
        with pytest.raises(SchemaTooNew, match="waiting_for") as caught:
            await mongo.conversations.load(ACCOUNT, PERSON)
        assert "moonlight" not in str(caught.value)

    async def test_a_field_that_only_a_newer_igbot_knows_survives(self, mongo: MongoStore) -> None:
        await mongo.conversations.save(a_row(due_at=1))
        await mongo.sends.put(a_reply())
        await edit(mongo, {"mood": "sunny"})
        async with mongo.link.use(SENDS) as rows:
            await rows.update_one({"_id": "r1"}, {"$set": {"mood": "sunny"}})
        row = await mongo.conversations.claim(ACCOUNT, "w", LEASE)
        assert row is not None
        assert await mongo.conversations.save(row, release=True)
        await mongo.sends.put(a_reply(outcome="sent"))
        for name in (CONVERSATIONS, SENDS):
            async with mongo.link.use(name) as rows:
                found = await rows.find_one()
            assert found is not None
            assert found["mood"] == "sunny"


@pytest.fixture
async def mongo(mongo_url: str) -> AsyncIterator[MongoStore]:
    store = MongoStore(mongo_url)
    await store.open()
    yield store
    await store.close()


async def edit(store: MongoStore, fields: dict[str, Any]) -> None:
    async with store.link.use(CONVERSATIONS) as rows:
        await rows.update_one({}, {"$set": fields})


class TestMongoAway:
    async def test_a_server_that_dies_is_unavailable_until_it_is_back(self, own_mongo: MongoServer) -> None:
        store: Store = MongoStore(own_mongo.url())
        await store.open()
        first = await store.conversations.save(a_row(due_at=1))
        own_mongo.kill()
        for attempt in (store.ping, lambda: store.conversations.load(ACCOUNT, PERSON)):
            with pytest.raises(Unavailable):
                await attempt()
        own_mongo.start()
        await store.ping()
        assert await store.conversations.load(ACCOUNT, PERSON) == first
        assert await store.conversations.claim(ACCOUNT, "w", LEASE) is not None
        await store.close()

    async def test_a_server_that_comes_late_is_waited_for(self, own_mongo: MongoServer) -> None:
        own_mongo.kill()
        store = MongoStore(own_mongo.url())
        with pytest.raises(Unavailable):
            await store.open()
        own_mongo.start()
        await store.open()
        await store.ping()
        await store.close()

    async def test_what_the_driver_quotes_is_not_passed_on(self, mongo: MongoStore) -> None:
        quoting = {"writeErrors": [{"code": 121, "errmsg": "no", "op": {"text": "a person's words"}}]}
        with pytest.raises(Unavailable) as caught:
            async with mongo.link.use(META):
                raise BulkWriteError(quoting)
        assert "person" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__

    def test_a_url_without_a_database_is_refused(self) -> None:
        with pytest.raises(ValueError, match="names a database"):
            MongoStore("mongodb://127.0.0.1:9").link.open()


class Meddler(CommandListener):
    """Does something else just before the first update that is sent."""

    def __init__(self, meddle: Callable[[], object]) -> None:
        self.meddle: Callable[[], object] | None = meddle

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name == "update" and event.command["update"] == MESSAGES and self.meddle is not None:
            meddle, self.meddle = self.meddle, None
            meddle()

    def succeeded(self, event: CommandSucceededEvent) -> None:
        pass

    def failed(self, event: CommandFailedEvent) -> None:
        pass


async def test_a_stub_that_is_taken_back_while_it_is_completed_stays_empty(mongo_url: str) -> None:
    store = MongoStore(mongo_url)
    with pymongo.MongoClient[dict[str, Any]](mongo_url) as other:
        unsend = {"$set": {"taken_back": True, "text": ""}}
        rows = other.get_default_database()[MESSAGES]
        meddler = Meddler(lambda: rows.update_one({"_id": a_message().key}, unsend))
        store.link.options["event_listeners"] = [meddler]
        await store.open()
        await store.messages.edit(a_stub(edit=1, text="new"))
        ((done),) = await store.messages.add([a_message()])
    assert meddler.meddle is None
    assert (done.message.taken_back, done.message.text, done.new) == (True, "", True)
    assert await store.messages.get([a_message().key]) == [done.message]
    await store.close()
