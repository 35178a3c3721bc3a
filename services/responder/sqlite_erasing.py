"""Data deletion and retention in SQLite, a few hundred rows a transaction so that nobody waits for long."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from sqlite3 import Connection

from msgspec.structs import replace

from services.common.sqlite import SqliteFile
from services.responder.codec import MESSAGE, REPLY
from services.responder.ports import Clock
from services.responder.tombstones import KEY_BYTES, hash_of

AT_ONCE = 50
BURY = """
    INSERT INTO tombstones (hash, erased_at) VALUES (?, ?)
    ON CONFLICT (hash) DO UPDATE SET erased_at = max(erased_at, excluded.erased_at)"""
ERASED_AT = "SELECT coalesce(max(erased_at), 0) FROM tombstones WHERE hash IN (?, ?)"
MAKE_SECRET = "INSERT INTO secrets (name, value) VALUES ('tombstones', ?) ON CONFLICT DO NOTHING"  # noqa: S105 - SQL
SECRET = "SELECT value FROM secrets WHERE name = 'tombstones'"  # noqa: S105 - SQL
# The row goes first: from then on, whoever still works on the conversation cannot write it any more.
DELETE_PERSON = tuple(
    f"""DELETE FROM {table} WHERE rowid IN (
        SELECT rowid FROM {table} WHERE account = ? AND person = ? LIMIT {AT_ONCE})"""  # noqa: S608 - our own names
    for table in ("conversations", "sends", "messages")
)
DELETE_ACCOUNT = tuple(
    f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE account = ? LIMIT {AT_ONCE})"  # noqa: S608 - our own names
    for table in ("conversations", "sends", "messages", "accounts")
)
OLD_MESSAGES = "SELECT key, doc FROM messages WHERE worded AND at < ? ORDER BY at LIMIT ?"
WORDLESS_MESSAGE = "UPDATE messages SET worded = 0, doc = ? WHERE key = ?"
OLD_SENDS = "SELECT id, doc FROM sends WHERE worded AND created_at < ? ORDER BY created_at LIMIT ?"
WORDLESS_SEND = "UPDATE sends SET worded = 0, doc = ? WHERE id = ?"


class SqliteErasing:
    """What deletes."""

    def __init__(self, file: SqliteFile, clock: Clock) -> None:
        """Keep the file, which the store opens."""
        self.file = file
        self.clock = clock
        self.secret = b""

    async def open(self) -> None:
        """Read the store's secret, or make it."""

        def work(db: Connection) -> bytes:
            db.execute(MAKE_SECRET, (secrets.token_bytes(KEY_BYTES),))
            return bytes(db.execute(SECRET).fetchone()[0])

        self.secret = await self.file.write(work)

    async def erase(self, account: str, person: str) -> int:
        """Delete everything of a person or an account, from the file and its log; return how many documents."""
        tombstone = (hash_of(self.secret, account, person), self.clock.now())
        await self.file.write(lambda db: db.execute(BURY, tombstone).rowcount)
        queries, args = (DELETE_PERSON, (account, person)) if person else (DELETE_ACCOUNT, (account,))
        deleted = sum([await self._repeat(delete(query, args)) for query in queries])
        await self.file.checkpoint()
        return deleted

    async def erased_at(self, account: str, person: str) -> int:
        """Return when this person, or the whole account, was erased last; 0: never."""
        hashes = (hash_of(self.secret, account, person), hash_of(self.secret, account, ""))
        found = self.file.look(lambda db: db.execute(ERASED_AT, hashes).fetchone())
        return int(found[0])

    async def purge(self, before: int) -> int:
        """Take text, attachments and notes out of messages and sends older than `before`; keys stay."""

        def messages(db: Connection) -> int:
            old = db.execute(OLD_MESSAGES, (before, AT_ONCE)).fetchall()
            return db.executemany(
                WORDLESS_MESSAGE, [(wordless_message(row["doc"]), row["key"]) for row in old]
            ).rowcount

        def sends(db: Connection) -> int:
            old = db.execute(OLD_SENDS, (before, AT_ONCE)).fetchall()
            db.executemany(WORDLESS_SEND, [(wordless_send(row["doc"]), row["id"]) for row in old])
            return len(old)

        return await self._repeat(messages) + await self._repeat(sends)

    async def _repeat(self, work: Callable[[Connection], int]) -> int:
        """Do it in short transactions until nothing is left; return how many rows that were."""
        total = 0
        while done := await self.file.write(work):
            total += done
        return total


def delete(query: str, args: tuple[str, ...]) -> Callable[[Connection], int]:
    """Return the work of one short transaction."""
    return lambda db: db.execute(query, args).rowcount


def wordless_message(doc: str) -> str:
    """Return a message's document without what was said."""
    return MESSAGE.to_json(replace(MESSAGE.from_json(doc), text="", attachments=(), note=""))


def wordless_send(doc: str) -> str:
    """Return a reply's document without its words."""
    reply = REPLY.from_json(doc)
    return REPLY.to_json(replace(reply, parts=tuple(replace(part, text="") for part in reply.parts)))
