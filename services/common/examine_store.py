"""How a service looks at its own database for `igbot doctor`: a write, the indexes, the replicas."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Collection, Mapping
from typing import Any

from services.common.findings import Finding
from services.common.sqlite import SqliteFile

SLOW_MS = 250
FEWEST_MEMBERS = 3
INDEX = re.compile(r"CREATE (?:UNIQUE )?INDEX (\w+)")


def written(seconds: float) -> Finding:
    """Say how long a write took until it was safe."""
    advice = "slow: every reply waits for several such writes; look at the disk or the network"
    return Finding("database write", seconds * 1000 < SLOW_MS, f"safe after {seconds * 1000:.1f} ms", advice)


def indexed(wanted: Collection[str], there: Collection[str]) -> Finding:
    """Say which indexes are missing."""
    missing = sorted(set(wanted) - set(there))
    found = f"missing: {', '.join(missing)}" if missing else f"all {len(wanted)} there"
    return Finding("database indexes", not missing, found, "restart the service: it makes them at its start")


async def examine_sqlite(file: SqliteFile) -> list[Finding]:
    """Write to the file and count its indexes. Raises Unavailable when it cannot be used."""

    def touch(connection: sqlite3.Connection) -> None:
        # Setting the number that is there already writes the file's first page, and changes nothing.
        (number,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {int(number)}")

    def names(connection: sqlite3.Connection) -> list[str]:
        return [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")]

    began = time.monotonic()
    await file.write(touch)
    took = time.monotonic() - began
    wanted = {name for script in file.migrations for name in INDEX.findall(script)}
    one = Finding("database replicas", ok=True, found="one SQLite file, on this machine alone")
    return [written(took), indexed(wanted, await file.read(names)), one]


async def examine_mongo(scratch: Any, wanted: Mapping[str, Collection[str]]) -> list[Finding]:
    """Write to a motor collection that is there for this, count the indexes (by collection), look at the replica set.

    Raises what the driver raises.
    """
    began = time.monotonic()
    await scratch.update_one({"_id": "doctor"}, {"$currentDate": {"at": True}}, upsert=True)
    took = time.monotonic() - began
    database = scratch.database
    there = [f"{name}.{index}" for name in wanted for index in await database[name].index_information()]
    asked = [f"{name}.{index}" for name, indexes in wanted.items() for index in indexes]
    return [written(took), indexed(asked, there), replicated(await database.client.admin.command("hello"))]


def replicated(hello: Mapping[str, Any]) -> Finding:
    """Say of what replica set a server is."""
    advice = "a reply counts as recorded when a majority of three has it on disk: use Atlas or a replica set of three"
    members = [*hello.get("hosts", ()), *hello.get("arbiters", ())]
    if hello.get("msg") == "isdbgrid":
        return Finding("database replicas", ok=True, found="mongos: a sharded cluster")
    if not hello.get("setName"):
        return Finding("database replicas", ok=False, found="a standalone server", advice=advice)
    found = f"replica set {hello['setName']}, {len(members)} members"
    return Finding("database replicas", len(members) >= FEWEST_MEMBERS, found, advice)
