"""Finished replies in SQLite."""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection, Row

from services.common.sqlite import SqliteFile
from services.responder.codec import REPLY
from services.responder.model import PartState, Reply
from services.responder.ports import ReplyRule

INSERT = """
    INSERT INTO sends (id, account, person, created_at, held, worded, doc) VALUES (?, ?, ?, ?, ?, ?, ?)"""
PUT = f"""{INSERT}
    ON CONFLICT (id) DO UPDATE SET account = excluded.account, person = excluded.person,
        created_at = excluded.created_at, held = excluded.held, worded = excluded.worded, doc = excluded.doc"""
PUT_UNSETTLED = f"{INSERT} ON CONFLICT (id) DO NOTHING"
FORGET_MIDS = "DELETE FROM send_mids WHERE id = ?"
PUT_MID = "INSERT OR REPLACE INTO send_mids (account, mid, id) VALUES (?, ?, ?)"
GET = "SELECT doc FROM sends WHERE id = ?"
OWNS = "SELECT 1 FROM send_mids WHERE account = ? AND mid = ?"
HELD = "SELECT doc FROM sends WHERE held ORDER BY created_at, id"
HELD_OF = "SELECT doc FROM sends WHERE held AND +account = ? ORDER BY created_at, id"  # few are held: their own index
OF = "SELECT doc FROM sends WHERE account = ? AND person = ? ORDER BY created_at DESC, id DESC LIMIT ?"


class SqliteSends:
    """What was sent, or given up, or is still looked for."""

    def __init__(self, file: SqliteFile) -> None:
        """Keep the file, which the store opens."""
        self.file = file

    async def put(self, reply: Reply) -> None:
        """Store or replace by id. An unsettled one replaces nothing: what is there already knows more."""
        await self.file.write(lambda db: put(db, reply))

    async def change(self, reply_id: str, rule: ReplyRule) -> Reply | None:
        """Change what is stored by a rule, at once; return that. None: it is gone, or the rule changes nothing."""

        def write(db: Connection) -> Reply | None:
            row = db.execute(GET, (reply_id,)).fetchone()
            changed = rule(REPLY.from_json(row["doc"])) if row else None
            if changed is not None:
                put(db, changed)
            return changed

        return await self.file.write(write)

    async def get(self, reply_id: str) -> Reply | None:
        """Return one."""
        rows = await self._read(GET, (reply_id,))
        return rows[0] if rows else None

    async def owns(self, account: str, mid: str) -> bool:
        """Whether a part of one of the account's replies has this mid."""
        return self.file.look(lambda db: db.execute(OWNS, (account, mid)).fetchone()) is not None

    async def held(self, account: str = "") -> list[Reply]:
        """Return the replies with a held part, oldest first."""
        return await self._read(HELD_OF, (account,)) if account else await self._read(HELD, ())

    async def of(self, account: str, person: str, limit: int) -> list[Reply]:
        """Return a conversation's newest, oldest first."""
        return (await self._read(OF, (account, person, limit)))[::-1]

    async def _read(self, query: str, args: Sequence[object]) -> list[Reply]:
        rows: list[Row] = await self.file.read(lambda db: db.execute(query, tuple(args)).fetchall())
        return [REPLY.from_json(row["doc"]) for row in rows]


def put(db: Connection, reply: Reply) -> None:
    """Write the reply and which mids are its own."""
    statement = PUT_UNSETTLED if reply.unsettled else PUT
    written = db.execute(statement, (reply.id, reply.account, reply.person, reply.created_at, *columns(reply)))
    if not written.rowcount:
        return
    db.execute(FORGET_MIDS, (reply.id,))
    db.executemany(PUT_MID, [(reply.account, part.mid, reply.id) for part in reply.parts if part.mid])


def columns(reply: Reply) -> tuple[object, ...]:
    """Return held, worded, doc."""
    held = any(part.state is PartState.HELD for part in reply.parts)
    return held, any(part.text for part in reply.parts), REPLY.to_json(reply)
