"""Accounts in one SQLite file: documents in JSON, with columns for what is searched."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from services.common.account_state import AccountState
from services.common.errors import Refused, UnknownAccount
from services.common.examine_store import examine_sqlite
from services.common.findings import Finding
from services.common.sqlite import SqliteFile
from services.tokens import schedule, state
from services.tokens.accounts import Account, Summary
from services.tokens.documents import from_document, milliseconds, moment, to_document
from services.tokens.ports import Chore, Rule, always

MIGRATIONS = (
    """
    CREATE TABLE accounts (
        account TEXT PRIMARY KEY,
        app_scoped_id TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL,
        expires_at INTEGER,
        refresh_at INTEGER,
        watch_at INTEGER,
        lease_until INTEGER,
        state_at INTEGER,
        rejected_at INTEGER,
        issued_at INTEGER,
        document TEXT NOT NULL
    );
    CREATE INDEX accounts_refresh_at ON accounts (refresh_at) WHERE refresh_at IS NOT NULL;
    CREATE INDEX accounts_watch_at ON accounts (watch_at) WHERE watch_at IS NOT NULL;
    CREATE TABLE pace (one INTEGER PRIMARY KEY CHECK (one = 1), next_at INTEGER NOT NULL);
    INSERT INTO pace VALUES (1, 0)
    """,
    "CREATE INDEX accounts_expires_at ON accounts (expires_at) WHERE expires_at IS NOT NULL",
)
PAGE = 100
COLUMNS = (
    "account",
    "app_scoped_id",
    "state",
    "expires_at",
    "refresh_at",
    "watch_at",
    "lease_until",
    "state_at",
    "rejected_at",
    "issued_at",
)
SAVE = (
    f"INSERT INTO accounts ({', '.join(COLUMNS)}, document) "  # noqa: S608 - the names are the constants above
    f"VALUES ({', '.join('?' for _ in COLUMNS)}, ?) ON CONFLICT (account) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in (*COLUMNS[1:], "document"))
)
CLAIM = (
    "SELECT document FROM accounts WHERE {} "
    "AND (lease_until IS NULL OR lease_until <= :now OR lease_until > :lease_most) ORDER BY {} LIMIT 1"
)
CLAIMS = {
    Chore.REFRESH: (
        CLAIM.format("refresh_at <= :now", "refresh_at"),
        CLAIM.format("expires_at <= :alarm AND refresh_at > :alarm", "expires_at"),
    ),
    Chore.WATCH: (
        CLAIM.format("watch_at <= :now", "watch_at"),
        CLAIM.format("watch_at > :watch_most", "watch_at"),
    ),
}
"""What is due, then what is planned as no right clock plans; each by an index."""


class SqliteAccounts:
    """The ports Accounts and Rota on `tokens.db`."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; `open` opens the file."""
        self.file = SqliteFile(folder / "tokens.db", MIGRATIONS)

    async def open(self) -> None:
        """Open and migrate; Unavailable when that cannot be done now."""
        await self.file.open()

    async def close(self) -> None:
        """Finish what waits and close."""
        await self.file.close()

    async def examine(self) -> list[Finding]:
        """Look at the file itself."""
        return await examine_sqlite(self.file)

    async def find(self, account: str) -> Account | None:
        """Return the account with this id, professional or app-scoped."""
        return await self.file.read(lambda connection: find(connection, account))

    async def all(self) -> Sequence[Account]:
        """Return every account, by its professional id."""
        accounts: list[Account] = []
        while page := await self.file.read(partial(read_page, after=accounts[-1].account if accounts else "")):
            accounts += page
        return accounts

    async def put(
        self, account: str, make: Callable[[Account | None], Account], *, in_place_of: str | None = None
    ) -> Account:
        """Store what `make` gives; Refused when its app-scoped id is another account's."""

        def write(connection: sqlite3.Connection) -> Account:
            connection.execute("DELETE FROM accounts WHERE account = ?", (in_place_of,))
            made = make(find_by_key(connection, account))
            try:
                save(connection, made)
            except sqlite3.IntegrityError as error:
                raise Refused("the app-scoped id belongs to another account") from error
            return made

        return await self.file.write(write)

    async def change(self, account: str, rule: Rule) -> Account:
        """Apply a rule at once and for good."""

        def write(connection: sqlite3.Connection) -> Account:
            found = find_by_key(connection, account)
            if found is None:
                raise UnknownAccount("no such account")
            changed = rule(found)
            if changed is not None and changed != found:
                save(connection, changed)
            return changed or found

        return await self.file.write(write)

    async def forget(self, account: str, *, when: Callable[[Account], bool] = always) -> bool:
        """Erase the account, and empty the write-ahead log that may still hold it."""

        def write(connection: sqlite3.Connection) -> bool:
            found = find_by_key(connection, account)
            if found is None or not when(found):
                return False
            connection.execute("DELETE FROM accounts WHERE account = ?", (account,))
            return True

        gone = await self.file.write(write)
        await self.file.checkpoint()
        return gone

    async def claim(self, chore: Chore, *, now: datetime, until: datetime) -> Account | None:
        """Lease the account that has waited longest for this chore."""

        def write(connection: sqlite3.Connection) -> Account | None:
            found = (connection.execute(query, moments(now)).fetchone() for query in CLAIMS[chore])
            row = next(filter(None, found), None)
            if row is None:
                return None
            claimed = state.leased(from_document(json.loads(row[0])), now, until)
            save(connection, claimed)
            return claimed

        return await self.file.write(write)

    async def turn(self, now: datetime) -> datetime:
        """Reserve the next moment at which a refresh may start."""

        def write(connection: sqlite3.Connection) -> datetime:
            row = connection.execute("SELECT next_at FROM pace").fetchone()
            mine = schedule.next_turn(moment(row[0]), now)
            connection.execute("UPDATE pace SET next_at = ?", (milliseconds(mine + schedule.TURN),))
            return mine

        return await self.file.write(write)

    async def planned(self, windows: Sequence[tuple[datetime, datetime]]) -> Sequence[int]:
        """Count the refreshes planned within each window."""

        def read(connection: sqlite3.Connection) -> list[int]:
            query = "SELECT count(*) FROM accounts WHERE refresh_at >= ? AND refresh_at < ?"
            pairs = [(milliseconds(start), milliseconds(end)) for start, end in windows]
            return [int(connection.execute(query, pair).fetchone()[0]) for pair in pairs]

        return await self.file.read(read)

    async def summary(self, rejected_since: datetime) -> Summary:
        """Count the accounts by state, and those whose token was rejected lately."""
        return await self.file.read(lambda connection: summary(connection, milliseconds(rejected_since)))


def moments(now: datetime) -> dict[str, int]:
    """Return the moments that a claim compares with."""
    return {
        "now": milliseconds(now),
        "alarm": milliseconds(now + schedule.ALARM_LEFT),
        "watch_most": milliseconds(now + schedule.WATCH_MOST),
        "lease_most": milliseconds(now + schedule.LEASE_MOST),
    }


def read_page(connection: sqlite3.Connection, after: str) -> list[Account]:
    """Read the next accounts: a few, since decoding them in a thread holds up whoever borrows a token meanwhile."""
    query = "SELECT document FROM accounts WHERE account > ? ORDER BY account LIMIT ?"
    return [from_document(json.loads(row[0])) for row in connection.execute(query, (after, PAGE))]


def find(connection: sqlite3.Connection, account: str) -> Account | None:
    """Read by either id; the professional one goes first."""
    query = "SELECT document FROM accounts WHERE account = ?1 OR app_scoped_id = ?1 ORDER BY account <> ?1 LIMIT 1"
    row = connection.execute(query, (account,)).fetchone()
    return from_document(json.loads(row[0])) if row else None


def find_by_key(connection: sqlite3.Connection, account: str) -> Account | None:
    """Read by the professional id."""
    row = connection.execute("SELECT document FROM accounts WHERE account = ?", (account,)).fetchone()
    return from_document(json.loads(row[0])) if row else None


def save(connection: sqlite3.Connection, account: Account) -> None:
    """Write a row, whether it is there or not."""
    document = to_document(account)
    connection.execute(SAVE, (*(document[name] for name in COLUMNS), json.dumps(document)))


def summary(connection: sqlite3.Connection, rejected_since: int) -> Summary:
    """Read the numbers of all accounts."""
    rows = connection.execute(
        "SELECT state, count(*), min(expires_at), max(issued_at), sum(CASE WHEN state IN ('active', 'limited') "
        "THEN rejected_at IS NOT NULL ELSE state = 'reauthorize' AND state_at > ? END), "
        "sum(state = 'active' AND NOT EXISTS (SELECT 1 FROM json_each(document, '$.subscribed_fields') "
        "WHERE value = 'messages')) FROM accounts GROUP BY state",
        (rejected_since,),
    ).fetchall()
    issues = [row[3] for row in rows if row[3] is not None]
    return Summary(
        by_state={AccountState(row[0]): int(row[1]) for row in rows},
        least_expiry={AccountState(row[0]): moment(row[2]) for row in rows if row[2] is not None},
        last_refresh=moment(max(issues)) if issues else None,
        rejected=sum(int(row[4] or 0) for row in rows),
        unsubscribed=sum(int(row[5] or 0) for row in rows),
    )
