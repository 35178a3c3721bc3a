"""The RPCs of `igbot.tokens.v1.Tokens`: parse, call one use case, answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import grpc.aio

from services.common.account_state import AccountState
from services.common.errors import Refused, UnknownAccount
from services.common.pb import tokens_pb2 as pb
from services.common.pb import tokens_pb2_grpc
from services.common.unfinished import Unfinished
from services.tokens import check, connect, disconnect, examine, keep_alive, rotate
from services.tokens.documents import milliseconds
from services.tokens.judge import Reports
from services.tokens.lend import Lender
from services.tokens.metrics import TokensMetrics
from services.tokens.ports import Ports
from services.tokens.rotate import Ring
from services.tokens.view import listed, reported, to_proto

Context = grpc.aio.ServicerContext[Any, Any]

METHODS = tuple(one.name for service in pb.DESCRIPTOR.services_by_name.values() for one in service.methods)
ALLOWED = {
    "GetToken": frozenset({"responder", "operator"}),
    "Add": frozenset({"operator"}),
    "Refresh": frozenset({"operator"}),
    "Check": frozenset({"operator"}),
    "Examine": frozenset({"operator"}),
    "RotateKeys": frozenset({"operator"}),
    "Connect": frozenset({"gateway", "operator"}),
    "ReportRejected": frozenset({"responder", "operator"}),
    "Disconnect": frozenset({"gateway", "operator"}),
    "Forget": frozenset({"gateway", "operator"}),
}
"""Who may call what under mutual TLS; ListAccounts is open to all of ours."""


class TokensServicer(tokens_pb2_grpc.TokensServicer):
    """Doors to the token service's use cases."""

    def __init__(
        self, ports: Ports, ring: Ring, metrics: TokensMetrics, redirect_uri: str, unfinished: Unfinished
    ) -> None:
        """Serve the given ports."""
        self.ports = ports
        self.ring = ring
        self.metrics = metrics
        self.redirect_uri = redirect_uri
        self.lender = Lender(ports.accounts, ports.keys, ports.clock)
        self.reports = Reports(ports, unfinished)
        self.unfinished = unfinished

    async def Connect(self, request: pb.ConnectRequest, context: Context) -> pb.ConnectResponse:
        """Trade an OAuth code for a lasting token and store its account."""
        if not request.code:
            raise Refused("the code is missing")
        made = await self.unfinished.run(
            connect.connect(self.ports, request.code, request.redirect_uri or self.redirect_uri)
        )
        self.lender.drop(made.account)
        return pb.ConnectResponse(account=to_proto(made.account), missing_fields=made.missing_fields)

    async def Add(self, request: pb.AddRequest, context: Context) -> pb.AddResponse:
        """Store the account of a token that Meta's dashboard made."""
        if not request.token.strip():
            raise Refused("the token is missing")
        made = await self.unfinished.run(connect.add(self.ports, request.token.strip()))
        self.lender.drop(made.account)
        return pb.AddResponse(account=to_proto(made.account), missing_fields=made.missing_fields)

    async def GetToken(self, request: pb.GetTokenRequest, context: Context) -> pb.GetTokenResponse:
        """Lend a token."""
        loan = await self.lender.lend(request.account)
        return pb.GetTokenResponse(
            token=loan.text,
            version=loan.token.version,
            expires_at_ms=milliseconds(loan.token.expires_at),
            state=loan.account.state,
            account=loan.account.account,
            app_scoped_id=loan.account.app_scoped_id,
            username=loan.account.username,
        )

    async def ReportRejected(self, request: pb.ReportRejectedRequest, context: Context) -> pb.ReportRejectedResponse:
        """Take in that Instagram refused a token."""
        state = await self.reports.rejected(request.account, request.version, reported(request.error))
        self.lender.doubt(request.account)
        return pb.ReportRejectedResponse(state=state)

    async def ListAccounts(self, request: pb.ListAccountsRequest, context: Context) -> pb.ListAccountsResponse:
        """List all accounts, or the one that was asked for."""
        if not request.account:
            return await listed(await self.ports.accounts.all())
        found = await self.ports.accounts.find(request.account)
        if found is None:
            raise UnknownAccount("no such account")
        return pb.ListAccountsResponse(accounts=[to_proto(found)])

    async def Refresh(self, request: pb.RefreshRequest, context: Context) -> pb.RefreshResponse:
        """Refresh one account's token now."""
        account = await self._known(request.account)
        outcome = await self.unfinished.run(keep_alive.refresh_now(self.ports, account))
        self.metrics.refreshes.labels(outcome).inc()
        after = await self.ports.accounts.find(account)
        if after is None:
            raise UnknownAccount("the account was forgotten meanwhile")
        self.lender.drop(after)
        return pb.RefreshResponse(account=to_proto(after), outcome=outcome)

    async def Check(self, request: pb.CheckRequest, context: Context) -> pb.CheckResponse:
        """Look at one account from all sides; ask for its webhooks again first, if the caller wants that."""
        account, found = await self.unfinished.run(check.check(self.ports, request.account, repair=request.repair))
        findings = [pb.Finding(check=one.check, ok=one.ok, found=one.found, advice=one.advice) for one in found]
        return pb.CheckResponse(account=to_proto(account), findings=findings)

    async def Examine(self, request: pb.ExamineRequest, context: Context) -> pb.ExamineResponse:
        """Look at this service's own things."""
        found = await examine.examine(self.ports, self.redirect_uri)
        findings = [pb.Finding(check=one.check, ok=one.ok, found=one.found, advice=one.advice) for one in found]
        return pb.ExamineResponse(findings=findings, now_ms=milliseconds(self.ports.clock.now()))

    async def RotateKeys(
        self,
        request: pb.RotateKeysRequest,
        context: Context,
    ) -> AsyncIterator[pb.RotateKeysProgress]:
        """Encrypt every token with the newest key, telling how far that is."""
        async for progress in rotate.rotate(self.ports, self.ring):
            yield pb.RotateKeysProgress(
                done=progress.done,
                total=progress.total,
                key_id=progress.key_id,
                unused_key_ids=progress.unused,
            )

    async def Disconnect(self, request: pb.DisconnectRequest, context: Context) -> pb.DisconnectResponse:
        """Drop an account's token; the answer is empty for one that was never known."""
        asked = request.unless_connected_since_ms
        since = datetime.fromtimestamp(asked / 1000, UTC) if asked else None
        work = disconnect.disconnect(self.ports, request.account, request.reason, unless_since=since)
        gone = await self.unfinished.run(work)
        if gone is None:
            return pb.DisconnectResponse()
        self.lender.drop(gone)
        again = gone.state != AccountState.DISCONNECTED
        return pb.DisconnectResponse(account=gone.account, former=gone.former, connected_again=again)

    async def Forget(self, request: pb.ForgetRequest, context: Context) -> pb.ForgetResponse:
        """Erase a disconnected account."""
        await self.unfinished.run(disconnect.forget(self.ports, request.app_scoped_id))
        return pb.ForgetResponse()

    async def _known(self, account_id: str) -> str:
        found = await self.ports.accounts.find(account_id)
        if found is None:
            raise UnknownAccount("no such account")
        return found.account
