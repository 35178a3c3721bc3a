"""The token service over gRPC."""

from __future__ import annotations

import grpc
import grpc.aio

from services.common.errors import Unavailable
from services.common.pb import tokens_pb2 as pb
from services.common.pb import tokens_pb2_grpc as rpc
from services.common.request_id import outgoing
from services.common.rpc import Channel
from services.gateway.ports import Connected, ConnectFailed, ConnectFault, Dropped

# The token service says in plain words what its caller must do; these tell which page they belong on. Words that are
# not here land on the general page, which shows them.
FAULTS = (
    ("not granted", ConnectFault.MISSING_SCOPES),
    ("used already", ConnectFault.CODE_SPENT),
    ("professional account", ConnectFault.NOT_PROFESSIONAL),
)

# The token service may go on: what it has begun with a code it finishes.
UNFINISHED = frozenset({grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})


class GrpcTokens:
    """Calls Connect, Disconnect and Forget, each with a deadline."""

    def __init__(self, channel: Channel, redirect_uri: str, connect_seconds: float) -> None:
        """Use a channel that reconnects by itself."""
        self.channel = channel
        self.redirect_uri = redirect_uri
        self.seconds = connect_seconds

    async def connect(self, code: str) -> Connected:
        """Trade a code for an account; raises ConnectFailed."""
        request = pb.ConnectRequest(code=code, redirect_uri=self.redirect_uri)
        try:
            with self.channel.call():
                answer = await self.channel.stub(rpc.TokensStub).Connect(
                    request, timeout=self.seconds, metadata=outgoing()
                )
        except grpc.aio.AioRpcError as error:
            detail = error.details() or ""
            raise ConnectFailed(fault(error.code(), detail), detail) from error
        except Unavailable as error:
            raise ConnectFailed(ConnectFault.UNFINISHED, str(error)) from error
        return Connected(answer.account.username, tuple(answer.missing_fields))

    async def disconnect(self, account: str, reason: str, asked_ms: int) -> Dropped:
        """Drop an account's token, unless it was connected after `asked_ms`."""
        request = pb.DisconnectRequest(account=account, reason=reason, unless_connected_since_ms=asked_ms)
        try:
            with self.channel.call():
                answer = await self.channel.stub(rpc.TokensStub).Disconnect(
                    request, timeout=self.seconds, metadata=outgoing()
                )
        except grpc.aio.AioRpcError as error:
            raise Unavailable(f"Disconnect: {error.code().name}") from error
        return Dropped(tuple(filter(None, (answer.account, *answer.former))), answer.connected_again)

    async def forget(self, app_scoped_id: str) -> None:
        """Erase a disconnected account."""
        request = pb.ForgetRequest(app_scoped_id=app_scoped_id)
        try:
            with self.channel.call():
                await self.channel.stub(rpc.TokensStub).Forget(request, timeout=self.seconds, metadata=outgoing())
        except grpc.aio.AioRpcError as error:
            raise Unavailable(f"Forget: {error.code().name}") from error


def fault(code: grpc.StatusCode, detail: str) -> ConnectFault:
    """Return which page a failed Connect belongs on."""
    if code is grpc.StatusCode.FAILED_PRECONDITION:
        return ConnectFault.SETUP
    if code in UNFINISHED:
        return ConnectFault.UNFINISHED
    if code is not grpc.StatusCode.INVALID_ARGUMENT:
        return ConnectFault.UPSTREAM
    return next((found for words, found in FAULTS if words in detail), ConnectFault.REFUSED)
