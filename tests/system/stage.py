"""A running igbot under the eyes of a real Prometheus. A minute of the rules is a second here."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.prometheus import Prometheus, chart_rules, prometheus, service_target, sped_up
from tests.system.supervisor import Supervisor
from tests.system.town import Town, until

FACTOR = 60.0
STEP = 0.5
OURS = ("gateway", "tokens", "responder")


@dataclass
class Stage:
    """Everything that a scene needs."""

    machine: Supervisor
    town: Town
    watch: Prometheus

    async def quietly(self, seconds: float) -> None:
        """Let time pass: windows of five seconds fill and empty."""
        await asyncio.sleep(seconds)

    async def metrics(self, name: str) -> set[str]:
        """Each series of a service, as its own /metrics has them."""
        async with self.town.http.get(f"{self.machine.url(f'{name}-ops')}/metrics") as answer:
            text = await answer.text()
        rows = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        return {f"{row.name}{json.dumps(row.labels, sort_keys=True)}" for row in rows if row.name.startswith("igbot_")}

    async def value(self, expression: str) -> float:
        """What Prometheus says of an expression now; 0 without a series."""
        found = await asyncio.to_thread(self.watch.query, expression)
        return max((value for _, value in found), default=0.0)

    async def sees(self, expression: str, seconds: float = 60) -> None:
        """Wait until Prometheus sees it."""

        async def seen() -> bool:
            return await self.value(expression) > 0

        await until(seen, seconds, expression)

    async def no_more_faults(self) -> None:
        """Let the sandbox do everything well again."""
        await self.town.http.delete(f"{self.town.sandbox}/sandbox/faults")


@asynccontextmanager
async def watched(machine: Supervisor) -> AsyncIterator[Stage]:
    """A Prometheus that watches the services of a machine, which the block starts; all of them end with the block."""
    scraped = [service_target(name, machine.address(f"{name}-ops")) for name in OURS]
    rules = sped_up(chart_rules(), FACTOR)
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar, timeout=aiohttp.ClientTimeout(total=30)) as http:
        with prometheus(machine.folder / "prometheus", scraped, scrape_seconds=STEP, rules=rules) as watch:
            town = Town(machine, http)
            try:
                yield Stage(machine, town, watch)
            finally:
                await town.close()
                machine.stop_all()
