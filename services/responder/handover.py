"""Tells people which conversations need them: HANDOVER_URL, a metric, an alarm about machines that look like people.

News stand in the conversation's row until they are delivered, so they outlive the process that has them in hand. A note
may come twice, under the same id.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from services.common.errors import BotError
from services.responder.metrics import ResponderMetrics
from services.responder.model import Conversation, Handover, NeedsPerson
from services.responder.news import MOST_TRIES, without
from services.responder.ports import Conversations
from services.responder.words import digest

log = structlog.get_logger(__name__)

AT_MOST = 1_000
"""Notes under way at once; more of them wait for the row's next turn."""

REMEMBERED = 10_000

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
    rows: Conversations
    sending: dict[str, asyncio.Task[None]] = field(default_factory=dict)  # by the note's id
    known: dict[str, bool] = field(default_factory=dict)  # the latest notes, and whether they were delivered
    quick: dict[str, deque[bool]] = field(default_factory=dict)  # account -> whether its latest takeovers were quick
    suspected: set[str] = field(default_factory=set)

    def tell(self, row: Conversation, news: Handover) -> bool:
        """Tell of one conversation; returns at once, whether the news must stay in the row for now."""
        content = note(row, news, at=self.now())
        name = str(content["id"])
        if news.tries == 0 and name not in self.known:
            self.count(row, news)
        delivered = self.known.setdefault(name, False)
        while len(self.known) > REMEMBERED:
            self.known.pop(next(iter(self.known)))
        if self.notes is None or delivered:
            return False
        if news.tries >= MOST_TRIES:
            log.error("handover_given_up", id=name, account=row.account, person=row.person, reason=news.reason)
            return False
        if name not in self.sending and len(self.sending) < AT_MOST:
            self.sending[name] = asyncio.create_task(self.send(self.notes, content, row, news))
            self.sending[name].add_done_callback(lambda _: self.sending.pop(name))
        return True

    def count(self, row: Conversation, news: Handover) -> None:
        """Count and log news once."""
        self.metrics.handovers.labels(news.reason).inc()
        log.info("person_needed", account=row.account, person=row.person, reason=news.reason)
        if news.reason is NeedsPerson.TAKEN_OVER:
            self.watch(row.account, quick=news.quick)

    async def send(self, notes: Notes, content: Mapping[str, object], row: Conversation, news: Handover) -> None:
        """Post the note, and take the news out of the row; what fails is tried again when the row is next due."""
        try:
            await notes.post(content)
            self.known[str(content["id"])] = True
            while newest := await self.rows.load(row.account, row.person):
                told = without(newest, news)
                if told == newest or await self.rows.save(told):
                    return
        except BotError as error:
            log.warning("handover_not_told", id=content["id"], tries=news.tries, error=str(error))

    async def close(self) -> None:
        """Let go of what is under way: the rows have it."""
        under_way = list(self.sending.values())
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

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
