"""Redis behind a proxy that fails in every way, and a gateway process on uvloop, as in production."""

import asyncio
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from tests.gateway.world import PATIENT, ROOT, TIMES, delivery, gateway_process, message, sign, until
from tests.ports import free_port
from tests.valkey import valkey


@asynccontextmanager
async def faults(upstream):
    """A proxy in front of Redis; yields its port and what tells it."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "bench/servers/fault_proxy.py", str(port), str(upstream)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    told, says = process.stdin, process.stdout
    assert told
    assert says

    def tell(what):
        told.write(f"{what}\n".encode())
        told.flush()

    try:
        await asyncio.to_thread(says.readline)
        yield port, tell
    finally:
        process.kill()
        process.wait()
        told.close()
        says.close()


async def post(world, gateway, n):
    body = delivery(message(n, person=n))
    began = time.monotonic()
    async with world.session.post(gateway.url, data=body, headers={"X-Hub-Signature-256": sign(body)}) as answer:
        return answer.status, time.monotonic() - began


async def taken(world, gateway, n):
    """Post the n-th message, and while the answer is another than 200 the next one; return which was taken."""
    async with asyncio.timeout(10):
        while (await post(world, gateway, n))[0] != 200:
            n += 1
    return n


def long(fault):
    return pytest.param(fault, marks=pytest.mark.long)


@pytest.mark.parametrize("fault", [long("delay 50"), "swallow", long("black"), "refuse", "reset 40", long("reset 0")])
async def test_each_fault_is_answered_in_time_and_leaves_nothing_behind(world, fault):
    async with (
        faults(world.redis_server.port) as (port, tell),
        gateway_process(world, REDIS_URL=f"redis://127.0.0.1:{port}/0") as gateway,
    ):
        first = await taken(world, gateway, 0)
        tell(fault)
        answers = [await post(world, gateway, first + n) for n in range(1, 9)]
        tell("pass")
        statuses = [status for status, _ in answers]
        assert set(statuses) <= {200, 503}
        if fault.startswith("delay"):
            assert statuses.count(200) >= 6  # a delay is no fault, but the disk may add to it once in a while
        else:
            assert 503 in statuses
        # The fastest of eight: the others may have waited for a processor of this machine.
        assert min(seconds for _, seconds in answers) < 0.3
        assert sorted(seconds for _, seconds in answers)[4] < 0.6
        n = await taken(world, gateway, first + 9)
        acked = {f"m{first + 1 + place}" for place, status in enumerate(statuses) if status == 200}
        acked |= {f"m{first}", f"m{n}"}
        await until(lambda: acked <= set(world.responder.mids), seconds=20)
        await until(lambda: world.inbox() == 0, seconds=20)
        # No write was made twice: Redis has given out no more ids than there were deliveries.
        assert world.redis.xinfo_stream("inbox")["entries-added"] <= n + 1


@pytest.mark.parametrize("how", ["restart", "reset"])
async def test_a_connection_that_was_lost_while_nothing_came_costs_no_delivery(own_world, how):
    world = own_world
    async with (
        faults(world.redis_server.port) as (port, tell),
        gateway_process(world, program=PATIENT, REDIS_URL=f"redis://127.0.0.1:{port}/0") as gateway,
    ):
        for n in range(3):
            assert (await post(world, gateway, 2 * n))[0] == 200
            if how == "restart":
                await asyncio.to_thread(world.redis_server.kill)
                await asyncio.to_thread(world.redis_server.start)
            else:
                tell("refuse")
                await asyncio.sleep(0.3)  # the reset goes through
                tell("pass")
            await asyncio.sleep(0.1)
            assert (await post(world, gateway, 2 * n + 1))[0] == 200


@pytest.mark.long
async def test_after_a_fail_over_the_gateway_leaves_the_demoted_redis(own_world, tmp_path):
    world = own_world
    with valkey(tmp_path / "replica", "--replicaof", f"127.0.0.1 {world.redis_server.port}") as replica:
        old, new = world.redis, replica.client()
        await until(lambda: new.info("replication")["master_link_status"] == "up", seconds=20)
        async with (
            faults(world.redis_server.port) as (port, tell),
            gateway_process(world, program=PATIENT, REDIS_URL=f"redis://127.0.0.1:{port}/0") as gateway,
        ):
            assert (await post(world, gateway, 1))[0] == 200
            await until(lambda: world.responder.mids == ["m1"])
            tell(f"to {replica.port}")
            new.replicaof("NO", "ONE")
            old.replicaof("127.0.0.1", replica.port)
            n = 1
            async with asyncio.timeout(60):
                while (await post(world, gateway, n := n + 1))[0] != 200:
                    await asyncio.sleep(0.05)
            await until(lambda: f"m{n}" in world.responder.mids, seconds=15)
            await until(lambda: new.xlen("inbox") == 0)
        new.close()


async def test_after_a_fail_over_the_gap_check_is_asked_for_also_when_new_entries_hide_what_is_lost(
    own_world, tmp_path
):
    world = own_world
    with valkey(tmp_path / "replica", "--replicaof", f"127.0.0.1 {world.redis_server.port}") as replica:
        new = replica.client()
        await until(lambda: new.info("replication")["master_link_status"] == "up", seconds=20)
        async with faults(world.redis_server.port) as (port, tell):
            gateway = world.start(redis_url=f"redis://127.0.0.1:{port}/0", times=replace(TIMES, watch=1.0))
            await until(lambda: world.responder.gaps == 1 and gateway.monitor.history)
            await until(lambda: not gateway.gaps.asking)
            new.replicaof("NO", "ONE")
            assert await world.post(delivery(message(1))) == 200  # the last that the old one acknowledges
            tell("refuse")
            tell(f"to {replica.port}")
            async with asyncio.timeout(60):
                while await world.post(delivery(message(2))) != 200:
                    await asyncio.sleep(0.01)
            await until(lambda: world.responder.gaps >= 2)
            lost = [await world.metric("igbot_inbox_lost_total", what=what) for what in ("entries", "fail_over")]
            assert sum(lost) == 1  # whichever is seen first
            await world.stop(gateway)
        new.close()


async def test_a_redis_that_was_only_restarted_is_no_fail_over(own_world):
    world = own_world
    gateway = world.start()
    await until(lambda: world.responder.gaps == 1 and gateway.monitor.history)
    await until(lambda: not gateway.gaps.asking)  # else it may be asked once more, which is allowed
    first = gateway.monitor.history
    world.redis_server.kill()
    world.redis_server.start()
    await until(lambda: gateway.monitor.history != first)
    assert await world.post(delivery(message(1))) == 200
    await until(lambda: world.responder.mids == ["m1"])
    assert await world.metric("igbot_inbox_lost_total", what="fail_over") == 0
    assert world.responder.gaps == 1
