"""No query reads more than it returns: each is served by an index, whatever the stores hold."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from services.responder import (
    mongo_schema,
    sqlite_accounts,
    sqlite_conversations,
    sqlite_erasing,
    sqlite_messages,
    sqlite_sends,
)
from services.responder.model import Mark, PartState
from services.responder.mongo_store import MongoStore
from services.responder.ports import Store
from services.responder.sqlite_store import SqliteStore
from tests.responder.stores import ACCOUNT, LEASE, PERSON, a_message, a_part, a_reply, a_row, a_stub, an_account

MODULES = (sqlite_conversations, sqlite_messages, sqlite_sends, sqlite_accounts, sqlite_erasing)
SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH) ")
ALLOWED = re.compile(
    r"SEARCH|.*SUBQUERY|CO-ROUTINE|SETUP|RECURSIVE STEP|MATERIALIZE|USING ROWID SEARCH"
    r"|SCAN (one|json_each|CONSTANT ROW)"
    # Read in order up to a limit, or holding only what is listed or counted:
    r"|SCAN conversations USING INDEX conversations_last"
    r"|SCAN conversations USING COVERING INDEX conversations_due"
    r"|SCAN conversations USING (COVERING )?INDEX conversations_failed"
    r"|SCAN sends USING (COVERING )?INDEX sends_held"
    r"|SCAN accounts USING INDEX sqlite_autoindex_accounts_1"
)


def queries(module: ModuleType) -> Iterator[tuple[str, str]]:
    """Every SQL text of a module, with its name."""
    for name, value in vars(module).items():
        for place, text in enumerate(value if isinstance(value, tuple) else [value]):
            if isinstance(text, str) and SQL.match(text):
                yield f"{module.__name__.rpartition('.')[2]}.{name}.{place}", text


QUERIES = dict(pair for module in MODULES for pair in queries(module))


@pytest.fixture
async def sqlite_store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "responder.db")
    await store.open()
    yield store
    await store.close()


async def plan(store: SqliteStore, query: str) -> list[str]:
    args = [None] * query.count("?")
    rows = await store.file.read(lambda db: db.execute(f"EXPLAIN QUERY PLAN {query}", args).fetchall())
    return [row["detail"] for row in rows]


@pytest.mark.parametrize("name", QUERIES)
async def test_no_sqlite_query_scans_or_sorts(sqlite_store: SqliteStore, name: str) -> None:
    for step in await plan(sqlite_store, QUERIES[name]):
        assert ALLOWED.match(step), f"{name}: {step}"


def test_every_sqlite_query_is_looked_at() -> None:
    assert len(QUERIES) >= 35


@pytest.mark.parametrize(
    ("query", "step"),
    [
        (sqlite_conversations.CLAIM, "COVERING INDEX conversations_due (account=? AND due_at<?)"),
        (sqlite_conversations.DUE_ACCOUNTS, "COVERING INDEX conversations_due (account>?)"),
        (sqlite_conversations.DUE_ACCOUNTS, "COVERING INDEX conversations_due (account=? AND due_at<?)"),
        (sqlite_messages.RECENT, "INDEX messages_of_person (account=? AND person=? AND shown=?)"),
        (sqlite_sends.OWNS, "PRIMARY KEY (account=? AND mid=?)"),
        (sqlite_sends.OF, "INDEX sends_of_person (account=? AND person=?)"),
        (sqlite_sends.HELD_OF, "INDEX sends_held"),
        (sqlite_erasing.OLD_MESSAGES, "INDEX messages_worded (at<?)"),
        (sqlite_erasing.OLD_SENDS, "INDEX sends_worded (created_at<?)"),
    ],
)
async def test_a_hot_sqlite_query_uses_its_own_index(sqlite_store: SqliteStore, query: str, step: str) -> None:
    assert any(step in line for line in await plan(sqlite_store, query))


class CommandLog(CommandListener):
    """Remembers the commands that read or change documents."""

    def __init__(self) -> None:
        self.commands: list[dict[str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name in {"find", "findAndModify", "update", "delete", "distinct", "aggregate", "count"}:
            self.commands.append(dict(event.command))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        pass

    def failed(self, event: CommandFailedEvent) -> None:
        pass


async def use_every_method(store: Store) -> None:
    """Call all of ports.py, so that each query is made at least once."""
    await store.conversations.save(a_row(due_at=1, last_at=1))
    row = await store.conversations.claim(ACCOUNT, "w", LEASE)
    assert row is not None
    assert await store.conversations.renew(row, LEASE)
    assert await store.conversations.save(row, release=True)
    assert await store.conversations.due_accounts() == [ACCOUNT]
    await store.conversations.load(ACCOUNT, PERSON)
    for account in ("", ACCOUNT):
        await store.conversations.find(account=account, limit=1)
        await store.sends.held(account)
    await store.conversations.figures(["held"])
    await store.messages.add([a_message("m1"), a_message("m2")])
    await store.messages.edit(a_stub("m1", edit=1, text="new"))
    await store.messages.take_back(a_stub("m3"))
    await store.messages.add([a_message("m3"), a_message("m1")])
    await store.messages.mark([Mark(key=a_message("m1").key, answered_by="r1")])
    await store.messages.get([a_message("m1").key])
    await store.messages.recent(ACCOUNT, PERSON, 9)
    await store.sends.put(a_reply(parts=(a_part(state=PartState.HELD, mid="x"),)))
    await store.sends.get("r1")
    await store.sends.owns(ACCOUNT, "x")
    await store.sends.of(ACCOUNT, PERSON, 9)
    shop = await store.accounts.save(an_account())
    assert shop is not None
    assert await store.accounts.save(shop)
    await store.accounts.get("unknown")
    await store.accounts.all()
    await store.erasing.purge(10_000)
    await store.erasing.erased_at(ACCOUNT, PERSON)
    await store.erasing.erase(ACCOUNT, PERSON)
    await store.erasing.erase(ACCOUNT, "")


def asked(command: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """The collection, filter and sort of a command."""
    name, collection = next(iter(command.items()))
    if name in {"update", "delete"}:
        for one in command[f"{name}s"]:
            yield collection, dict(one["q"]), {}
    elif name == "aggregate":
        yield collection, dict(command["pipeline"][0]["$match"]), {}
    else:
        yield collection, dict(command.get("filter") or command.get("query") or {}), dict(command.get("sort") or {})


def indexes(collection: str) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """The fields and the partial filter of each declared index, the primary key first."""
    yield ["_id"], {}
    for model in mongo_schema.INDEXES.get(collection, []):
        yield list(model.document["key"]), dict(model.document.get("partialFilterExpression", {}))


def served(collection: str, wanted: dict[str, Any], sort: dict[str, Any]) -> bool:
    """Whether a declared index finds exactly what is asked for, and in its order."""
    equal = {name for name, value in wanted.items() if not isinstance(value, dict)}
    for fields, only in indexes(collection):
        if not all(name in equal if value is True else name in wanted for name, value in only.items()):
            continue
        # The primary key finds one document, the indexes of what is held or failed few; others must know every field.
        if fields[0] != "_id" and not {"held", "failed"} & only.keys() and wanted.keys() - {*fields, *only, "$expr"}:
            continue
        rest = list(fields)
        while rest and rest[0] in equal:
            rest.pop(0)
        in_order = rest[: len(sort)] == list(sort) and len(set(sort.values())) <= 1
        narrowed = len(rest) < len(fields) or rest[0] in wanted or bool(only)
        if in_order and (narrowed or (sort and not wanted)):
            return True
    return False


@pytest.fixture
async def mongo_log(mongo_url: str) -> AsyncIterator[tuple[MongoStore, CommandLog]]:
    store, log = MongoStore(mongo_url), CommandLog()
    store.link.options["event_listeners"] = [log]
    await store.open()
    log.commands.clear()
    yield store, log
    await store.close()


async def test_every_mongo_command_has_its_index(mongo_log: tuple[MongoStore, CommandLog]) -> None:
    store, log = mongo_log
    await use_every_method(store)
    assert len(log.commands) >= 40
    for command in log.commands:
        for collection, wanted, sort in asked(command):
            assert served(collection, wanted, sort), f"no index for {wanted} {sort} of {collection}"


async def test_the_server_finds_the_index_of_a_claim(mongo_log: tuple[MongoStore, CommandLog]) -> None:
    store, log = mongo_log
    await use_every_method(store)
    (claim,) = [command for command in log.commands if command.get("sort") == {"due_at": 1}]
    command = {name: claim[name] for name in ("findAndModify", "query", "sort", "update")}
    database = await store.link.database()
    explained = await database.command("explain", command, verbosity="queryPlanner")
    text = json.dumps(explained["queryPlanner"]["winningPlan"], default=str)
    assert '"indexName": "due"' in text
    assert '"SORT"' not in text


async def test_a_mongo_write_is_asked_to_be_majority_and_journaled(mongo_log: tuple[MongoStore, CommandLog]) -> None:
    store, log = mongo_log
    await use_every_method(store)
    writes = [one for one in log.commands if next(iter(one)) in {"update", "delete", "findAndModify"}]
    assert writes
    for command in writes:
        assert (command["writeConcern"]["w"], command["writeConcern"]["j"]) == ("majority", True)
    reads = [one for one in log.commands if next(iter(one)) in {"find", "distinct", "aggregate"}]
    assert all(one["readConcern"]["level"] == "majority" for one in reads)
