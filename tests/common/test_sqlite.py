"""One SQLite file: who waits for whom, and what a failure touches."""

import asyncio
import gc
import sqlite3
import time

import pytest

from services.common import sqlite
from services.common.errors import Unavailable
from services.common.sqlite import SqliteFile

SCHEMA = ("CREATE TABLE words (word TEXT PRIMARY KEY)",)


@pytest.fixture
async def file(tmp_path):
    made = SqliteFile(tmp_path / "words.db", SCHEMA)
    await made.open()
    yield made
    await made.close()


def add(word):
    return lambda db: db.execute("INSERT INTO words VALUES (?)", (word,)).rowcount


def words(file):
    return [row["word"] for row in file.look(lambda db: db.execute("SELECT word FROM words ORDER BY word").fetchall())]


async def longest_stall(until):
    """The longest time, in seconds, that the loop was kept from turning while a task ran."""
    longest = 0.0
    while not until.done():
        before = time.monotonic()
        await asyncio.sleep(0.005)
        longest = max(longest, time.monotonic() - before)
    return longest


async def test_a_failure_is_its_own_callers_alone(file):
    await file.write(add("first"))
    outcomes = await asyncio.gather(
        *(file.write(add(word)) for word in ("second", "first", "third")), return_exceptions=True
    )
    assert [type(one) for one in outcomes] == [int, sqlite3.IntegrityError, int]
    assert words(file) == ["first", "second", "third"]


async def test_a_writer_who_is_cancelled_takes_nobody_along(file):
    hasty = asyncio.create_task(file.write(add("hasty")))
    patient = asyncio.create_task(file.write(add("patient")))
    await asyncio.sleep(0)
    hasty.cancel()
    assert await patient == 1
    assert words(file) == ["hasty", "patient"]


async def test_the_loop_turns_while_somebody_else_writes_and_the_write_comes_after(file):
    with sqlite3.connect(file.path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.create_task(file.write(add("late")))
        turning = asyncio.create_task(longest_stall(writing))
        await asyncio.sleep(3)
        assert not writing.done()
        other.execute("ROLLBACK")
    assert await writing == 1
    assert await turning < 2.5  # waiting for the lock in the loop would take 3 at least
    assert words(file) == ["late"]


async def test_a_lock_that_is_never_given_back_is_unavailable_and_then_goes_on(file, monkeypatch):
    monkeypatch.setattr(sqlite, "PATIENCE_SECONDS", 0.2)
    with sqlite3.connect(file.path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable):
            await file.write(add("never"))
        other.execute("ROLLBACK")
    assert await file.write(add("again")) == 1
    assert words(file) == ["again"]


async def test_a_failed_commit_that_nobody_waits_for_any_more_is_not_logged_as_forgotten(file, monkeypatch):
    monkeypatch.setattr(sqlite, "PATIENCE_SECONDS", 0.1)
    said = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context["message"]))
    with sqlite3.connect(file.path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.create_task(file.write(add("never")))
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait([writing, file.writing])
        other.execute("ROLLBACK")
    del writing
    gc.collect()
    await asyncio.sleep(0)
    assert said == []


class Broken:
    """A writing connection whose disk fails at the COMMIT and at the ROLLBACK, so many times."""

    def __init__(self, connection, times):
        self.connection, self.times = connection, times

    def __getattr__(self, name):
        return getattr(self.connection, name)

    def execute(self, statement, *values):
        if statement in {"COMMIT", "ROLLBACK"} and self.times:
            self.times -= 1
            raise sqlite3.OperationalError("disk I/O error")
        return self.connection.execute(statement, *values)


async def test_writes_go_on_after_a_disk_that_let_neither_commit_nor_roll_back(file):
    whole, file.writer = file.writer, Broken(file.writer, 2)
    async with asyncio.timeout(30):
        with pytest.raises(Unavailable):
            await file.write(add("lost"))
        with pytest.raises(Unavailable):
            await file.write(add("met what was left open"))
        assert await file.write(add("kept")) == 1
    assert words(file) == ["kept"]
    file.writer = whole


async def test_a_checkpoint_whose_caller_is_gone_keeps_no_commit_from_the_loop(file, monkeypatch):
    monkeypatch.setattr(sqlite, "PATIENCE_SECONDS", 4)
    await file.write(add("erased"))
    with sqlite3.connect(file.path, isolation_level=None) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM words").fetchone()  # the checkpoint waits for this reader
        checkpoint = asyncio.create_task(file.checkpoint())
        await asyncio.sleep(0.2)
        checkpoint.cancel()
        await asyncio.wait([checkpoint])
        writing = asyncio.create_task(file.write(add("next")))
        assert await longest_stall(writing) < 3  # the checkpoint gives up after 4
        other.execute("ROLLBACK")
    assert await writing == 1


async def test_a_checkpoint_waits_for_the_writers_turn(file):
    await asyncio.gather(*(file.write(add(f"word {n:03}")) for n in range(50)), file.checkpoint())
    await file.checkpoint()
    assert len(words(file)) == 50
    assert file.path.with_name("words.db-wal").stat().st_size == 0
