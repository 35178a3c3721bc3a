"""Whether a million stored messages slow the responder's SQLite file down: `python -m bench.store`.

Fills a store step by step; at each size it measures, one after the other, what a message costs: recording it, claiming
its conversation, reading the history. 10,000 conversations of one account are due all the time.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import platform
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import matplotlib as mpl
import uvloop
from msgspec.structs import replace

from services.responder.message import Author, Kind, Message, key_of
from services.responder.model import Conversation
from services.responder.sqlite_store import SqliteStore

RESULTS = Path(__file__).parent / "results"
SIZES = (1_000, 10_000, 100_000, 300_000, 1_000_000)
PEOPLE = 20_000
DUE = 10_000
CROWDED, QUIET = "17841400000000001", "17841400000000002"
ROUNDS = 200
TURNS = 3
BATCH = 500
START = 1_790_000_000_000


def message(n: int, account: str = CROWDED) -> Message:
    """About as long as Instagram's mids and people's sentences are."""
    mid = f"aWdfZAG1faXRlbToxOklHTWVzc2FnZA{n:0>120}ZDZD"
    return Message(
        key=key_of(account, Kind.MESSAGE, mid),
        account=account,
        person=str(6_900_000_000_000_000 + n * 7919 % PEOPLE),
        kind=Kind.MESSAGE,
        mid=mid,
        at=START + n,
        recorded_at=START + n,
        author=Author.CUSTOMER,
        text=f"Do you open on Sunday, and is there still a table for {n % 9 + 1} of us?",
    )


async def fill(store: SqliteStore, have: int, want: int) -> None:
    """Add messages in the order of their time, as they come."""
    for start in range(have, want, BATCH * 4):
        pieces = range(start, min(start + BATCH * 4, want), BATCH)
        await asyncio.gather(
            *(store.messages.add([message(n) for n in range(piece, min(piece + BATCH, want))]) for piece in pieces)
        )


async def crowd(store: SqliteStore) -> None:
    """Make many conversations of one account due, and one of another account."""
    rows = [Conversation(account=CROWDED, person=f"due {n}", due_at=START + n) for n in range(DUE)]
    rows.append(Conversation(account=QUIET, person="one", due_at=START))
    for start in range(0, len(rows), BATCH):
        await asyncio.gather(*(store.conversations.save(row) for row in rows[start : start + BATCH]))


async def times(work: Callable[[int], Awaitable[object]]) -> list[float]:
    """Run it so many times; return the milliseconds of each."""
    taken = []
    for n in range(ROUNDS):
        start = time.perf_counter()
        await work(n)
        taken.append((time.perf_counter() - start) * 1000)
    return taken


async def measure(store: SqliteStore, size: int) -> dict[str, dict[str, float]]:
    """Return the median and the 95th percentile of each operation, in milliseconds."""

    numbers = itertools.count(100_000_000 + size)

    async def record(_: int) -> None:
        """What Deliver does with one event."""
        new = message(next(numbers), QUIET)
        row = await store.conversations.load(QUIET, new.person) or Conversation(account=QUIET, person=new.person)
        await store.messages.add([new])
        assert await store.conversations.save(replace(row, version=row.version + 1, last_at=new.at))

    async def claim(_: int) -> None:
        row = await store.conversations.claim(CROWDED, "bench", 60_000)
        assert row
        assert await store.conversations.save(row, release=True)

    work = {
        "record a message": record,
        "claim and release": claim,
        "read 30 messages of history": lambda n: store.messages.recent(CROWDED, message(n).person, 30),
        "list accounts that are due": lambda _: store.conversations.due_accounts(),
        "count what is due": lambda _: store.conversations.figures([]),
    }
    # Of three turns the quietest: what other programs of the machine do to the disk is not the store's.
    turns = [{name: await times(each) for name, each in work.items()} for _ in range(TURNS)]
    quietest = {name: min((turn[name] for turn in turns), key=statistics.median) for name in work}
    return {
        name: {"p50_ms": round(statistics.median(each), 3), "p95_ms": round(statistics.quantiles(each, n=20)[18], 3)}
        for name, each in quietest.items()
    }


async def run(sizes: tuple[int, ...]) -> dict[str, object]:
    """Fill and measure, size by size."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "responder.db")
        await store.open()
        await crowd(store)
        have = 0
        for size in sizes:
            await fill(store, have, size)
            have = size
            await store.file.checkpoint()
            os.sync()  # or the first operations would wait for the disk to take in what was filled in
            found.append({"messages": size, **await measure(store, size)})
            print(json.dumps(found[-1]), flush=True)
        megabytes = round(store.file.path.stat().st_size / 1e6)
        await store.close()
    return {
        "machine": f"{platform.machine()}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}",
        "due_conversations_of_one_account": DUE,
        "file_mb": megabytes,
        "sizes": found,
    }


def plot(result: dict[str, object], path: Path) -> None:
    """Draw the medians over the size."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of a backend without a screen

    rows = result["sizes"]
    assert isinstance(rows, list)
    figure, axes = plt.subplots(figsize=(7, 4))
    for name in (name for name in rows[0] if name != "messages"):
        axes.plot([row["messages"] for row in rows], [row[name]["p50_ms"] for row in rows], marker="o", label=name)
    axes.set(xscale="log", xlabel="messages stored", ylabel="milliseconds, median", ylim=(0, None))
    axes.set_title("A message costs the same however many are stored (SQLite)")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    """Measure, write bench/results/store.json and its plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=int, default=SIZES[-1], help="stop at this many messages")
    largest = parser.parse_args().largest
    result = uvloop.run(run(tuple(size for size in SIZES if size <= largest)))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "store.json").write_text(json.dumps(result, indent=2) + "\n")
    plot(result, RESULTS / "store.svg")


if __name__ == "__main__":
    main()
