"""One installation as its operator has it: a folder with .env, a service manager, a Prometheus that watches.

The service manager is a stand-in: its `systemctl` starts the services anew with what .env says by then. Everything else
that an operator types is real.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from dotenv import dotenv_values

from tests.prometheus import Prometheus, chart_rules, prometheus, service_target, sped_up
from tests.system.runbooks import filled, runbook, typed
from tests.system.supervisor import ROOT, Supervisor
from tests.system.town import Town, until

FACTOR = 60.0
"""What every `for` and range of the rules is divided by, all of them by `sped_up`: a minute is a second."""

OURS = ("gateway", "responder", "tokens")
FIRES_WITHIN = SILENT_WITHIN = ANSWERED_WITHIN = 240.0
FOUND = {0, 1, 3}  # the exit codes of a command that looks: nothing, something, or that a service cannot be reached
SYSTEMCTL = """#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/{port}
echo "$*" >&3
read -r code <&3
exit "$code"
"""


class Installation:
    """What the operator has (`folder`, a shell), what owners and customers do (`town`), and the alerts."""

    def __init__(self, town: Town, watch: Prometheus, folder: Path) -> None:
        """Take over what `installed` has started."""
        self.town, self.watch, self.folder = town, watch, folder
        self.machine: Supervisor = town.machine
        self.units: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {"igbot": self.restart}
        self.env = {"HOME": str(folder)}

    async def restart(self) -> None:
        """What `systemctl restart igbot` does: the services end and start with .env as it is now."""
        for name in OURS:
            running = self.machine.processes[name].running
            running.terminate()
            await asyncio.to_thread(running.wait, 20)
        await self.start()

    async def start(self) -> None:
        """Start the services with what .env says."""
        told = {name: value or "" for name, value in dotenv_values(self.folder / ".env", interpolate=False).items()}
        for name in OURS:
            self.machine.start(name, **told)
        for name in OURS:
            await self.machine.until_ready(name)

    async def asked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Do what `systemctl` was called for; 5 is its code for a unit that it does not know."""
        words = (await reader.readline()).decode().split()
        unit = self.units.get(words[-1]) if "restart" in words else None
        if unit is not None:
            await unit()
        writer.write(b"0\n" if unit is not None else b"5\n")
        await writer.drain()
        writer.close()

    async def fires(self, alert: str) -> None:
        """Wait until Prometheus says that the alert fires."""
        await until(lambda: self.firing(alert), FIRES_WITHIN, lambda: f"{alert}: {self.watch.alerts()}")

    async def falls_silent(self, alert: str) -> None:
        """Wait until it does not any more."""

        async def silent() -> bool:
            return not await self.firing(alert)

        await until(silent, SILENT_WITHIN, lambda: f"{alert} still fires: {self.watch.alerts()}")

    async def firing(self, alert: str) -> bool:
        """Whether it fires now."""
        return alert in await asyncio.to_thread(self.watch.firing)

    async def answered(self, person: str) -> None:
        """Wait until a customer has an answer."""

        async def sent() -> bool:
            return any(one["person"] == person and one["accepted"] for one in await self.town.entries("send"))

        await until(sent, ANSWERED_WITHIN, f"{person} has an answer")

    async def see_why(self, alert: str, facts: Mapping[str, str]) -> str:
        """Type the commands that show why; return what they said."""
        said = []
        for block in runbook(alert).see:
            done = await typed(filled(block, facts), self.folder, self.environment(), strict=False)
            assert done.code in FOUND, f"{block}\n{done.out}"
            said.append(done.out)
        return "\n".join(said)

    async def mend(
        self, alert: str, facts: Mapping[str, str], *meanwhile: Callable[[str], Coroutine[Any, Any, None]] | None
    ) -> None:
        """Type the commands that mend. `meanwhile`, one a block, is what happens outside before it is typed.

        Each is told what the block before it said.
        """
        await self.fires(alert)  # it did not go away by itself; the commands may have lasted over a pause of the watch
        said = ""
        blocks = runbook(alert).type
        assert len(meanwhile) <= len(blocks)
        for n, block in enumerate(blocks):
            happens = meanwhile[n] if n < len(meanwhile) else None
            if happens is not None:
                await happens(said)
            done = await typed(filled(block, facts), self.folder, self.environment(), strict=True)
            assert done.code == 0, f"{block}\n{done.out}"
            said = done.out

    def environment(self) -> dict[str, str]:
        """What the operator's shell has set."""
        return {"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", **self.env}


@asynccontextmanager
async def installed(
    machine: Supervisor, *accounts: str, env: Mapping[str, str] | None = None
) -> AsyncIterator[Installation]:
    """A running installation with Meta's stand-in, a watching Prometheus and these accounts connected."""
    jar = aiohttp.CookieJar(unsafe=True)
    watched = [service_target(name, machine.address(f"{name}-ops")) for name in OURS]
    async with aiohttp.ClientSession(cookie_jar=jar, timeout=aiohttp.ClientTimeout(total=30)) as http:
        with ExitStack() as stack:
            rules = sped_up(chart_rules(), FACTOR)
            watch = stack.enter_context(prometheus(machine.folder / "prometheus", watched, rules=rules))
            stack.callback(machine.stop_all)
            here = Installation(Town(machine, http), watch, machine.folder)
            here.env |= env or {}
            manager = await asyncio.start_server(here.asked, "127.0.0.1", 0)
            stack.callback(manager.close)
            furnish(here, manager.sockets[0].getsockname()[1])
            for name in ("valkey", "sandbox"):
                machine.start(name)
            await machine.until_ready("valkey")
            await here.start()
            await machine.until_ready("sandbox")
            await here.town.connect(*accounts)
            yield here


def furnish(here: Installation, port: int) -> None:
    """Put into the folder what an operator has there: .env, the program, `systemctl`."""
    told = here.machine.environment()
    lines = [f"{name}={value}" for name, value in told.items() if name not in {"PATH", "PYTHONWARNINGS"}]
    (here.folder / ".env").write_text("\n".join(lines) + "\n")
    (here.folder / ".venv").symlink_to(ROOT / ".venv")
    (here.folder / "bin").mkdir()
    systemctl = here.folder / "bin/systemctl"
    systemctl.write_text(SYSTEMCTL.format(port=port))
    systemctl.chmod(0o755)
