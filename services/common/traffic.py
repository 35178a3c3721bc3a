"""Rate, errors and duration of what comes in at a door or goes out to another: one vocabulary for all of them."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import StrEnum
from typing import Any

import grpc
import grpc.aio
from prometheus_client import CollectorRegistry, Counter, Histogram

from services.common.errors import BotError
from services.common.graph_errors import LIMITS, Fault, GraphFailure

RPC_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
OUTBOUND_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 5, 8, 13, 20)


Watch = Callable[[], AbstractContextManager[None]]
"""What one kind of call is made in, so that it is counted; `nullcontext` counts nothing."""


class Ending(StrEnum):
    """How a request or a call ended."""

    OK = "ok"
    REFUSED = "refused"
    LIMITED = "limited"
    SLOW = "slow"
    DOWN = "down"
    FAILED = "failed"
    LEFT = "left"


ANSWERED = frozenset({Ending.OK, Ending.REFUSED, Ending.LIMITED})
"""The endings that show that somebody is there."""


class Target(StrEnum):
    """Whom our services call."""

    TOKENS = "tokens"
    RESPONDER = "responder"
    MODEL = "model"
    OAUTH = "oauth"
    GRAPH_TOKEN = "graph_token"  # noqa: S105 - a name, not a password
    GRAPH_SUBSCRIPTION = "graph_subscription"
    GRAPH_SEND = "graph_send"
    GRAPH_ACTION = "graph_action"
    GRAPH_READ = "graph_read"
    ALERT_URL = "alert_url"
    HANDOVER_URL = "handover_url"


BY_STATUS = {
    grpc.StatusCode.OK: Ending.OK,
    grpc.StatusCode.INVALID_ARGUMENT: Ending.REFUSED,
    grpc.StatusCode.NOT_FOUND: Ending.REFUSED,
    grpc.StatusCode.ALREADY_EXISTS: Ending.REFUSED,
    grpc.StatusCode.PERMISSION_DENIED: Ending.REFUSED,
    grpc.StatusCode.UNAUTHENTICATED: Ending.REFUSED,
    grpc.StatusCode.FAILED_PRECONDITION: Ending.REFUSED,
    grpc.StatusCode.OUT_OF_RANGE: Ending.REFUSED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Ending.LIMITED,
    grpc.StatusCode.DEADLINE_EXCEEDED: Ending.SLOW,
    grpc.StatusCode.UNAVAILABLE: Ending.DOWN,
    grpc.StatusCode.CANCELLED: Ending.LEFT,
}


def ending_of(error: BaseException) -> Ending:
    """Return how a call ended that raised this."""
    if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
        return Ending.LEFT
    if isinstance(error, GraphFailure):
        return ending_at_graph(error)
    if isinstance(error, BotError):
        return BY_STATUS.get(error.rpc, Ending.FAILED)
    if isinstance(error, grpc.aio.AioRpcError):
        return BY_STATUS.get(error.code(), Ending.FAILED)
    return Ending.SLOW if isinstance(error, TimeoutError) else Ending.FAILED


def ending_at_graph(failure: GraphFailure) -> Ending:
    """Return how a call of Instagram's API ended."""
    if not failure.reached:
        return Ending.DOWN
    if failure.slow:
        return Ending.SLOW
    if failure.fault in LIMITS:
        return Ending.LIMITED
    return Ending.FAILED if failure.fault is Fault.TRANSIENT else Ending.REFUSED


def ending_of_http(status: int) -> Ending:
    """Return how a request ended that was answered with this status."""
    if status < 400:
        return Ending.OK
    if status < 500:
        return Ending.LIMITED if status == 429 else Ending.REFUSED
    return Ending.DOWN if status == 503 else Ending.FAILED


class Traffic:
    """A counter by what was asked for and how it ended, and a histogram of how long it took."""

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        label: str,
        values: Iterable[str],
        *,
        texts: tuple[str, str],
        buckets: Sequence[float],
    ) -> None:
        """Declare both, `igbot_<name>s_total` and `igbot_<name>_seconds`, with every series at zero."""
        total = Counter(f"igbot_{name}s_total", texts[0], [label, "class"], registry=registry)
        seconds = Histogram(f"igbot_{name}_seconds", texts[1], [label], buckets=buckets, registry=registry)
        known = [str(value) for value in values]
        self.counts = {(one, ending): total.labels(one, ending) for one in known for ending in Ending}
        self.times = {one: seconds.labels(one) for one in known}
        self.heard: Callable[[str, Ending], None] | None = None

    def note(self, what: str, ending: Ending, seconds: float) -> None:
        """Count one that has ended."""
        self.counts[what, ending].inc()
        self.times[what].observe(seconds)
        if self.heard is not None:
            self.heard(what, ending)

    @contextmanager
    def timed(self, what: str, read: Callable[[BaseException], Ending] = ending_of) -> Iterator[None]:
        """Count what happens inside; `read` tells from an exception how it ended."""
        began, ending = time.monotonic(), Ending.OK
        try:
            yield
        except BaseException as error:
            ending = read(error)
            raise
        finally:
            self.note(what, ending, time.monotonic() - began)


def served_rpcs(registry: CollectorRegistry, methods: Iterable[str]) -> Traffic:
    """Declare the metrics of a service's own RPCs."""
    texts = ("RPCs served, by method and how they ended.", "Time to serve an RPC.")
    return Traffic(registry, "rpc", "method", methods, texts=texts, buckets=RPC_SECONDS)


def outbound_calls(registry: CollectorRegistry, targets: Iterable[Target]) -> Traffic:
    """Declare the metrics of a service's calls to others."""
    texts = ("Calls to others, by target and how they ended.", "Time of a call to another.")
    return Traffic(registry, "outbound_call", "target", targets, texts=texts, buckets=OUTBOUND_SECONDS)


def unwatched(_target: Target) -> AbstractContextManager[None]:
    """Count nothing."""
    return nullcontext()


def counted(traffic: Traffic | None, method: str, inner: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a servicer's method so that its calls are counted."""
    if traffic is None:
        return inner
    if inspect.isasyncgenfunction(inner):

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            with traffic.timed(method):
                async for message in inner(request, context):
                    yield message

        return stream

    async def unary(request: Any, context: Any) -> Any:
        with traffic.timed(method):
            return await inner(request, context)

    return unary
