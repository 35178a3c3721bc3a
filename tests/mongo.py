"""A MongoDB for a test: MONGODB_TEST_URL's where it is set, else a MongoDB-wire server of our own in its own process.

The stand-in is SecantusDB's Rust build, or its Python build, which is slow where many documents match. What is
measured on it was not measured on MongoDB.
"""

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pymongo
import pytest
from pymongo.errors import PyMongoError

from tests.ports import free_port
from tests.tools import find, miss, need

BUILDS = ("secantusd-rs", "secantusd-py")
START_SECONDS = 30.0


@dataclass
class MongoServer:
    """A server on a loopback port that keeps its data in a folder; a test may kill it and start it again."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """Where it listens, as `mongodb://host:port`."""
        return f"mongodb://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The server's process id, for a supervisor that kills or stops it."""
        assert self.process is not None
        return self.process.pid

    def url(self, database: str = "igbot") -> str:
        """The URL of one of its databases."""
        return f"{self.host}/{database}"

    def start(self) -> None:
        """Start on the same port and data, and return once it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        flags = ["--host", "127.0.0.1", "--port", str(self.port), "--storage-path", str(self.folder / "data")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([program(), *flags, "--sync-on-commit"], stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while not answers(self.host):
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the MongoDB-wire server did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def kill(self) -> None:
        """End it as a power cut would; `start` finds what it had acknowledged."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in peace."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


@contextmanager
def mongo_server(folder: Path) -> Iterator[MongoServer]:
    """Run a server whose data are in `folder`; skip the test, or fail it in the gate, where none is installed."""
    server = MongoServer(folder, free_port())
    server.start()
    try:
        yield server
    finally:
        server.kill()


def program() -> str:
    """The stand-in's path."""
    found = next((name for name in BUILDS if find(name)), None)
    if found is None:
        miss(BUILDS[0])
    return need(found or BUILDS[0])


def is_slow() -> bool:
    """Whether the tests run on the Python build, whose find_one_and_update slows with the number of matches."""
    return not os.environ.get("MONGODB_TEST_URL") and program().endswith(BUILDS[1])


def answers(host: str) -> bool:
    """Whether a MongoDB answers there within half a second."""
    client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(host, serverSelectionTimeoutMS=500)
    try:
        client.admin.command("ping")
    except PyMongoError:
        return False
    finally:
        client.close()
    return True


@pytest.fixture(scope="session")
def mongo_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL, without a database, of a MongoDB that all tests of this run share."""
    given = os.environ.get("MONGODB_TEST_URL")
    if given:
        yield given
        return
    with mongo_server(tmp_path_factory.mktemp("mongo")) as server:
        yield server.host


@pytest.fixture
def mongo_url(mongo_host: str) -> Iterator[str]:
    """The URL of a database that no other test has; dropped at the end."""
    database = f"igbot_test_{secrets.token_hex(6)}"
    yield urlunsplit(urlsplit(mongo_host)._replace(path=f"/{database}"))
    with pymongo.MongoClient[dict[str, object]](mongo_host, serverSelectionTimeoutMS=5000) as client:
        client.drop_database(database)


@pytest.fixture
def own_mongo(tmp_path: Path) -> Iterator[MongoServer]:
    """A server that this test alone uses, and may kill."""
    with mongo_server(tmp_path / "mongo") as server:
        yield server
