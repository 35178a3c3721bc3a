"""Runs a grpc.aio servicer under grpcio-testing, which knows only the plain kind and runs no interceptors.

Left alone it would take the coroutine itself for the answer and report OK. https://github.com/grpc/grpc/issues/24942
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import grpc_testing

from services.common.rpc_guard import guarded


class AsyncContext:
    """A context whose `abort` can be awaited."""

    def __init__(self, plain: Any) -> None:
        self.plain = plain

    async def abort(self, code: grpc.StatusCode, details: str = "") -> None:
        self.plain.abort(code, details)


class Plain:
    """A servicer as grpcio-testing wants it: each method runs to its end on a loop of its own."""

    def __init__(self, servicer: Any, streams: frozenset[str]) -> None:
        self.servicer = servicer
        self.streams = streams

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = guarded(getattr(self.servicer, name))
        return self._stream(method) if name in self.streams else self._unary(method)

    @staticmethod
    def _unary(method: Callable[..., Any]) -> Callable[..., Any]:
        return lambda request, context: asyncio.run(method(request, AsyncContext(context)))

    @staticmethod
    def _stream(method: Callable[..., Any]) -> Callable[..., Iterator[Any]]:
        async def collected(request: Any, context: Any) -> list[Any]:
            return [message async for message in method(request, AsyncContext(context))]

        return lambda request, context: iter(asyncio.run(collected(request, context)))


class Calls:
    """Calls a servicer's methods by name: the answer, the code and the details."""

    def __init__(self, servicer: Any, descriptor: Any) -> None:
        self.methods = {method.name: method for method in descriptor.methods}
        streams = frozenset(name for name, method in self.methods.items() if method.server_streaming)
        plain = Plain(servicer, streams)
        self.server = grpc_testing.server_from_dictionary({descriptor: plain}, grpc_testing.strict_real_time())

    def unary(self, name: str, request: Any) -> tuple[Any, grpc.StatusCode, str]:
        rpc = self.server.invoke_unary_unary(self.methods[name], (), request, 10)
        answer, _, code, details = rpc.termination()
        return answer, code, details

    def stream(self, name: str, request: Any) -> tuple[list[Any], grpc.StatusCode, str]:
        rpc = self.server.invoke_unary_stream(self.methods[name], (), request, 10)
        _, code, details = rpc.termination()
        answers = []
        while True:
            try:
                answers.append(rpc.take_response())
            except ValueError:
                return answers, code, details
