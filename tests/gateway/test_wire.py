import asyncio
from contextlib import asynccontextmanager, suppress

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout

from services.gateway import redis_clients
from services.gateway.wire import Refused
from tests.valkey import valkey

PING = ("PING",)


@asynccontextmanager
async def scripted(script):
    """A server that hands each connection to `script(reader, writer)`; yields a wire to it, and how many came."""
    came = []

    async def serve(reader, writer):
        came.append(writer)
        try:
            await reader.readuntil(b"igbot-gateway\r\n")  # the greeting
            writer.write(b"+OK\r\n")
            await script(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    wire = redis_clients.wire(f"redis://127.0.0.1:{port}/0")
    try:
        yield wire, came
    finally:
        await wire.disconnect()
        server.close()


async def test_replies_that_come_in_pieces_reach_their_exchange(shared_valkey):
    async def script(reader, writer):
        await reader.readuntil(b"third\r\n")
        for piece in (b"+on", b"e\r\n$3\r\ntw", b"o\r\n-OOM no", b" room\r\n"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        await reader.read()

    async with scripted(script) as (wire, _):
        one, two, three = await wire.exchange([("first",), ("second",), ("third",)], 2)
    assert (one, two) == (b"one", b"two")
    assert isinstance(three, Refused)
    assert three.word == "OOM"


async def test_exchanges_may_overlap_and_keep_their_order(shared_valkey):
    wire = redis_clients.wire(shared_valkey.url)
    await wire.exchange([PING], 2)
    found = await asyncio.gather(*(wire.exchange([("ECHO", f"{n}-{k}") for k in range(3)], 2) for n in range(50)))
    assert found == [[f"{n}-{k}".encode() for k in range(3)] for n in range(50)]
    await wire.disconnect()


async def test_a_reply_that_comes_too_late_is_never_anothers():
    async def script(reader, writer):
        await reader.readuntil(b"slow\r\n")
        await asyncio.sleep(0.5)
        writer.write(b"+late\r\n")
        await reader.readuntil(b"next\r\n")
        writer.write(b"+right\r\n")
        await reader.read()

    async with scripted(script) as (wire, came):
        with pytest.raises(RedisTimeout):
            await wire.exchange([("slow",)], 0.1)
        with pytest.raises(RedisError):
            await wire.exchange([("next",)], 0.1)  # another connection, whose script waits for `slow`
    assert len(came) == 2


async def test_who_gives_up_waiting_leaves_the_order_as_it_is(shared_valkey):
    wire = redis_clients.wire(shared_valkey.url)
    await wire.exchange([PING], 2)
    gone = asyncio.create_task(wire.exchange([("ECHO", "gone")], 2))
    await asyncio.sleep(0)
    gone.cancel()
    assert await wire.exchange([("ECHO", "mine")], 2) == [b"mine"]
    await wire.disconnect()


@pytest.mark.parametrize("says", [b"HTTP/1.1 200 OK\r\n\r\n", b"+one\r\n+too many\r\n"])
async def test_something_that_is_not_redis_or_says_too_much_is_left(says):
    async def script(reader, writer):
        await reader.readuntil(b"hello\r\n")
        writer.write(says)
        await reader.read()

    async with scripted(script) as (wire, came):
        with suppress(RedisConnectionError):
            await wire.exchange([("hello",)], 1)
        await asyncio.sleep(0.05)
        assert not wire.line.open
    assert len(came) == 1


async def test_password_and_database_of_the_address_are_used(tmp_path):
    with valkey(tmp_path / "valkey") as server:
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "gate", "on", ">word", "~*", "+@all")
        wire = redis_clients.wire(server.url.replace("redis://", "redis://gate:word@").replace("/0", "/3"))
        assert await wire.exchange([("SET", "name", "value")], 2) == [b"OK"]
        with server.client() as client:
            client.select(3)
            assert client.get("name") == b"value"
        await wire.disconnect()
        wrong = redis_clients.wire(server.url.replace("redis://", "redis://gate:guess@"))
        with pytest.raises(ResponseError, match="WRONGPASS"):
            await wrong.exchange([PING], 2)
        assert not wrong.line.open


async def test_nobody_there_is_an_error_at_once():
    wire = redis_clients.wire("redis://127.0.0.1:1/0")
    with pytest.raises(OSError):
        await wire.exchange([PING], 5)
