"""A service's life: run until a signal, then drain."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Collection, Coroutine
from typing import Any

import uvloop

from services.common.errors import SchemaTooNew


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a service's main until it returns; a port in use or a store too new is one clear line and code 1."""
    try:
        uvloop.run(main)
    except (OSError, SchemaTooNew) as error:
        print(f"igbot cannot start: {error}", file=sys.stderr)  # noqa: T201 - the log is not set up yet
        raise SystemExit(1) from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def stop_signal() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set. Call it inside the loop, before the service reports ready."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    return stopped


async def cancel(tasks: Collection[asyncio.Future[Any]]) -> None:
    """End tasks and wait until they have; how they ended is theirs to tell."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def settle_memory() -> None:
    """Take what start-up made out of the collector's sight, and let it look less often at the rest.

    A full collection over what start-up made costs milliseconds each time. A delivery makes some sixty objects and
    frees them all: looking for cycles after every 700 finds nothing, often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
