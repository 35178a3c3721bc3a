"""Runs one machine from its first process to its last."""

from __future__ import annotations

from services.cli.up import folder as folders
from services.cli.up import valkey
from services.cli.up.machine import Machine
from services.cli.up.ready import wait_until_ready
from services.cli.up.screen import Screen
from services.cli.up.supervise import Supervisor


async def live(machine: Machine, *, terminal: bool) -> None:
    """Start all, say what to open, keep all until a signal, stop all. Raises Problem when one cannot be kept.

    On a terminal the services' logs go to files, for people want to read what we say; elsewhere to standard error.
    """
    screen = Screen(live=terminal)
    logs = machine.folder / "logs" if terminal else None
    if logs:
        logs.mkdir(exist_ok=True)
    supervisor = Supervisor(lock=machine.lock, logs=logs, stop_seconds=machine.stop_seconds, screen=screen)
    supervisor.listen_for_signals()

    async def greet() -> None:
        await wait_until_ready(machine.children, screen)
        screen.say("ready")
        screen.links(machine.links)
        screen.say(f"data: {machine.folder}" + (f", logs: {logs}" if logs else "") + ". Ctrl-C stops everything.")

    try:
        await _start(machine, supervisor)
        await supervisor.until_stopped(greet)
    finally:
        screen.all_ready()
        screen.say("stopping")
        await supervisor.stop()
        folders.forget_running(machine.folder)
    screen.say("stopped; everything is kept for the next start")


async def _start(machine: Machine, supervisor: Supervisor) -> None:
    """Valkey first, for the gateway's first look; the others in any order, each waits for what it needs."""
    if machine.valkey:
        await supervisor.start(machine.valkey)
        await supervisor.unless_it_ends("valkey", valkey.wait_until_up(machine.facts["REDIS_URL"]))
    if supervisor.stopping.is_set():
        return
    folders.write_running(machine.folder, dict(machine.facts))
    for child in machine.children:
        await supervisor.start(child)
