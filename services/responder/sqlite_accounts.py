"""What is known of accounts, in SQLite."""

from __future__ import annotations

from sqlite3 import Row

from msgspec.structs import replace

from services.common.sqlite import SqliteFile
from services.responder.account import Account
from services.responder.codec import ACCOUNT
from services.responder.ports import Clock

GET = "SELECT doc, rev FROM accounts WHERE account = ?"
GET_APP_SCOPED = "SELECT doc, rev FROM accounts WHERE app_scoped_id = ?"
ALL = "SELECT doc, rev FROM accounts ORDER BY account"
INSERT = "INSERT INTO accounts (account, app_scoped_id, rev, doc) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
UPDATE = "UPDATE accounts SET app_scoped_id = ?, rev = rev + 1, doc = ? WHERE account = ? AND rev = ?"


class SqliteAccounts:
    """One row an account."""

    def __init__(self, file: SqliteFile, clock: Clock) -> None:
        """Keep the file, which the store opens."""
        self.file = file
        self.clock = clock

    async def get(self, account_id: str) -> Account | None:
        """Return the account with this professional or app-scoped id."""
        if not account_id:
            return None
        found = self.file.look(
            lambda db: db.execute(GET, (account_id,)).fetchone() or db.execute(GET_APP_SCOPED, (account_id,)).fetchone()
        )
        return read(found) if found else None

    async def save(self, account: Account) -> Account | None:
        """Write if the store still has `account.rev`, and return it with the new rev; else None."""
        doc = ACCOUNT.to_json(account)
        if account.rev == 0:
            rev = self.clock.now()  # never one that somebody remembers of an account that was erased
            born = (account.account, account.app_scoped_id, rev, doc)
            done = await self.file.write(lambda db: db.execute(INSERT, born).rowcount)
            return replace(account, rev=rev) if done else None
        change = (account.app_scoped_id, doc, account.account, account.rev)
        done = await self.file.write(lambda db: db.execute(UPDATE, change).rowcount)
        return replace(account, rev=account.rev + 1) if done else None

    async def all(self) -> list[Account]:
        """Return every account."""
        return [read(row) for row in await self.file.read(lambda db: db.execute(ALL).fetchall())]


def read(found: Row) -> Account:
    """Return the account with the rev that the store has."""
    return replace(ACCOUNT.from_json(found["doc"]), rev=found["rev"])
