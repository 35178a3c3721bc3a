"""A gRPC server's end: whoever closes the store next must not take it from a call that is still running."""

import asyncio
import time
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest

from services.common import rpc
from services.common.rpc import RpcServer
from services.common.settings import Address


class Slow:
    """A method that ends only when it is cancelled, and then puts things in order, which takes turns of the loop."""

    def __init__(self, clearing):
        self.clearing = clearing
        self.begun = asyncio.Event()
        self.ended = False

    async def wait(self, request, context):
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await self.clearing()
            self.ended = True


@asynccontextmanager
async def called(slow):
    """A server, and a call to its one slow method."""
    server = RpcServer(Address("127.0.0.1", 0))
    methods = {"Wait": grpc.unary_unary_rpc_method_handler(slow.wait)}
    server.server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Slow", methods)])
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = channel.unary_unary("/test.Slow/Wait")(b"")
        waiting = asyncio.ensure_future(call.code())
        await slow.begun.wait()
        yield server, call
        await waiting


@pytest.mark.parametrize("who", ["the caller left", "the server stops"])
async def test_a_stopped_server_has_no_call_that_still_runs(who):
    async def clearing():
        await asyncio.sleep(0.2)

    slow = Slow(clearing)
    async with called(slow) as (server, call):
        if who == "the caller left":
            call.cancel()
        await server.stop(0.05)
        assert slow.ended


async def test_a_call_that_does_not_end_keeps_no_server_from_stopping(monkeypatch):
    monkeypatch.setattr(rpc, "CLEARING_SECONDS", 0.1)
    going = asyncio.Event()
    slow = Slow(going.wait)
    async with called(slow) as (server, _):
        began = time.monotonic()
        await server.stop(0.05)
        assert not slow.ended
        assert time.monotonic() - began < 30
        going.set()
