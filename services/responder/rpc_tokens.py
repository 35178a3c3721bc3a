"""The token service, over gRPC. Tokens are kept in memory for 60 s at most and dropped when Instagram refuses them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import grpc
import grpc.aio
from pydantic import SecretStr

from services.common.errors import BotError, NotConnected, UnknownAccount
from services.common.graph_errors import GraphError
from services.common.pb import tokens_pb2 as pb
from services.common.pb.tokens_pb2_grpc import TokensStub
from services.common.request_id import outgoing
from services.common.rpc import Channel
from services.responder.outside import KnownAccount, Lent, TokensDown

DEADLINE = 5.0


@dataclass
class RpcTokens:
    """Borrows tokens from the token service."""

    channel: Channel
    monotonic: Callable[[], float]
    kept: dict[str, tuple[float, Lent]] = field(default_factory=dict)

    async def lend(self, account: str, *, fresh_ms: int = 60_000) -> Lent:
        """Return the token, from memory if it is fresh enough."""
        at, lent = self.kept.get(account, (0.0, None))
        if lent is not None and (self.monotonic() - at) * 1000 < min(fresh_ms, 60_000):
            return lent
        try:
            with self.channel.call():
                found = await self.channel.stub(TokensStub).GetToken(
                    pb.GetTokenRequest(account=account), timeout=DEADLINE, metadata=outgoing()
                )
        except grpc.aio.AioRpcError as error:
            self.kept.pop(account, None)
            raise ours(error) from None
        lent = Lent(
            account=found.account or account,
            token=SecretStr(found.token),
            version=found.version,
            app_scoped_id=found.app_scoped_id,
            username=found.username,
        )
        self.kept[account] = (self.monotonic(), lent)
        return lent

    async def reject(self, lent: Lent, error: GraphError) -> str:
        """Report a refused token and forget it."""
        self.kept = {one: (at, kept) for one, (at, kept) in self.kept.items() if kept.account != lent.account}
        reported = pb.GraphError(
            http_status=error.status, code=error.code or 0, subcode=error.subcode or 0, type=error.type
        )
        request = pb.ReportRejectedRequest(account=lent.account, version=lent.version, error=reported)
        try:
            with self.channel.call():
                answer = await self.channel.stub(TokensStub).ReportRejected(
                    request, timeout=DEADLINE, metadata=outgoing()
                )
        except grpc.aio.AioRpcError as failed:
            raise ours(failed) from None
        return str(answer.state)

    async def accounts(self) -> list[KnownAccount]:
        """Return every account."""
        try:
            with self.channel.call():
                answer = await self.channel.stub(TokensStub).ListAccounts(
                    pb.ListAccountsRequest(), timeout=DEADLINE, metadata=outgoing()
                )
        except grpc.aio.AioRpcError as failed:
            raise ours(failed) from None
        return [
            KnownAccount(
                account=one.account,
                app_scoped_id=one.app_scoped_id,
                username=one.username,
                state=one.state,
                connected_at=one.connected_at_ms,
            )
            for one in answer.accounts
        ]


def ours(error: grpc.aio.AioRpcError) -> BotError:
    """Return our error for a status; whatever is not named may pass."""
    details = error.details() or ""
    if error.code() is grpc.StatusCode.NOT_FOUND:
        return UnknownAccount("no such account")
    if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
        return NotConnected(details)
    return TokensDown(f"tokens: {error.code().name}")
