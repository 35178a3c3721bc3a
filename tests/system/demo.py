"""`igbot up --sandbox` as a person starts it, and as Ctrl-C stops it."""

import asyncio
import os
import re
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from tests.system.supervisor import ROOT
from tests.system.town import SCOPES, A

LINK = re.compile(r"http://[^\s\x1b]+")


class Demo:
    """One run of the demo in its own folder; `connect` and `chat` are the two links that it prints."""

    def __init__(self, process, lines):
        self.process, self.lines = process, lines
        self.connect, self.chat = LINK.findall("\n".join(lines))[:2]

    async def stop(self):
        """Press Ctrl-C; return the exit code."""
        self.process.send_signal(signal.SIGINT)
        self.lines += (await self.process.stdout.read()).decode().splitlines()
        return await self.process.wait()


@asynccontextmanager
async def demo(folder: Path, shift, **settings):
    """Run it until the block ends; its services' logs are in `folder`/log."""
    folder.mkdir(exist_ok=True)
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
        **settings,
    }
    command = [sys.executable, "-P", "-m", "services.cli.main", "up", "--sandbox", "--shift", str(shift)]
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, env=env, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=log
        )
    try:
        yield Demo(process, await until_links(process, folder / "log"))
    finally:
        if process.returncode is None:
            process.terminate()
            await process.communicate()


async def until_links(process, log):
    lines: list = []
    async with asyncio.timeout(60):
        while not any("Chat with the bot" in line for line in lines):
            line = (await process.stdout.readline()).decode()
            assert line, "\n".join([*lines, log.read_text()[-4000:]])
            lines.append(line.rstrip())
    return lines


async def connect(http, link):
    """What the first link leads to, as a browser goes through it; return the last page."""
    async with http.get(link) as page:
        form = [(name, value) for name, value in page.url.query.items()]
        authorize = page.url.with_query(None)
    form += [("account", A), ("decision", "allow"), *(("scope_allowed", scope) for scope in SCOPES)]
    async with http.post(authorize, data=form) as page:
        assert page.status == 200
        return await page.text()


def browser_like():
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
