"""Tools that some tests run: found, or the test skips, or fails where the gate installs them."""

import os
import shutil
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = Path(os.environ.get("IGBOT_TOOLS") or ROOT / ".tools") / "bin"
ALIASES = {
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "helm": ("helm3", "helm4", "helm"),
}


def need(name: str) -> str:
    """The path of a tool; a test without it skips, or fails where the gate should have it."""
    path = find(name)
    if path is None:
        miss(name)
    return str(path)


def find(name: str) -> str | None:
    """The path of a tool in .tools/bin or on the PATH, or None."""
    places = (str(TOOLS), None)
    names = ALIASES.get(name, (name,))
    return next((hit for place in places for one in names if (hit := shutil.which(one, path=place))), None)


def miss(name: str) -> None:
    """Skip the running test because of a tool, or fail it where the gate has promised that tool."""
    how = next((promised()[one] for one in (name, *ALIASES.get(name, ())) if one in promised()), None)
    line = f"{name} is not installed" + (f": {how}" if how else "")
    if how and os.environ.get("REQUIRE_ALL") == "1":
        pytest.fail(line, pytrace=False)
    pytest.skip(line)


@cache
def promised() -> dict[str, str]:
    """What the gate installs by itself, and how."""
    lines = (ROOT / ".ci/tools.txt").read_text().splitlines()
    rows = [line.split(maxsplit=1) for line in lines if line.strip() and not line.startswith("#")]
    return {name: how.strip() for name, how in rows}
