"""What happened, in order, never changed: the proof that nothing was lost or said twice. Rules only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Ledger:
    """Entries {n, at_ms, kind, …}; `n` grows by one.

    Kinds: said, human, unsent, edited, delivery (one attempt), undelivered, send (accepted or refused), echo (taken in
    by the webhook), action (seen, typing), read (of conversations), model_call, fault, oauth, handshake.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        """Begin empty; `clock` gives milliseconds."""
        self.clock = clock
        self.entries: list[dict[str, Any]] = []

    def add(self, kind: str, **facts: Any) -> None:
        """Write down one thing."""
        self.entries.append({"n": len(self.entries), "at_ms": self.clock(), "kind": kind, **facts})

    def since(self, n: int, limit: int) -> list[dict[str, Any]]:
        """At most `limit` entries from number `n` on."""
        return self.entries[n : n + limit]
