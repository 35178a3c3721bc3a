"""The server's clock, as near as this process can know it without asking each time."""

from __future__ import annotations

import time
from collections.abc import Callable

from services.common.errors import Unavailable

REFRESH_SECONDS = 5.0


class MongoClock:
    """An estimate of the server's time that is never ahead of it: the answer to the last question, plus the time since.

    It is behind by at most the question's round trip, and that is only ever conservative: an older `now` claims
    less. Leases do not depend on it; the server itself counts them, in the same command that takes or tests them.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Count the time between two questions by `monotonic`, in seconds."""
        self.monotonic = monotonic
        self.offset: float | None = None  # milliseconds between the server's clock and ours
        self.asked_at = 0.0

    def now(self) -> int:
        """Return milliseconds since 1970 as the server counts them."""
        if self.offset is None:
            raise Unavailable("MongoDB has not been asked for its time yet")
        return int(self.offset + self.monotonic() * 1000)

    def ask(self) -> float | None:
        """Return the moment of a question that is due now, and count it as asked; None when it is not due."""
        now = self.monotonic()
        if self.offset is not None and now - self.asked_at < REFRESH_SECONDS:
            return None
        self.asked_at = now
        return now

    def learn(self, server_ms: int, asked: float) -> None:
        """Take the answer to a question: the server read its clock between then and now.

        An estimate that the answer allows stays, so that one slow answer does not turn the clock back.
        """
        latest, earliest = server_ms - asked * 1000, server_ms - self.monotonic() * 1000
        known = earliest if self.offset is None else self.offset
        self.offset = min(max(known, earliest), latest)
