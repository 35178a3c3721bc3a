"""The gRPC doors: parse, call one use case, answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc.aio
import structlog

from services.common.pb import responder_pb2 as pb
from services.common.pb import responder_pb2_grpc as rpc
from services.common.request_id import bound
from services.responder.account import Account
from services.responder.decide import shown_wait, state_of
from services.responder.deliver import Deliver
from services.responder.examine import Examiner
from services.responder.gaps import Gaps
from services.responder.incoming import Incoming, IncomingKind, Outcome, Verdict
from services.responder.message import Attached, Author, Message
from services.responder.model import Conversation, PartState, Reply
from services.responder.pauses import paused_until
from services.responder.people import People

log = structlog.get_logger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]

KINDS = {
    pb.KIND_MESSAGE: IncomingKind.MESSAGE,
    pb.KIND_POSTBACK: IncomingKind.POSTBACK,
    pb.KIND_UNSEND: IncomingKind.UNSEND,
    pb.KIND_EDIT: IncomingKind.EDIT,
    pb.KIND_REACTION: IncomingKind.REACTION,
    pb.KIND_READ: IncomingKind.READ,
    pb.KIND_REFERRAL: IncomingKind.REFERRAL,
}
OUTCOMES = {
    Outcome.STORED: pb.OUTCOME_STORED,
    Outcome.DUPLICATE: pb.OUTCOME_DUPLICATE,
    Outcome.IGNORED: pb.OUTCOME_IGNORED,
    Outcome.UNKNOWN_ACCOUNT: pb.OUTCOME_UNKNOWN_ACCOUNT,
    Outcome.INVALID: pb.OUTCOME_INVALID,
    Outcome.LATER: pb.OUTCOME_LATER,
}
METHODS = tuple(one.name for service in pb.DESCRIPTOR.services_by_name.values() for one in service.methods)
ALLOWED = {
    "Deliver": frozenset({"gateway", "operator"}),
    "Erase": frozenset({"gateway", "operator"}),
    "CheckGaps": frozenset({"gateway", "operator"}),
    **dict.fromkeys(
        ("List", "Get", "Pause", "Resume", "Retry", "ListHeld", "ResolveHeld", "SendInstagramMessage", "Examine"),
        frozenset({"operator"}),
    ),
}
PAGE = 100


@dataclass
class ResponderServicer(rpc.ResponderServicer):
    """igbot.responder.v1.Responder."""

    deliver: Deliver

    async def Deliver(self, request: pb.DeliverRequest, context: Context) -> pb.DeliverResponse:
        """Store events; one verdict each, in order."""
        known = [event for event in request.events if event.kind in KINDS]
        with bound(event.request for event in known):
            found = iter(await self.deliver.deliver([incoming(event) for event in known]))
        unknown = Verdict(Outcome.IGNORED, "unknown_kind")
        verdicts = [next(found) if event.kind in KINDS else unknown for event in request.events]
        for event, verdict in zip(request.events, verdicts, strict=True):
            tell(event, verdict)
        return pb.DeliverResponse(
            verdicts=[pb.Verdict(outcome=OUTCOMES[one.outcome], reason=one.reason) for one in verdicts]
        )


def tell(event: pb.Event, verdict: Verdict) -> None:
    """Log what became of an event."""
    log.info(
        "event_recorded",
        request=event.request,
        delivery=event.delivery,
        account=event.account,
        person=event.recipient if event.is_echo or event.sender == event.account else event.sender,
        mid=event.mid,
        kind=str(KINDS.get(event.kind, "unknown")),
        outcome=str(verdict.outcome),
        reason=verdict.reason,
        text=event.text,
    )


@dataclass
class ConversationsServicer(rpc.ConversationsServicer):
    """igbot.responder.v1.Conversations."""

    people: People
    gaps: Gaps
    now: Callable[[], int]
    examiner: Examiner

    async def List(self, request: pb.ListRequest, context: Context) -> pb.ListResponse:
        """List conversations."""
        limit = request.limit if request.limit > 0 else PAGE
        rows = await self.people.find(account=request.account, state=request.state, limit=limit)
        return pb.ListResponse(conversations=[await self.shown(row) for row in rows])

    async def Get(self, request: pb.GetRequest, context: Context) -> pb.GetResponse:
        """Tell one conversation's whole story."""
        story = await self.people.get(request.account, request.person)
        return pb.GetResponse(
            conversation=await self.shown(story.row),
            messages=[message(one) for one in story.messages],
            replies=[reply(one) for one in story.replies],
        )

    async def shown(self, row: Conversation) -> pb.Conversation:
        """Return a row as people see it, with what its account means for it."""
        return conversation(row, await self.people.book.current(row.account), self.now())

    async def Pause(self, request: pb.PauseRequest, context: Context) -> pb.PauseResponse:
        """Silence the bot."""
        changed = await self.people.pause(account=request.account, person=request.person, until=request.until_ms)
        return pb.PauseResponse(paused=changed)

    async def Resume(self, request: pb.ResumeRequest, context: Context) -> pb.ResumeResponse:
        """Let the bot speak again."""
        changed = await self.people.resume(
            account=request.account, person=request.person, answer_pending=request.answer_pending
        )
        return pb.ResumeResponse(resumed=changed)

    async def Retry(self, request: pb.RetryRequest, context: Context) -> pb.RetryResponse:
        """Try a conversation again at once."""
        await self.people.retry(request.account, request.person)
        return pb.RetryResponse()

    async def ListHeld(self, request: pb.ListHeldRequest, context: Context) -> pb.ListHeldResponse:
        """List the replies that need a person."""
        return pb.ListHeldResponse(replies=[reply(one) for one in await self.people.held(request.account)])

    async def ResolveHeld(
        self,
        request: pb.ResolveHeldRequest,
        context: Context,
    ) -> pb.ResolveHeldResponse:
        """Say what became of a held part."""
        await self.people.resolve(request.reply, request.part, request.decision)
        return pb.ResolveHeldResponse()

    async def Examine(self, request: pb.ExamineRequest, context: Context) -> pb.ExamineResponse:
        """Look at this service's own things."""
        found = await self.examiner.examine()
        findings = [pb.Finding(check=one.check, ok=one.ok, found=one.found, advice=one.advice) for one in found]
        return pb.ExamineResponse(findings=findings, now_ms=time.time_ns() // 1_000_000)

    async def CheckGaps(self, request: pb.CheckGapsRequest, context: Context) -> pb.CheckGapsResponse:
        """Look for messages that no delivery brought."""
        looked = await self.gaps.check_all(await self.people.accounts(request.account))
        return pb.CheckGapsResponse(checked=looked.accounts, found=looked.messages, skipped=looked.skipped)

    async def SendInstagramMessage(
        self,
        request: pb.SendInstagramMessageRequest,
        context: Context,
    ) -> pb.SendInstagramMessageResponse:
        """Send a person's words."""
        said = await self.people.say(
            account=request.account, person=request.person, text=request.text, request_id=request.request_id
        )
        reason = next((part.error for part in said.parts if part.error), "")
        return pb.SendInstagramMessageResponse(reply=said.id, outcome=outcome(said), reason=reason)

    async def Erase(self, request: pb.EraseRequest, context: Context) -> pb.EraseResponse:
        """Erase a person or an account."""
        return pb.EraseResponse(erased=await self.people.erase(request.account, request.person))


def incoming(event: pb.Event) -> Incoming:
    """Return the event as the rules take it."""
    return Incoming(
        kind=KINDS[event.kind],
        account=event.account,
        sender=event.sender,
        recipient=event.recipient,
        at=event.timestamp_ms,
        mid=event.mid,
        text=event.text,
        attachments=tuple(Attached(type=one.type, title=one.title, url=one.url) for one in event.attachments),
        is_echo=event.is_echo,
        is_unsupported=event.is_unsupported,
        standby=event.standby,
        payload=event.payload,
        reply_to_mid=event.reply_to_mid,
        story_id=event.story_id,
        num_edit=event.num_edit,
        action=event.action,
        emoji=event.emoji,
        referral=event.referral,
        request=event.request,
    )


def conversation(row: Conversation, account: Account, now: int) -> pb.Conversation:
    """Return a row as people see it."""
    return pb.Conversation(
        account=row.account,
        person=row.person,
        state=state_of(row, account, now=now),
        waiting_for=shown_wait(row, account, now=now) or "",
        due_at_ms=row.due_at or 0,
        paused_until_ms=paused_until(row, account, now=now),
        opted_out=row.opted_out,
        window_closes_at_ms=row.window_closes_at,
        unanswered=len(row.unanswered),
        tries=row.tries,
        last_error=row.last_error,
        last_message_at_ms=row.last_at,
        username=row.username,
    )


def message(one: Message) -> pb.Message:
    """Return a message as people see it."""
    return pb.Message(
        mid=one.mid,
        direction="in" if one.author is Author.CUSTOMER else "out",
        author=one.author,
        at_ms=one.at,
        text=one.text,
        attachments=[each.type for each in one.attachments],
        answered_by=one.answered_by,
        taken_back=one.taken_back,
        edited=one.edit > 0,
    )


def reply(one: Reply) -> pb.Reply:
    """Return a reply with its parts."""
    return pb.Reply(
        id=one.id,
        account=one.account,
        person=one.person,
        answers=[each.mid for each in one.answers],
        parts=[
            pb.Part(n=part.n, text=part.text, state=part.state, mid=part.mid, sending_at_ms=part.sending_at)
            for part in one.parts
        ],
        author=one.author,
        outcome=one.outcome,
        created_at_ms=one.created_at,
    )


def outcome(said: Reply) -> str:
    """Return what a person hears of their own words: sent, unknown, refused or queued."""
    states = {part.state for part in said.parts}
    if states == {PartState.SENT}:
        return "sent"
    if states & {PartState.UNKNOWN, PartState.HELD}:
        return "unknown"
    return "refused" if states & {PartState.REFUSED, PartState.DROPPED} else "queued"
