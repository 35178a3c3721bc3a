"""The end of a gRPC server and of a channel, with calls that are still running."""

import asyncio
import time
from contextlib import asynccontextmanager
from functools import partial

import grpc
import grpc.aio
import pytest

from services.common import rpc
from services.common.errors import Unavailable
from services.common.rpc import Channel, RpcServer
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


async def serve(slow):
    """A server with this one method."""
    server = RpcServer(Address("127.0.0.1", 0))
    methods = {"Wait": grpc.unary_unary_rpc_method_handler(slow.wait)}
    server.server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Slow", methods)])
    await server.start()
    return server


@asynccontextmanager
async def called(slow):
    """A server, and a call to its one slow method."""
    server = await serve(slow)
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


@pytest.mark.parametrize("how", ["the channel is closed", "the caller is cancelled"])
async def test_a_call_whose_channel_is_closed_is_unavailable_and_ends_nobody(how):
    slow = Slow(partial(asyncio.sleep, 0))
    server = await serve(slow)
    channel = Channel(Address("127.0.0.1", server.port))

    async def caller():
        with channel.call():
            await channel.channel().unary_unary("/test.Slow/Wait")(b"")

    calling = asyncio.create_task(caller())
    await slow.begun.wait()
    if how == "the caller is cancelled":
        calling.cancel()
    else:
        await channel.close()
    with pytest.raises(Unavailable if how == "the channel is closed" else asyncio.CancelledError):
        await calling
    await channel.close()
    await server.stop(0.05)
