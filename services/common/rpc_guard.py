"""Who may call a gRPC method, and as which status its caller meets our errors."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import grpc
import grpc.aio
import structlog

from services.common.errors import BotError, NotAllowed
from services.common.rpc_log import followed
from services.common.traffic import Ending, Traffic, counted

log = structlog.get_logger(__name__)

Identities = Mapping[str, frozenset[str]]
"""Method name (`GetToken`) to the identities that may call it; a method that is not named is open to all of ours."""

OURS = frozenset({"gateway", "tokens", "responder", "operator"})


def identity(context: grpc.aio.ServicerContext[Any, Any]) -> str | None:
    """Return the caller's first SAN DNS label, None when the connection is not authenticated."""
    for name in context.auth_context().get("x509_subject_alternative_name", []):
        return str(name.decode(errors="replace").split(".")[0])
    return None


def guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a servicer's method so that our errors become their status and nothing else leaks.

    The server's interceptor and the tests' adapter to grpcio-testing, which runs no interceptors, both use it.
    """
    if inspect.isasyncgenfunction(method):
        return _guarded_stream(method)

    @functools.wraps(method)
    async def unary(request: Any, context: Any) -> Any:
        try:
            return await method(request, context)
        except BotError as error:
            await context.abort(error.rpc, str(error))

    return unary


def _guarded_stream(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            async for message in method(request, context):
                yield message
        except BotError as error:
            await context.abort(error.rpc, str(error))

    return stream


class Guard(grpc.aio.ServerInterceptor):
    """Checks who calls, and turns our errors into their status."""

    def __init__(self, allowed: Identities | None, *, tls: bool, traffic: Traffic | None = None) -> None:
        """Without TLS nobody can be told apart, so everybody may call; calls are counted in `traffic`."""
        self.allowed = allowed or {}
        self.tls = tls
        self.traffic = traffic
        self.made: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self.running: set[asyncio.Task[Any]] = set()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the method that is about to be called, once: its later calls find it wrapped."""
        self._note_running()
        name = str(details.method)
        if name not in self.made:
            handler = await continuation(details)
            if handler is None:
                return None
            self.made[name] = self._wrapped(name, handler)
        return self.made[name]

    def _wrapped(self, name: str, handler: Any) -> grpc.RpcMethodHandler[Any, Any]:
        method = name.rpartition("/")[2]
        kind = "unary_stream" if handler.response_streaming else "unary_unary"
        inner = getattr(handler, kind)
        if inner is None or name.startswith("/grpc.health."):
            return handler  # type: ignore[no-any-return]  # grpc's handlers are untyped tuples
        stream = handler.response_streaming
        inner = self._checked(method, guarded(counted(self.traffic, method, inner)), stream=stream)
        checked = followed(method, inner, stream=stream)
        return handler._replace(**{kind: checked})  # type: ignore[no-any-return]

    def _checked(self, method: str, inner: Callable[..., Any], *, stream: bool) -> Callable[..., Any]:
        if not self.tls:
            return inner
        allowed = self.allowed.get(method, OURS)

        async def unary(request: Any, context: Any) -> Any:
            await self._require(context, method, allowed)
            return await inner(request, context)

        async def streamed(request: Any, context: Any) -> AsyncIterator[Any]:
            await self._require(context, method, allowed)
            async for message in inner(request, context):
                yield message

        return streamed if stream else unary

    def _note_running(self) -> None:
        """Keep the call's task, in which grpc asks its interceptors, until it has ended."""
        task = asyncio.current_task()
        if task is not None:
            self.running.add(task)
            task.add_done_callback(self.running.discard)

    async def ended(self, seconds: float) -> bool:
        """Wait until every call has ended, so long at most; return whether they have."""
        if self.running:
            await asyncio.wait(self.running, timeout=seconds)
        return not self.running

    async def _require(self, context: grpc.aio.ServicerContext[Any, Any], method: str, allowed: frozenset[str]) -> None:
        caller = identity(context)
        if caller not in allowed:
            log.warning("rpc_refused", method=method, caller=caller)
            if self.traffic is not None:
                self.traffic.note(method, Ending.REFUSED, 0)
            await context.abort(NotAllowed.rpc, f"{caller or 'an unnamed caller'} may not call {method}")
