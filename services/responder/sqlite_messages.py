"""The events in SQLite, each stored once under its key."""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection, Row

from msgspec.structs import replace

from services.common.sqlite import SqliteFile
from services.responder.codec import MESSAGE
from services.responder.message import Message, Stored
from services.responder.model import Mark
from services.responder.stubs import completed, edited, is_shown, is_stub, scrubbed

GET = "SELECT doc, answered_by FROM messages WHERE key = ?"
INSERT = """
    INSERT INTO messages (key, account, person, shown, at, answered_by, worded, doc) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO NOTHING"""
REPLACE = "UPDATE messages SET person = ?, shown = ?, at = ?, answered_by = ?, worded = ?, doc = ? WHERE key = ?"
MARK = "UPDATE messages SET answered_by = ? WHERE key = ? AND answered_by = ?"
RECENT = """
    SELECT doc, answered_by FROM messages WHERE account = ? AND person = ? AND shown = 1
    ORDER BY at DESC, key DESC LIMIT ?"""


class SqliteMessages:
    """What was said and done, each event once."""

    def __init__(self, file: SqliteFile) -> None:
        """Keep the file, which the store opens."""
        self.file = file

    async def add(self, messages: Sequence[Message]) -> list[Stored]:
        """Insert each unless its key is there, complete stubs, and return each as the store has it now."""
        known = self.file.look(lambda db: unchanged(db, messages))
        if len(known) == len(messages):
            return known
        return await self.file.write(lambda db: [add(db, message) for message in messages])

    async def take_back(self, stub: Message) -> Stored:
        """Scrub the message with the stub's key and mark it, or store the stub."""

        def work(db: Connection) -> Stored:
            known = load(db, stub.key)
            if known is None:
                return Stored(insert(db, scrubbed(replace(stub, recorded_at=0))), new=True)
            if known.taken_back:
                return Stored(known, new=False)
            return Stored(store(db, scrubbed(known)), new=True)

        return await self.file.write(work)

    async def edit(self, stub: Message) -> Stored:
        """Replace the text when the stub's `edit` is larger and the message is not taken back, or store the stub."""

        def work(db: Connection) -> Stored:
            known = load(db, stub.key)
            if known is None:
                return Stored(insert(db, replace(stub, recorded_at=0)), new=True)
            changed = edited(known, stub)
            return Stored(known, new=False) if changed is known else Stored(store(db, changed), new=True)

        return await self.file.write(work)

    async def mark(self, marks: Sequence[Mark]) -> None:
        """Set `answered_by` where it is still what the mark says it was."""
        args = [(mark.answered_by, mark.key, mark.was) for mark in marks]
        await self.file.write(lambda db: db.executemany(MARK, args).rowcount)

    async def get(self, keys: Sequence[str]) -> list[Message]:
        """Return those that exist, in no order."""
        found = self.file.look(lambda db: [load(db, key) for key in dict.fromkeys(keys)])
        return [message for message in found if message is not None]

    async def recent(self, account: str, person: str, limit: int) -> list[Message]:
        """Return the newest messages of a conversation, by timestamp, oldest first."""
        rows = self.file.look(lambda db: db.execute(RECENT, (account, person, limit)).fetchall())
        return [read(row) for row in reversed(rows)]


def unchanged(db: Connection, messages: Sequence[Message]) -> list[Stored]:
    """Return the messages when adding them would change nothing, as with what comes again; else nothing."""
    known = [load(db, message.key) for message in messages]
    found = [Stored(one, new=False) for one in known if one is not None and not is_stub(one)]
    return found if len(found) == len(messages) else []


def add(db: Connection, message: Message) -> Stored:
    """Insert, or complete the stub, or leave what is there."""
    known = load(db, message.key)
    if known is None:
        return Stored(insert(db, message), new=True)
    if is_stub(known):
        return Stored(store(db, completed(known, message)), new=True)
    return Stored(known, new=False)


def load(db: Connection, key: str) -> Message | None:
    """Return the message with this key."""
    found = db.execute(GET, (key,)).fetchone()
    return read(found) if found else None


def insert(db: Connection, message: Message) -> Message:
    """Store a new one."""
    db.execute(INSERT, (message.key, message.account, *columns(message)))
    return message


def store(db: Connection, message: Message) -> Message:
    """Replace one that is there."""
    db.execute(REPLACE, (*columns(message), message.key))
    return message


def columns(message: Message) -> tuple[object, ...]:
    """Return what may change of a row: person (a stub may know none), shown, at, answered_by, worded, doc."""
    worded = bool(message.text or message.attachments or message.note)
    return message.person, is_shown(message), message.at, message.answered_by, worded, MESSAGE.to_json(message)


def read(found: Row) -> Message:
    """Return the message; `answered_by` is the column's, which marks change by itself."""
    message = MESSAGE.from_json(found["doc"])
    answered_by = found["answered_by"]
    return message if message.answered_by == answered_by else replace(message, answered_by=answered_by)
