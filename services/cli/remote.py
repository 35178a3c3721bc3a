"""Calls to the services, and what their answers mean to the shell."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from services.cli.operator import OperatorSettings, operator_settings
from services.cli.problem import Code, Problem
from services.common.pb.responder_pb2_grpc import ConversationsStub
from services.common.pb.tokens_pb2_grpc import TokensStub
from services.common.rpc import Channel, tls_files

SECONDS = 30.0
"""The deadline of a call; commands are for people who wait."""

T = TypeVar("T")

UNREACHABLE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
ADVICE = {
    grpc.StatusCode.NOT_FOUND: "nothing found",
    grpc.StatusCode.PERMISSION_DENIED: "not allowed; GRPC_TLS_DIR must hold the operator's certificate",
    grpc.StatusCode.UNIMPLEMENTED: "the service is older than this command",
}


def ask_tokens(method: str, request: Message, answer: type[T]) -> T:
    """Call the tokens service once; `answer` is the type that comes back."""
    return run(_ask(tokens(), method, request, answer))


def ask_conversations(method: str, request: Message, answer: type[T]) -> T:
    """Call the responder's side for people once; `answer` is the type that comes back."""
    return run(_ask(conversations(), method, request, answer))


async def _ask(door: AbstractAsyncContextManager[Any], method: str, request: Message, answer: type[T]) -> T:
    async with door as stub:
        found = await getattr(stub, method)(request, timeout=SECONDS)
    if not isinstance(found, answer):
        raise TypeError(f"{method} answers {type(found).__name__}")
    return found


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work. A service's refusal becomes a Problem with its exit code."""
    try:
        return asyncio.run(work)
    except grpc.aio.AioRpcError as error:
        raise problem(error) from error
    except OSError as error:
        raise Problem(f"cannot reach it: {error}", Code.UNREACHABLE) from error


def problem(error: grpc.aio.AioRpcError) -> Problem:
    """What a gRPC status means to the shell."""
    status = error.code()
    said = details(error)
    if status in UNREACHABLE:
        return Problem(
            f"the service cannot be reached or is not ready: {said}. Is igbot running? `igbot doctor` looks.",
            Code.UNREACHABLE,
        )
    advice = ADVICE.get(status, f"refused ({status.name.lower()})")
    return Problem(f"{advice}: {said}" if said else advice)


def details(error: grpc.aio.AioRpcError) -> str:
    """What a failed call says, without what gRPC says of all connections before it comes to the one that failed."""
    return (error.details() or "").rpartition("last error: ")[2].removeprefix("UNKNOWN: ").strip()


@asynccontextmanager
async def tokens(settings: OperatorSettings | None = None) -> AsyncIterator[TokensStub]:
    """The tokens service."""
    settings = settings or operator_settings()
    channel = Channel(settings.tokens_address, tls_files(settings.grpc_tls_dir))
    try:
        yield channel.stub(TokensStub)
    finally:
        await channel.close()


@asynccontextmanager
async def conversations(settings: OperatorSettings | None = None) -> AsyncIterator[ConversationsStub]:
    """The responder's side for people."""
    settings = settings or operator_settings()
    channel = Channel(settings.responder_address, tls_files(settings.grpc_tls_dir))
    try:
        yield channel.stub(ConversationsStub)
    finally:
        await channel.close()
