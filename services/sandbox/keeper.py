"""Keeps the sandbox over a restart: one JSON file, replaced whole, soon after something changed."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import structlog

from services.sandbox.deliveries import Delivery
from services.sandbox.stage import Stage

log = structlog.get_logger(__name__)
FORMAT = 1
LOOK_SECONDS = 0.3


class Keeper:
    """Writes what the stage holds into `sandbox.json`; without a folder it keeps nothing."""

    def __init__(self, stage: Stage, folder: Path | None) -> None:
        """Name the file."""
        self.stage = stage
        self.path = folder / "sandbox.json" if folder else None
        self.kept = ""

    def load(self) -> list[Delivery]:
        """Take up what was kept; return the deliveries that had not been taken in."""
        if self.path is None or not self.path.exists():
            return []
        try:
            saved = json.loads(self.path.read_text())
            if saved["format"] != FORMAT:
                log.warning("sandbox_state_of_another_version", file=str(self.path))
                return []
            self.stage.grants.load(saved["grants"])
            self.stage.load(saved["world"], saved["deliveries"])
            return [Delivery(**{**one, "body": one["body"].encode()}) for one in saved["waiting"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            # A toy's memory is not worth a refusal to start; the file stays until something new is kept.
            log.warning("sandbox_state_unreadable", file=str(self.path), error=type(error).__name__)
            return []

    async def run(self) -> None:
        """Keep what changes until cancelled; a large world is written less often than a small one."""
        while True:
            began = time.monotonic()
            self.keep()
            await asyncio.sleep(LOOK_SECONDS + 20 * (time.monotonic() - began))

    def keep(self) -> None:
        """Write the file if anything changed."""
        if self.path is None:
            return
        text = json.dumps(self._saved(), separators=(",", ":"))
        if text == self.kept:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".tmp")
        fresh.touch(mode=0o600)  # it holds tokens, if only pretended ones
        fresh.write_text(text)
        fresh.replace(self.path)
        self.kept = text

    def _saved(self) -> dict[str, Any]:
        office = self.stage.office
        return {
            "format": FORMAT,
            "grants": self.stage.grants.saved(),
            "world": self.stage.world.saved(),
            "deliveries": self.stage.deliveries,
            "waiting": [_flat(one) for one in office.waiting()] if office else [],
        }


def _flat(delivery: Delivery) -> dict[str, str]:
    return {
        "id": delivery.id,
        "body": delivery.body.decode(),
        "account": delivery.account,
        "kind": delivery.kind,
        "mid": delivery.mid,
    }
