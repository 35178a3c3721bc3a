"""A finished reply leaves the row: into `sends`, into the history, into the answered messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from msgspec.structs import replace

from services.common.request_id import bound
from services.responder.message import HUMAN, Author, Kind, Message, key_of
from services.responder.metrics import ResponderMetrics
from services.responder.model import Conversation, PartState, Reply
from services.responder.ports import Store

log = structlog.get_logger(__name__)

REMEMBERED = 1_000


@dataclass
class Finisher:
    """Finishes replies, and counts each once."""

    store: Store
    metrics: ResponderMetrics
    reached: Callable[[str], None]  # names each step; tests kill the process at one
    told: dict[str, bool] = field(default_factory=dict)  # reply -> whether it was unsettled when it was counted

    async def finish(self, ended: tuple[Reply, ...], row: Conversation) -> Conversation | None:
        """Move finished replies to `sends`, keep what was sent as history, mark what is answered.

        All of that is true whoever writes the row next, so it comes first, and the cleared row needs no write of its
        own: it is written with the next step, which most often is the release. But a text for newer messages takes
        seconds to write, and a finished reply that the row still showed then would overtake it. An unsettled reply
        stays in the row, so `sends` has it after that: should this write lose, it may yet be thrown away.
        """
        self.reached("before_finish")
        settled = [reply for reply in ended if not reply.unsettled]
        unsettled = [reply for reply in ended if reply.unsettled]
        said_now = [message for reply in ended for message in said(reply)]
        # What an unsettled reply answered may become unanswered again: the row says so first.
        ids = {reply.id for reply in settled} | ({HUMAN} if settled else set())
        marked = [mark for mark in row.marks if mark.answered_by in ids]
        await asyncio.gather(
            *(self.store.sends.put(reply) for reply in settled),
            self.store.messages.add(said_now),
            self.store.messages.mark(marked),
        )
        self.reached("after_finish")
        for reply in settled:
            self.tell(reply)
        cleared = replace(row, marks=tuple(mark for mark in row.marks if mark not in marked))
        if not cleared.unanswered and not unsettled:
            return cleared
        saved = await self.store.conversations.save(cleared)
        if saved is not None:
            await asyncio.gather(*(self.store.sends.put(reply) for reply in unsettled))
            for reply in unsettled:
                self.tell(reply)
        return saved

    def tell(self, reply: Reply) -> None:
        """Count and log a reply's end, once."""
        if reply.id in self.told and not self.told[reply.id]:
            return
        self.told[reply.id] = reply.unsettled
        while len(self.told) > REMEMBERED:
            self.told.pop(next(iter(self.told)))
        if not reply.unsettled:
            self.metrics.replies.labels(reply.outcome).inc()
        with bound(one.request for one in reply.answers):
            log.info(
                "reply_finished",
                account=reply.account,
                person=reply.person,
                reply=reply.id,
                outcome=reply.outcome,
                mids=[one.mid for one in reply.answers],
                sent=[part.mid for part in reply.parts if part.mid],
                text=" ".join(part.text for part in reply.parts),
            )


def said(reply: Reply) -> list[Message]:
    """Return the messages that a finished reply put into the conversation."""
    return [
        Message(
            key=key_of(reply.account, Kind.ECHO, part.mid),
            account=reply.account,
            person=reply.person,
            kind=Kind.ECHO,
            mid=part.mid,
            at=part.sending_at,
            recorded_at=part.sending_at,
            author=reply.author if reply.author is not Author.CUSTOMER else Author.BOT,
            text=part.text,
            reply=reply.id,
        )
        for part in reply.parts
        if part.state is PartState.SENT and part.mid
    ]
