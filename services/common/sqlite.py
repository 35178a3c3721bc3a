"""One SQLite file: commits that serve everyone who waits, and a thread for whatever waits for the disk.

A commit costs an fsync, so the writes of concurrent conversations share one: each runs inside its own savepoint, all
inside one transaction, and each caller learns of success only after the commit. The statements themselves take
microseconds and run on the loop's thread: in another one each of them would have to win the interpreter's lock back
from the loop, which halved the pace at 100 replies a second. https://sqlite.org/wal.html
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from services.common.errors import SchemaTooNew, Unavailable
from services.common.unfinished import Unfinished, looked_at

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]
MAX_GROUP = 200
PATIENCE_SECONDS = 5
BEGIN = "BEGIN IMMEDIATE"
CHECKPOINT_PAGES = 8_000
"""32 MiB of log before it is folded into the file: the same pages change again and again, and are folded in once."""


@dataclass
class Locks:
    """The files that this process has locked: several stores of one process may share a file, two processes may not."""

    held: dict[Path, tuple[int, int]] = field(default_factory=dict)  # path -> (file descriptor, users)

    def take(self, path: Path) -> None:
        """Lock the file for this process, or raise Unavailable."""
        if path in self.held:
            descriptor, users = self.held[path]
            self.held[path] = (descriptor, users + 1)
            return
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise Unavailable(f"another process uses {path.name.removesuffix('.lock')}") from error
        self.held[path] = (descriptor, 1)

    def leave(self, path: Path) -> None:
        """Give the lock back when the last user leaves."""
        descriptor, users = self.held.pop(path)
        if users > 1:
            self.held[path] = (descriptor, users - 1)
        else:
            os.close(descriptor)


class SqliteFile:
    """A database file. `write`, `read` and `look` run a function on a connection and return what it returns.

    What `write` and `look` are given touches few rows; much is written in pieces. Errors: what the function raises
    reaches its own caller alone; SQLite's own troubles are Unavailable.
    """

    locks: ClassVar[Locks] = Locks()

    def __init__(self, path: Path, migrations: Sequence[str]) -> None:
        """Name the file and its schema's history: script n brings the schema from n to n + 1."""
        self.path = path
        self.migrations = migrations
        self.waiting: list[tuple[Work, asyncio.Future[Any]]] = []
        self.writing: asyncio.Task[None] | None = None
        self.turn = asyncio.Lock()  # the writing connection is used by one at a time
        self.checkpoints = Unfinished()
        self.threads = (ThreadPoolExecutor(1, "sqlite-write"), ThreadPoolExecutor(1, "sqlite-read"))
        self.writer: sqlite3.Connection | None = None
        self.reader: sqlite3.Connection | None = None
        self.looker: sqlite3.Connection | None = None

    @property
    def lock_path(self) -> Path:
        """The file that is locked; never the database itself, whose locks are SQLite's."""
        return self.path.with_name(self.path.name + ".lock").absolute()

    async def open(self) -> None:
        """Lock, open and migrate; raise Unavailable when it cannot be used now, SchemaTooNew when it never can."""
        loop = asyncio.get_running_loop()
        opened = await loop.run_in_executor(self.threads[0], self._open)
        self.writer, self.reader, self.looker = opened

    def _open(self) -> tuple[sqlite3.Connection, sqlite3.Connection, sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.locks.take(self.lock_path)
        except OSError as error:
            raise Unavailable(f"cannot use {self.path.parent}: {error.strerror}") from error
        try:
            writer = connect(self.path)
            migrate(writer, self.migrations)
            writer.execute("PRAGMA busy_timeout=0")  # it waits for others only in `patiently`
            return writer, connect(self.path), connect(self.path)
        except sqlite3.Error as error:
            self.locks.leave(self.lock_path)
            raise Unavailable(f"cannot open {self.path.name}: {error}") from error
        except SchemaTooNew:
            self.locks.leave(self.lock_path)
            raise

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a transaction that may be shared; return once it is on the disk."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        future.add_done_callback(looked_at)
        self.waiting.append((work, future))
        if self.writing is None or self.writing.done():
            self.writing = asyncio.ensure_future(self._drain())
        # A caller that is cancelled must not take its neighbours' commit with it, and its own work still happens.
        return await asyncio.shield(future)

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run `query` on committed data."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads[1], ask, self.reader, query)

    def look(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run `query` on committed data at once, on the caller's thread: for look-ups of a few rows by an index.

        Such a look-up takes some 20 us, a hop to a thread and back five times as much.
        """
        return ask(self.looker, query)

    async def _drain(self) -> None:
        while self.waiting:
            group, self.waiting = self.waiting[:MAX_GROUP], self.waiting[MAX_GROUP:]
            async with self.turn:
                outcomes = await self._commit([work for work, _ in group])
            for (_, future), (value, error) in zip(group, outcomes, strict=True):
                if future.done():
                    continue
                if error is None:
                    future.set_result(value)
                else:
                    future.set_exception(error)

    async def _commit(self, group: Sequence[Work]) -> list[tuple[Any, Exception | None]]:
        writer, patient = self.writer, asyncio.get_running_loop().run_in_executor
        if writer is None:
            return [(None, Unavailable("the database is not open")) for _ in group]
        try:
            if not begun(writer):
                await patient(self.threads[0], patiently, writer, BEGIN)
            outcomes = [in_savepoint(writer, work) for work in group]
            await patient(self.threads[0], writer.execute, "COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):  # then the next group meets this transaction, fails and tries again
                if writer.in_transaction:
                    writer.execute("ROLLBACK")
            failed = Unavailable(f"SQLite: {error}")
            return [(None, failed) for _ in group]
        return outcomes

    async def checkpoint(self) -> None:
        """Fold the write-ahead log into the file and empty it, so that what was erased is in neither.

        Unavailable when a reader kept it from being emptied: then what was erased may still be there. It goes on when
        its caller is gone: until it is done the connection is the thread's, and a commit would make the loop wait.
        """
        await self.checkpoints.run(self._checkpoint_in_turn())

    async def _checkpoint_in_turn(self) -> None:
        loop = asyncio.get_running_loop()
        async with self.turn:
            await loop.run_in_executor(self.threads[0], self._checkpoint)

    def _checkpoint(self) -> None:
        if self.writer is None:
            raise Unavailable("the database is not open")
        try:
            (busy, _, _) = patiently(self.writer, "PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            raise Unavailable(f"SQLite: {error}") from error
        if busy:
            raise Unavailable("SQLite: the log is being read and could not be emptied")

    async def close(self) -> None:
        """Finish the writes that wait, close, unlock."""
        if self.writing is not None:
            await self.writing
        await self.checkpoints.finish()
        if self.writer is None or self.reader is None or self.looker is None:
            return
        loop = asyncio.get_running_loop()
        self.looker.close()
        reader, writer, self.reader, self.writer, self.looker = self.reader, self.writer, None, None, None
        await loop.run_in_executor(self.threads[1], reader.close)
        await loop.run_in_executor(self.threads[0], writer.close)
        self.locks.leave(self.lock_path)
        for thread in self.threads:
            thread.shutdown(wait=False)


def ask(connection: sqlite3.Connection | None, query: Callable[[sqlite3.Connection], T]) -> T:
    """Run a read on a connection; SQLite's own troubles are Unavailable."""
    if connection is None:
        raise Unavailable("the database is not open")
    try:
        return query(connection)
    except sqlite3.Error as error:
        raise Unavailable(f"SQLite: {error}") from error


def begun(writer: sqlite3.Connection) -> bool:
    """Begin a transaction if that can be done at once; False when somebody else is writing, for example a backup."""
    try:
        writer.execute(BEGIN)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True


def patiently(writer: sqlite3.Connection, statement: str) -> sqlite3.Cursor:
    """Run a statement that may wait for somebody else's lock; never on the loop's thread."""
    writer.execute(f"PRAGMA busy_timeout={1000 * PATIENCE_SECONDS}")
    try:
        return writer.execute(statement)
    finally:
        writer.execute("PRAGMA busy_timeout=0")


def connect(path: Path) -> sqlite3.Connection:
    """Open a connection with igbot's settings: durable at each commit, erased text overwritten."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=PATIENCE_SECONDS)
    connection.row_factory = sqlite3.Row
    durable = ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "foreign_keys=ON")
    for pragma in (*durable, f"wal_autocheckpoint={CHECKPOINT_PAGES}"):
        connection.execute(f"PRAGMA {pragma}")
    path.chmod(0o600)
    return connection


def migrate(connection: sqlite3.Connection, migrations: Sequence[str]) -> None:
    """Bring the schema forward, one script a transaction; a newer schema than ours is SchemaTooNew."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(migrations):
        raise SchemaTooNew(
            f"the database has schema {version}, this igbot knows {len(migrations)}: install the newer one"
        )
    for number, script in enumerate(migrations[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version={number}; COMMIT;")


def in_savepoint(connection: sqlite3.Connection, work: Work) -> tuple[Any, Exception | None]:
    """Run one caller's work so that its failure undoes its own changes and nobody else's."""
    connection.execute("SAVEPOINT one")
    try:
        value = work(connection)
    except Exception as error:  # noqa: BLE001 - whatever it was, it belongs to this caller and is raised there
        connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")
        return None, Unavailable(f"SQLite: {error}") if isinstance(error, sqlite3.OperationalError) else error
    connection.execute("RELEASE one")
    return value, None
