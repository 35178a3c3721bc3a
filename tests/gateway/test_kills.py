import asyncio
import random
import time
from collections import Counter

import aiohttp
import pytest

from tests.gateway.world import delivery, message, sign, start_gateway, until

SEED = 20261001


class Kennel:
    """Two gateways and a Valkey that are killed at random and started again."""

    def __init__(self, world, seed):
        self.world = world
        self.random = random.Random(seed)
        self.gateways = [start_gateway(world) for _ in range(2)]
        self.kills = 0

    async def kill_one(self):
        victim = self.random.choice(("redis", "gateway", "gateway"))
        self.kills += 1
        if victim == "redis":
            await asyncio.to_thread(self.world.redis_server.kill)
            await asyncio.sleep(self.random.uniform(0, 0.3))
            await asyncio.to_thread(self.world.redis_server.start)
            return
        place = self.random.randrange(2)
        await asyncio.to_thread(self.gateways[place].kill)
        await asyncio.sleep(self.random.uniform(0, 0.5))
        self.gateways[place] = start_gateway(self.world, port=self.gateways[place].port)

    async def run(self, stop):
        while not stop.is_set():
            await asyncio.sleep(self.random.uniform(0.7, 1.5))
            await self.kill_one()

    def end(self):
        for gateway in self.gateways:
            gateway.kill()


async def post(world, gateways, n, acked, answers):
    """Deliver as Instagram does: again until it is answered 200, to whichever gateway comes next."""
    body = delivery(message(n, person=n % 500), *([] if n % 50 else ["broken"]))
    headers = {"X-Hub-Signature-256": sign(body)}
    for attempt in range(400):
        try:
            url = gateways[(n + attempt) % 2].url
            async with world.session.post(url, data=body, headers=headers) as answer:
                answers[answer.status] += 1
                if answer.status == 200:
                    acked.add(f"m{n}")
                    return
        except (OSError, aiohttp.ClientError):
            answers["cut off"] += 1
        await asyncio.sleep(0.25)


@pytest.mark.parametrize(("deliveries", "rate"), [(1000, 200), pytest.param(20_000, 300, marks=pytest.mark.long)])
async def test_what_was_acknowledged_is_delivered_or_dead_while_redis_and_gateways_are_killed(
    own_world, deliveries, rate
):
    world = own_world
    print(f"seed {SEED}")
    kennel = Kennel(world, SEED)
    acked: set[str] = set()
    answers: Counter[object] = Counter()
    stop = asyncio.Event()
    try:
        await until(lambda: all(gateway.ready() for gateway in kennel.gateways), seconds=20)
        killing = asyncio.create_task(kennel.run(stop))
        began, tasks = time.monotonic(), set()
        for n in range(deliveries):
            tasks.add(asyncio.create_task(post(world, kennel.gateways, n, acked, answers)))
            await asyncio.sleep(max(0.0, began + n / rate - time.monotonic()))
        await asyncio.gather(*tasks)
        stop.set()
        await killing
        await until(lambda: world.redis.exists("inbox") and world.inbox() == 0, seconds=60)
    finally:
        stop.set()
        kennel.end()
    delivered = set(world.responder.mids)
    dead = {mid for letter in world.dead() for mid in letter["mids"].split(",")}
    print(f"{kennel.kills} kills; answers: {dict(answers)}")
    assert len(acked) == deliveries
    assert set(answers) <= {200, 503, "cut off"}
    assert kennel.kills >= deliveries / rate / 4
    assert acked <= delivered | dead
    # Each event once (the fake remembers what it knows), each broken item once for each entry that was kept.
    assert len(world.responder.mids) == len(delivered)
    assert {letter["reason"] for letter in world.dead()} <= {"not_an_item"}
