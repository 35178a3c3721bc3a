"""Stores to test: each fact is checked on every adapter."""

import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from services.responder.ports import Store
from tests.responder.memory_store import Clock, MemoryStore, OpenGates
from tests.responder.stores import store_at
from tests.responder.town import Town, opened

OpenStore = Callable[[], Awaitable[Store]]


@pytest.fixture(params=["sqlite", "mongo", "memory"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A DATABASE_URL that is this test's own; "memory" is the fake of the state machine, held to the same facts."""
    if request.param == "memory":
        return "memory"
    if request.param == "mongo":
        return str(request.getfixturevalue("mongo_url"))
    return f"sqlite:///{tmp_path}"


@pytest.fixture
async def open_store(store_url: str) -> AsyncIterator[OpenStore]:
    """Open one more store on the same data, as another replica would; all are closed at the end."""
    async with AsyncExitStack() as stack:
        fake: Any = MemoryStore(Clock(), OpenGates())

        async def open_one() -> Store:
            store: Store = fake if store_url == "memory" else store_at(store_url)
            stack.push_async_callback(store.close)
            await store.open()
            return store

        yield open_one


@pytest.fixture
async def store(open_store: OpenStore) -> Store:
    """One store, opened."""
    return await open_store()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """A database file of this test's own, in memory where the machine has such a folder: fsync is others' test."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path / "responder.db"
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder) / "responder.db"


@pytest.fixture
async def town(file: Path) -> AsyncIterator[Town]:
    """A responder with account A connected."""
    async with opened(file) as one:
        yield one
