"""Waits until every service reports ready."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiohttp

from services.cli.up.plan import Child, reachable
from services.cli.up.screen import Screen

PATIENCE_SECONDS = 8
POLL_SECONDS = 0.15


async def wait_until_ready(children: Sequence[Child], screen: Screen) -> None:
    """Return once each child's /readyz has said 200; until then the screen says what is missing."""
    screen.expect(child.name for child in children)
    timeout = aiohttp.ClientTimeout(total=2)
    async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
        for child in children:
            group.create_task(_wait_for(child, session, screen))
    screen.all_ready()


async def _wait_for(child: Child, session: aiohttp.ClientSession, screen: Screen) -> None:
    if child.ops is None:
        return
    url = f"http://{reachable(child.ops)}/readyz"
    loop = asyncio.get_running_loop()
    began = loop.time()
    told = ""
    while reason := await _why_not(session, url):
        if loop.time() - began > PATIENCE_SECONDS and reason != told:
            told = reason
            screen.waiting(child.name, reason)
            screen.say(f"{child.name} is not ready yet: {reason}")
        await asyncio.sleep(POLL_SECONDS)
    screen.ready(child.name)


async def _why_not(session: aiohttp.ClientSession, url: str) -> str:
    """Empty when it is ready, else what fails."""
    try:
        async with session.get(url) as answer:
            if answer.status == 200:
                return ""
            checks = (await answer.json(content_type=None)).get("checks", {})
    except (aiohttp.ClientError, TimeoutError, ValueError, AttributeError):
        return "it does not answer"
    failing = [f"{name}: {found}" for name, found in checks.items() if found != "ok"]
    return ", ".join(failing) or "starting"
