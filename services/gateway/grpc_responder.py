"""The responder over gRPC."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio

from services.common.errors import Unavailable
from services.common.pb import responder_pb2 as pb
from services.common.pb import responder_pb2_grpc as rpc
from services.common.request_id import outgoing
from services.common.rpc import Channel
from services.gateway.events import Event, Kind
from services.gateway.ports import Entry, GapCheck, Outcome, ResponderDown, ResponderFault, ResponderSlow, Verdict

SLOW = frozenset({grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED})
# These speak of the responder or of the way to it, never of an event: a wrong certificate must not fill `dead`.
DOWN = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)

KINDS: dict[Kind, Any] = {kind: pb.Kind.Value(f"KIND_{kind.name}") for kind in Kind}


class GrpcResponder:
    """Calls Deliver, CheckGaps and Erase, each with a deadline."""

    def __init__(self, channel: Channel, deliver_seconds: float, long_seconds: float) -> None:
        """Use a channel that reconnects by itself."""
        self.channel = channel
        self.made: Any = None
        self.stub: Any = None
        self.deliver_seconds = deliver_seconds
        self.long_seconds = long_seconds

    async def deliver(self, events: Sequence[tuple[Entry, Event]]) -> list[Verdict]:
        """Hand over events, each with the delivery that it came in; one verdict each, in order."""
        request = pb.DeliverRequest(events=[written(entry, event) for entry, event in events])
        try:
            with self.channel.call():
                answer = await self.deliverer()(request, timeout=self.deliver_seconds, metadata=outgoing())
        except grpc.aio.AioRpcError as error:
            raise fault(error) from error
        except Unavailable as error:
            raise ResponderDown(str(error)) from error
        if len(answer.verdicts) != len(events):
            raise ResponderFault("the responder gave another number of verdicts")
        return [read(verdict.outcome, verdict.reason) for verdict in answer.verdicts]

    def deliverer(self) -> Any:
        """Return the call of Deliver on today's channel; making a stub for each call costs as much as its message."""
        channel = self.channel.channel()
        if channel is not self.made:
            self.made, self.stub = channel, self.channel.stub(rpc.ResponderStub)
        return self.stub.Deliver

    async def check_gaps(self) -> GapCheck:
        """Compare every account's recent messages with the store, and record those that are missing."""
        stub = self.channel.stub(rpc.ConversationsStub)
        try:
            with self.channel.call():
                answer = await stub.CheckGaps(pb.CheckGapsRequest(), timeout=self.long_seconds, metadata=outgoing())
        except grpc.aio.AioRpcError as error:
            raise Unavailable(f"CheckGaps: {error.code().name}") from error
        return GapCheck(answer.found, answer.skipped)

    async def erase(self, account: str) -> None:
        """Erase everything about an account."""
        stub = self.channel.stub(rpc.ConversationsStub)
        try:
            with self.channel.call():
                await stub.Erase(pb.EraseRequest(account=account), timeout=self.long_seconds, metadata=outgoing())
        except grpc.aio.AioRpcError as error:
            raise Unavailable(f"Erase: {error.code().name}") from error


def fault(error: grpc.aio.AioRpcError) -> ResponderDown | ResponderFault:
    """Return what a status means for the batch that met it."""
    code = error.code()
    if code in SLOW:
        return ResponderSlow(code.name)
    return ResponderDown(code.name) if code in DOWN else ResponderFault(code.name)


@functools.cache
def read(outcome: int, reason: str) -> Verdict:
    """Return a verdict; one that this version does not know is not final."""
    return Verdict(Outcome(outcome) if outcome in {one.value for one in Outcome} else Outcome.LATER, reason)


def written(entry: Entry, event: Event) -> Any:
    """Return an event as the proto has it."""
    return pb.Event(
        kind=KINDS[event.kind],
        account=event.account,
        sender=event.sender,
        recipient=event.recipient,
        timestamp_ms=event.timestamp_ms,
        mid=event.mid,
        text=event.text,
        attachments=[pb.Attachment(type=one.kind, title=one.title, url=one.url) for one in event.attachments],
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
        delivery=entry.id,
        request=entry.request,
    )
