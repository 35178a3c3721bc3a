"""The responder's store in one SQLite file: for one machine and one process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from sqlite3 import Connection

from services.common.examine_store import examine_sqlite
from services.common.findings import Finding
from services.common.sqlite import SqliteFile
from services.responder.message import Message, Stored
from services.responder.model import Conversation
from services.responder.ports import Accounts, Clock, Conversations, Erasing, Messages, Rule, Sends
from services.responder.sqlite_accounts import SqliteAccounts
from services.responder.sqlite_conversations import SqliteConversations, write
from services.responder.sqlite_erasing import SqliteErasing
from services.responder.sqlite_messages import SqliteMessages, add, unchanged
from services.responder.sqlite_schema import MIGRATIONS
from services.responder.sqlite_sends import SqliteSends


class HostClock:
    """The host's clock: a file belongs to one machine."""

    def now(self) -> int:
        """Return milliseconds since 1970."""
        return time.time_ns() // 1_000_000


class SqliteStore:
    """One file, opened by one process at a time."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        """Name the file; `clock` is for tests."""
        self.file = SqliteFile(path, MIGRATIONS)
        self.clock: Clock = clock or HostClock()
        self.conversations: Conversations = SqliteConversations(self.file, self.clock)
        self.messages: Messages = SqliteMessages(self.file)
        self.sends: Sends = SqliteSends(self.file)
        self.accounts: Accounts = SqliteAccounts(self.file, self.clock)
        self._erasing = SqliteErasing(self.file, self.clock)
        self.erasing: Erasing = self._erasing

    async def open(self) -> None:
        """Lock, migrate and open the file; Unavailable: another process has it, or the disk says no."""
        await self.file.open()
        await self._erasing.open()

    async def record(
        self, messages: Sequence[Message], row: Conversation, rule: Rule
    ) -> tuple[list[Stored], Conversation, Conversation | None]:
        """Add the messages and write the row that `rule` makes of them, in one transaction; in none if all is known."""
        known = self.file.look(lambda db: unchanged(db, messages))
        if known and (after := rule([one.message for one in known])) == row:
            return known, after, None

        def work(db: Connection) -> tuple[list[Stored], Conversation, Conversation | None]:
            stored = [add(db, message) for message in messages]
            after = rule([one.message for one in stored])
            return stored, after, None if after == row else write(db, after, self.clock.now())

        return await self.file.write(work)

    async def ping(self) -> None:
        """Raise Unavailable when the file cannot be read."""
        await self.file.read(lambda db: db.execute("SELECT 1").fetchone())

    async def examine(self) -> list[Finding]:
        """Look at the file itself."""
        return await examine_sqlite(self.file)

    async def close(self) -> None:
        """Finish the writes that wait, close, unlock."""
        await self.file.close()
