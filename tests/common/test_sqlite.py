"""One SQLite file: who waits for whom, and what a failure touches."""

import asyncio
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
        await asyncio.sleep(0.6)
        assert not writing.done()
        other.execute("ROLLBACK")
    assert await writing == 1
    assert await turning < 0.5  # waiting for the lock in the loop would take 0.6 at least
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


async def test_a_checkpoint_waits_for_the_writers_turn(file):
    await asyncio.gather(*(file.write(add(f"word {n:03}")) for n in range(50)), file.checkpoint())
    await file.checkpoint()
    assert len(words(file)) == 50
    assert file.path.with_name("words.db-wal").stat().st_size == 0
