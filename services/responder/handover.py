"""Tells people which conversations need them: HANDOVER_URL, a metric, an alarm about machines that look like people.

A note may be lost with the process that has it in hand; `igbot conversations list` and `igbot held list` lose none.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from services.common.errors import Unavailable
from services.responder.metrics import ResponderMetrics
from services.responder.model import Conversation, Handover, NeedsPerson
from services.responder.words import digest

log = structlog.get_logger(__name__)

WAITS = (1.0, 5.0, 30.0, 120.0, 600.0)
"""Seconds between the tries of one note."""

AT_MOST = 1_000
"""Notes in hand; with more the address is plainly gone, and the log has them."""

LATEST = 10
ENOUGH = 5


class Notes(Protocol):
    """Where notes go."""

    async def post(self, content: Mapping[str, object]) -> None:
        """Deliver one note, or raise Unavailable."""
        ...


@dataclass
class Handovers:
    """Counts news and sends them on; nobody waits for it."""

    notes: Notes | None
    metrics: ResponderMetrics
    now: Callable[[], int]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    sending: set[asyncio.Task[None]] = field(default_factory=set)
    quick: dict[str, deque[bool]] = field(default_factory=dict)  # account -> whether its latest takeovers were quick
    suspected: set[str] = field(default_factory=set)

    def tell(self, row: Conversation, news: Handover) -> None:
        """Tell of one conversation; returns at once."""
        self.metrics.handovers.labels(news.reason).inc()
        log.info("person_needed", account=row.account, person=row.person, reason=news.reason)
        if news.reason is NeedsPerson.TAKEN_OVER:
            self.watch(row.account, quick=news.quick)
        if self.notes is None:
            return
        if len(self.sending) >= AT_MOST:
            log.error("handover_dropped", account=row.account, person=row.person, reason=news.reason)
            return
        task = asyncio.create_task(self.send(self.notes, note(row, news, at=self.now())))
        self.sending.add(task)
        task.add_done_callback(self.sending.discard)

    async def send(self, notes: Notes, content: Mapping[str, object]) -> None:
        """Post the note, again after each wait."""
        for wait in (*WAITS, None):
            try:
                await notes.post(content)
            except Unavailable as error:
                log.warning("handover_not_told", id=content["id"], error=str(error), final=wait is None)
            else:
                return
            if wait is not None:
                await self.sleep(wait)

    def watch(self, account: str, *, quick: bool) -> None:
        """Raise an alarm when most takeovers come faster than people write."""
        latest = self.quick.setdefault(account, deque(maxlen=LATEST))
        latest.append(quick)
        most = len(latest) >= ENOUGH and sum(latest) * 2 > len(latest)
        if most and account not in self.suspected:
            log.warning("automatic_replies_suspected", account=account, quick=sum(latest), of=len(latest))
        (self.suspected.add if most else self.suspected.discard)(account)
        self.metrics.automatic_replies.set(len(self.suspected))


def note(row: Conversation, news: Handover, *, at: int) -> dict[str, object]:
    """Return what is posted: who and why, never what was said."""
    return {
        "event": "conversation_needs_person",
        "id": digest(f"{row.account}|{row.person}|{news.reason}|{news.subject}")[:32],
        "account": row.account,
        "person": row.person,
        "username": row.username,
        "reason": str(news.reason),
        "at_ms": at,
    }
