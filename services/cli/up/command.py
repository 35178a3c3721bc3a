"""`igbot up [--sandbox]`: read .env, start everything, keep it running, stop it in order."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Annotated

import typer


def up(
    *,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="With a pretend Instagram and a chat page.")] = False,
    shift: Annotated[int, typer.Option(min=0, max=15_000, help="Add this to every default port.")] = 0,
    logs: Annotated[bool, typer.Option("--logs", help="Show the services' logs here.")] = False,
) -> None:
    """Run everything on this machine; Ctrl-C stops it. Reads .env in the current folder."""
    from services.cli.operator import read_dotenv
    from services.cli.up.live import live
    from services.cli.up.machine import prepare

    machine = prepare(dict(os.environ), read_dotenv(), sandbox=sandbox, shift=shift)
    asyncio.run(live(machine, terminal=sys.stdout.isatty() and not logs))
