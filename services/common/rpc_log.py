"""The line that each call to a service leaves in its log, with the ids that its caller sent along."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import structlog

from services.common.request_id import bound, incoming

log = structlog.get_logger(__name__)

CODES = {code.value[0]: code for code in grpc.StatusCode}


def followed(method: str, inner: Callable[..., Any], *, stream: bool) -> Callable[..., Any]:
    """Wrap a servicer's method so that its lines carry the caller's ids, and its end is one line more."""

    async def unary(request: Any, context: Any) -> Any:
        with call(method, context):
            return await inner(request, context)

    async def streamed(request: Any, context: Any) -> AsyncIterator[Any]:
        with call(method, context):
            async for message in inner(request, context):
                yield message

    return streamed if stream else unary


@contextmanager
def call(method: str, context: Any) -> Iterator[None]:
    """Bind the ids, and log the call when it ends: its status and how long it took."""
    began = time.monotonic()
    with bound(incoming(context.invocation_metadata())):
        try:
            yield
        except BaseException:
            log.info("rpc_answered", method=method, status=status(context, grpc.StatusCode.UNKNOWN), ms=since(began))
            raise
        log.info("rpc_answered", method=method, status=status(context, grpc.StatusCode.OK), ms=since(began))


def status(context: Any, without: grpc.StatusCode) -> str:
    """Return the name of the status that was set, or of what it is without one."""
    number = context.code()
    code = number if isinstance(number, grpc.StatusCode) else CODES.get(number or 0, without)
    return str((code if code is not grpc.StatusCode.OK else without).name).lower()


def since(began: float) -> float:
    """Return the milliseconds since then."""
    return round((time.monotonic() - began) * 1000, 1)
