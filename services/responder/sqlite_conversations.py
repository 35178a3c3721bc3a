"""The conversations' rows in SQLite."""

from __future__ import annotations

import json
from collections.abc import Sequence
from sqlite3 import Connection, Row

from msgspec.structs import replace

from services.common.sqlite import SqliteFile
from services.responder.codec import CONVERSATION
from services.responder.model import Conversation, Figures
from services.responder.ports import Clock

OWN = "rev, owner, fence, lease_until"
"""What the store alone decides: these columns speak, whatever the doc says."""

LOAD = f"SELECT doc, {OWN} FROM conversations WHERE account = ? AND person = ?"  # noqa: S608 - no value stands in it
INSERT = """
    INSERT INTO conversations (account, person, rev, due_at, last_at, failed, doc) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO NOTHING"""
UPDATE = """
    UPDATE conversations SET rev = rev + 1, due_at = ?, last_at = ?, failed = ?, doc = ?,
        owner = CASE WHEN ? THEN '' ELSE owner END, lease_until = CASE WHEN ? THEN 0 ELSE lease_until END
    WHERE account = ? AND person = ? AND rev = ?
    RETURNING rev, owner, fence, lease_until"""
CLAIM = f"""
    UPDATE conversations SET rev = rev + 1, owner = ?, fence = fence + 1, lease_until = ?
    WHERE rowid = (
        SELECT rowid FROM conversations WHERE account = ? AND due_at <= ? AND lease_until <= ? ORDER BY due_at LIMIT 1)
    RETURNING doc, {OWN}"""  # noqa: S608 - as above
CLAIM_ONE = f"""
    UPDATE conversations SET rev = rev + 1, owner = ?, fence = fence + 1, lease_until = ?
    WHERE account = ? AND due_at <= ? AND lease_until <= ? AND person = ?
    RETURNING doc, {OWN}"""  # noqa: S608 - as above
RENEW = "UPDATE conversations SET lease_until = ? WHERE account = ? AND person = ? AND fence = ? AND owner = ?"
# One step an account, however many of its conversations are due: https://wiki.postgresql.org/wiki/Loose_indexscan
DUE_ACCOUNTS = """
    WITH RECURSIVE one(account) AS (
        SELECT min(account) FROM conversations WHERE due_at IS NOT NULL
        UNION ALL
        SELECT (SELECT min(account) FROM conversations WHERE due_at IS NOT NULL AND account > one.account)
        FROM one WHERE one.account IS NOT NULL)
    SELECT account FROM one WHERE EXISTS (
        SELECT 1 FROM conversations AS c WHERE c.account = one.account AND due_at <= ? AND lease_until <= ?)"""
FIND = f"SELECT doc, {OWN} FROM conversations ORDER BY last_at DESC LIMIT ? OFFSET ?"  # noqa: S608 - as above
FIND_OF = f"""
    SELECT doc, {OWN} FROM conversations WHERE account = ?
    ORDER BY last_at DESC LIMIT ? OFFSET ?"""  # noqa: S608 - as above
COUNT_DUE = """
    SELECT count(*), min(due_at) FROM conversations
    WHERE due_at <= ? AND lease_until <= ? AND account NOT IN (SELECT value FROM json_each(?))"""
COUNT_HELD = "SELECT count(*) FROM sends WHERE held"
COUNT_FAILED = "SELECT count(*) FROM conversations WHERE failed"


class SqliteConversations:
    """The rows, each written only by the one who has read it as it is."""

    def __init__(self, file: SqliteFile, clock: Clock) -> None:
        """Keep the file, which the store opens."""
        self.file = file
        self.clock = clock

    async def load(self, account: str, person: str) -> Conversation | None:
        """Return the row as committed now."""
        found = self.file.look(lambda db: db.execute(LOAD, (account, person)).fetchone())
        return read(found) if found else None

    async def save(self, row: Conversation, *, release: bool = False) -> Conversation | None:
        """Write the row if it still has `row.rev`; None when another was faster."""
        return await self.file.write(lambda db: write(db, row, self.clock.now(), release=release))

    async def claim(self, account: str, owner: str, lease_ms: int, *, person: str = "") -> Conversation | None:
        """Take the account's longest-due conversation that nobody holds, or the person's if one is named."""

        def work(db: Connection) -> list[Row]:
            now = self.clock.now()  # here, because the write may have waited for its turn
            args = (owner, now + lease_ms, account, now, now)
            return db.execute(CLAIM_ONE if person else CLAIM, (*args, person) if person else args).fetchall()

        taken = await self.file.write(work)
        return read(taken[0]) if taken else None

    async def renew(self, row: Conversation, lease_ms: int) -> bool:
        """Prolong the lease if the row still has this fence."""

        def work(db: Connection) -> int:
            until = self.clock.now() + lease_ms
            return db.execute(RENEW, (until, row.account, row.person, row.fence, row.owner)).rowcount

        return await self.file.write(work) == 1

    async def due_accounts(self) -> list[str]:
        """Return the accounts that have a conversation to claim now."""
        now = self.clock.now()
        found = await self.file.read(lambda db: db.execute(DUE_ACCOUNTS, (now, now)).fetchall())
        return [account for (account,) in found]

    async def find(self, *, account: str = "", limit: int, offset: int = 0) -> list[Conversation]:
        """Return rows, the last active first."""
        query, args = (FIND_OF, (account, limit, offset)) if account else (FIND, (limit, offset))
        return [read(row) for row in await self.file.read(lambda db: db.execute(query, args).fetchall())]

    async def figures(self, held_accounts: Sequence[str]) -> Figures:
        """Count what is due now and nobody's, outside the held accounts, what failed, and the held replies."""
        now = self.clock.now()
        args = (now, now, json.dumps(list(held_accounts)))

        def query(db: Connection) -> Figures:
            due, oldest = db.execute(COUNT_DUE, args).fetchone()
            held, failed = (db.execute(one).fetchone()[0] for one in (COUNT_HELD, COUNT_FAILED))
            return Figures(due=due, due_oldest_at=oldest, held=held, failed=failed)

        return await self.file.read(query)


def write(db: Connection, row: Conversation, now: int, *, release: bool = False) -> Conversation | None:
    """Write the row if it still has `row.rev`, and return it with what the store alone decides."""
    said = (row.due_at, row.last_at, row.failed, CONVERSATION.to_json(row))
    if row.rev == 0:
        # A row that was erased and came again must not have a rev that somebody still remembers.
        born = replace(row, rev=now, owner="", fence=0, lease_until=0)
        return born if db.execute(INSERT, (row.account, row.person, now, *said)).rowcount else None
    changed = db.execute(UPDATE, (*said, release, release, row.account, row.person, row.rev)).fetchall()
    if not changed:
        return None
    ((rev, owner, fence, lease_until),) = changed
    return replace(row, rev=rev, owner=owner, fence=fence, lease_until=lease_until)


def read(found: Row) -> Conversation:
    """Return the row, the store's own columns speaking for themselves."""
    doc, rev, owner, fence, lease_until = found
    return replace(CONVERSATION.from_json(doc), rev=rev, owner=owner, fence=fence, lease_until=lease_until)
