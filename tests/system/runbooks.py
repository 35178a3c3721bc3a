"""The commands of docs/operations.md: taken out of its sections, filled in, and typed by a shell."""

import asyncio
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.tools import ROOT, need

PAGE = ROOT / "docs/operations.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CAPITALS = re.compile(r"(?<![\w$\"'{/=-])[A-Z][A-Z_]{1,}(?![\w\"'}=])")
SECONDS = 240.0  # for one block, on a busy machine


@dataclass(frozen=True, slots=True)
class Runbook:
    """The blocks of one alert's section: those that show why, and those that mend it, in their order."""

    see: Sequence[str]
    type: Sequence[str]


@dataclass(frozen=True, slots=True)
class Typed:
    """What a block of commands said, and its exit code."""

    code: int
    out: str


def section(heading: str, page: str | None = None) -> str:
    """The text below a heading, up to the next one of its level or above."""
    level = len(heading) - len(heading.lstrip("#"))
    text = PAGE.read_text() if page is None else page
    (below,) = re.findall(rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{level}}} |\Z)", text, re.MULTILINE | re.DOTALL)
    return str(below)


def runbook(alert: str) -> Runbook:
    """The commands of an alert's section."""
    _, why, mend = re.split(r"\*\*(?:See why|What to type)\.\*\*", section(f"### {alert}"))
    return Runbook(BLOCK.findall(why), BLOCK.findall(mend))


def words() -> str:
    """The shell functions of "On one machine", as the page defines them."""
    (block,) = BLOCK.findall(section("### On one machine"))
    return str(block)


def filled(block: str, facts: Mapping[str, str]) -> str:
    """The block with each word in capitals replaced by its fact; the name of a setting stays what it is."""
    settings = set(re.findall(r"\bsetting ([A-Z_]+)", block))
    return CAPITALS.sub(lambda hit: hit[0] if hit[0] in settings else shlex.quote(facts[hit[0]]), block)


async def typed(block: str, folder: Path, env: Mapping[str, str], *, strict: bool) -> Typed:
    """Run a block in a shell; a strict one stops at the first command that fails. None may be missing or misspelt."""
    script = f"{words()}\n{'set -e' if strict else ''}\n{block}"
    shell = await asyncio.create_subprocess_exec(
        need("bash"),
        "-c",
        script,
        cwd=folder,
        env=dict(env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, _ = await shell.communicate()
    finally:
        if shell.returncode is None:
            shell.kill()
            await shell.wait()
    done = Typed(shell.returncode or 0, out.decode())
    assert not re.search(r"command not found|No such (command|option)", done.out), f"{block}\n{done.out}"
    return done
