"""The folder that holds one machine's data: SQLite files, Valkey's, the keyring, logs."""

from __future__ import annotations

import fcntl
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from services.cli.problem import Problem, reason
from services.common.database_url import SqliteFolder, parse_database_url

RUNNING = "up.json"
LOCK = ".up.lock"
HANDOVER_SECONDS = 30
# What a running machine tells the operator's commands; a demo also the secrets that it made up.
FACTS = ("PUBLIC_URL", "REDIS_URL", "RESPONDER_ADDRESS", "TOKENS_ADDRESS", "TOKEN_KEYS_DIR")
DEMO_FACTS = (
    *FACTS,
    "APP_SECRET",
    "GRAPH_URL",
    "INSTAGRAM_CLIENT_ID",
    "INSTAGRAM_CLIENT_SECRET",
    "OPENAI_BASE_URL",
    "REDIRECT_URI",
    "WEBHOOK_VERIFY_TOKEN",
)


def data_folder(database_url: str) -> Path:
    """Where DATABASE_URL keeps its files; ./var when it names a server, or nothing that can be read."""
    try:
        database = parse_database_url(database_url)
    except ValueError:
        return Path("var")
    return database.path if isinstance(database, SqliteFolder) else Path("var")


def open_folder(folder: Path) -> None:
    """Make the folder, for its owner only, and see that files can be written in it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (FileExistsError, NotADirectoryError) as error:
        raise Problem(f"{_blocking(folder)} is a file, but igbot keeps its data there; move it away.") from error
    except OSError as error:
        raise Problem(
            f"cannot write in {folder}: {reason(error)}. Make it writable for this user, or set DATABASE_URL=sqlite:///elsewhere."
        ) from error


def _blocking(folder: Path) -> Path:
    """The part of the path that is not a folder."""
    return next((path for path in [*reversed(folder.parents), folder] if path.exists() and not path.is_dir()), folder)


def lock_folder(folder: Path) -> int:
    """Hold the folder alone and return the lock's descriptor.

    Children inherit it, so what an interrupted `igbot up` left behind is waited for rather than doubled.
    """
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    tell, give_up = time.monotonic() + 1, time.monotonic() + HANDOVER_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            other = running(folder)
            if other or time.monotonic() > give_up:
                who = f" (process {other['pid']})" if other else ""
                raise Problem(f"igbot up runs already on {folder}{who}. Stop it first.") from error
            if time.monotonic() > tell:
                print("igbot: waiting for the processes of the last run to stop", file=sys.stderr)  # noqa: T201
                tell = give_up
            time.sleep(0.2)
        else:
            return descriptor


def write_running(folder: Path, facts: dict[str, str]) -> None:
    """Tell the operator's commands where everything is; the Redis password is in it, so for the owner only."""
    draft = folder / f".{RUNNING}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"pid": str(os.getpid()), **facts}, file)
    draft.rename(folder / RUNNING)


def forget_running(folder: Path) -> None:
    """Take that back."""
    (folder / RUNNING).unlink(missing_ok=True)


def running(folder: Path) -> dict[str, str] | None:
    """What the `igbot up` that runs on this folder says of itself; None without one."""
    try:
        facts: dict[str, str] = json.loads((folder / RUNNING).read_text())
        os.kill(int(facts["pid"]), 0)
    except (OSError, ValueError, KeyError):
        return None
    return facts
