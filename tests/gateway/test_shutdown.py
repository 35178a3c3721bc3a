import asyncio
import json
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from tests.gateway.world import (
    BASE,
    PATIENT,
    ROOT,
    SECRET,
    delivery,
    gateway_process,
    link,
    message,
    sign,
    start_gateway,
    until,
)
from tests.ports import free_port


async def test_sigterm_finishes_what_it_began_and_exits_0_in_time(world):
    patient = gateway_process(world, program=PATIENT, DRAIN_SECONDS="15")
    async with patient as gateway, link(gateway.port) as (reader, writer):
        body = delivery(message(1))
        head = f"POST /webhook HTTP/1.1\r\nHost: x\r\nX-Hub-Signature-256: {sign(body)}\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:10])
        await writer.drain()
        began = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        await until(lambda: not gateway.ready())
        async with world.session.post(gateway.url, data=body, headers={"X-Hub-Signature-256": sign(body)}) as answer:
            assert answer.status == 200  # not ready is not closed: load balancers need a moment
            assert answer.headers["Connection"] == "close"
        writer.write(body[10:])
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        code = await asyncio.to_thread(gateway.process.wait, 20)
        assert code == 0
        assert time.monotonic() - began < 15
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", gateway.port)
    assert world.inbox() + len(world.responder.events) >= 1
    assert world.redis.get("dispatcher") is None  # the lease is free at once


async def test_a_request_that_never_ends_does_not_hold_the_exit_up(world):
    async with gateway_process(world, DRAIN_SECONDS="2") as gateway, link(gateway.port) as (_, writer):
        writer.write(b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx")
        await writer.drain()
        began = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(gateway.process.wait, 60) == 0
        assert time.monotonic() - began < 9.5  # a body has ten seconds


async def test_it_exits_in_time_also_when_redis_and_the_services_are_gone(own_world):
    world = own_world
    async with gateway_process(world, DRAIN_SECONDS="3", RESPONDER_ADDRESS="127.0.0.1:1") as gateway:
        await until(lambda: world.redis.exists("inbox"))  # the group is there, with its stream
        world.redis.xadd("inbox", {"body": delivery(message(1)), "at": BASE})
        await until(lambda: world.redis.xpending("inbox", "igbot")["pending"] == 1)
        world.redis_server.kill()
        gateway.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(gateway.process.wait, 12) == 0


async def test_a_delivery_that_outlasts_the_drain_is_left_to_the_next_gateway_at_once(world):
    first = world.start(drain_seconds=2)
    world.responder.delivering.clear()
    assert await world.deliver(delivery(message(1))) == 200
    await until(lambda: world.responder.calls)
    await world.stop(first)
    assert world.redis.get("dispatcher") is None
    assert world.redis.xpending("inbox", "igbot")["pending"] == 1
    world.responder.delivering.set()
    world.start()
    await until(lambda: world.responder.mids == ["m1"])
    await until(lambda: world.inbox() == 0)


class Balancer:
    """Sends new connections in turn to the replicas whose /readyz says 200, looked at ten times a second."""

    def __init__(self, replicas):
        self.replicas = replicas
        self.ready = []
        self.turn = 0
        self.pipes = set()

    async def watch(self):
        while True:
            found = await asyncio.gather(*(asyncio.to_thread(one.ready) for one in list(self.replicas)))
            self.ready = [one for one, ready in zip(list(self.replicas), found, strict=False) if ready] or self.ready
            await asyncio.sleep(0.1)

    async def serve(self, reader, writer):
        for _ in range(2):  # whatever was ready at the last look may be gone, when this process was given no processor
            self.turn += 1
            replica = self.ready[self.turn % len(self.ready)]
            with suppress(OSError):
                upstream = await asyncio.open_connection("127.0.0.1", replica.port)
                break
        else:
            writer.close()
            return
        both = (self.pump(reader, upstream[1]), self.pump(upstream[0], writer))
        await asyncio.gather(*both)

    @staticmethod
    async def pump(reader, writer):
        with suppress(OSError):
            while piece := await reader.read(65536):
                writer.write(piece)
                await writer.drain()
        writer.close()


@pytest.mark.long
@pytest.mark.parametrize("rate", [500])
async def test_a_rolling_restart_of_two_replicas_loses_no_request(world, rate):
    replicas = [start_gateway(world, program=PATIENT, DRAIN_SECONDS="15") for _ in range(2)]
    balancer = Balancer(replicas)
    port = free_port()
    watching = asyncio.create_task(balancer.watch())
    server = await asyncio.start_server(balancer.serve, "127.0.0.1", port)
    try:
        await until(lambda: len(balancer.ready) == 2, seconds=20)
        arguments = f"--port {port} --rate {rate} --seconds 24 --connections 20 --secret {SECRET}".split()
        load = await asyncio.create_subprocess_exec(
            sys.executable, "bench/loader.py", *arguments, cwd=ROOT, stdout=subprocess.PIPE
        )
        for place in range(2):
            old = replicas[place]
            old.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(old.process.wait, 60) == 0
            replicas[place] = start_gateway(world, program=PATIENT, DRAIN_SECONDS="15")
            await until(replicas[place].ready, seconds=20)
        said, _ = await asyncio.wait_for(load.communicate(), 120)
        found = json.loads(said)
        assert found["statuses"] == {"200": rate * 24}
        await until(lambda: world.inbox() == 0, seconds=20)
    finally:
        watching.cancel()
        server.close()
        for replica in replicas:
            replica.kill()
