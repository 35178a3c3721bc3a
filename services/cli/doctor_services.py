"""What the services find when they look at themselves: database, keyring, model, Meta app, clocks, accounts.

A command never opens a service's database: only the service's own eyes see its network, its secrets and its store.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc
import grpc.aio

from services.cli.findings import Finding
from services.cli.operator import OperatorSettings
from services.cli.remote import conversations, details, problem, tokens
from services.cli.smoke import health
from services.common.pb import responder_pb2, tokens_pb2
from services.common.rpc import tls_files

RPC_SECONDS = 30.0
SKEW_SECONDS = 5.0
SKEWED = "set the clocks by NTP: pauses, windows and the lives of tokens are counted by them"


async def services(settings: OperatorSettings) -> AsyncIterator[Finding]:
    """Whether tokens and responder serve, and what each finds when it looks at itself."""
    tls = tls_files(settings.grpc_tls_dir)
    told = await health("tokens", settings.tokens_address, tls)
    yield told
    if told.ok:
        async for finding in examined("tokens", tokens(settings), tokens_pb2.ExamineRequest()):
            yield finding
    told = await health("responder", settings.responder_address, tls)
    yield told
    if told.ok:
        async for finding in examined("responder", conversations(settings), responder_pb2.ExamineRequest()):
            yield finding


async def examined(name: str, door: AbstractAsyncContextManager[Any], request: Any) -> AsyncIterator[Finding]:
    """Ask one service to look at itself, and compare its clock with ours."""
    try:
        async with door as stub:
            answer = await stub.Examine(request, timeout=RPC_SECONDS)
    except grpc.aio.AioRpcError as error:
        older = error.code() is grpc.StatusCode.UNIMPLEMENTED
        yield Finding(f"{name} examined", None if older else False, str(problem(error)), f"see the log of {name}")
        return
    for finding in named(name, answer.findings):
        yield finding
    yield in_time(f"{name} clock", answer.now_ms / 1000, now=time.time())


def named(prefix: str, found: Iterable[Any]) -> Iterable[Finding]:
    """A service's findings as ours; their names say whose they are."""
    for one in found:
        yield Finding(f"{prefix} {one.check}", one.ok, one.found, one.advice)


def in_time(check: str, told: float, *, now: float) -> Finding:
    """Whether a clock that was read a moment ago agrees with ours."""
    skew = told - now
    found = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's"
    fine = abs(skew) <= SKEW_SECONDS
    return Finding(check, fine, "agrees with this machine's" if fine else found, SKEWED)


async def accounts(settings: OperatorSettings) -> AsyncIterator[Finding]:
    """What the tokens service finds when it checks each account."""
    try:
        async with tokens(settings) as stub:
            listed = await stub.ListAccounts(tokens_pb2.ListAccountsRequest(), timeout=RPC_SECONDS)
            if not listed.accounts:
                yield Finding("accounts", None, "none is connected", "connect one at PUBLIC_URL/connect")
            for account in listed.accounts:
                checked = await stub.Check(tokens_pb2.CheckRequest(account=account.account), timeout=RPC_SECONDS)
                for finding in named(f"@{account.username}", checked.findings):
                    yield finding
    except grpc.aio.AioRpcError as error:
        yield Finding("accounts", None, f"cannot be asked: {details(error)}")
