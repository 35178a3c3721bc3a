"""Two minutes without a responder, with the times of production, while customers go on writing."""

import asyncio
import time
from collections import Counter, defaultdict

import grpc
import pytest

from tests.gateway.world import PATIENT, delivery, gateway_process, message, sign, until

OUTAGE_SECONDS = 120
RATE = 200
PEOPLE = 100
# bench/outages.py measures it; here the client, the responder and Redis share two cores with the gateway.
LONGEST_P99 = 0.3
LONGEST_DRAIN = 60


class Customers:
    """People who write in turn, each the next message when the last one is taken in."""

    def __init__(self, world, url):
        self.world, self.url = world, url
        self.sent = 0
        self.last = dict.fromkeys(range(PEOPLE))
        self.statuses: Counter[int] = Counter()
        self.waits: list[tuple[float, float]] = []

    async def post(self, n, person, before):
        if before:
            await before
        body = delivery(message(n, person=person))
        began = time.monotonic()
        async with self.world.session.post(self.url, data=body, headers={"X-Hub-Signature-256": sign(body)}) as answer:
            self.statuses[answer.status] += 1
        self.waits.append((began, time.monotonic() - began))

    async def write(self, until_then):
        """Write at the steady rate until it is told."""
        began, first = time.monotonic(), self.sent
        while not until_then():
            n, self.sent = self.sent, self.sent + 1
            person = n % PEOPLE
            self.last[person] = asyncio.create_task(self.post(n, person, self.last[person]))
            await asyncio.sleep(max(0.0, began + (n + 1 - first) / RATE - time.monotonic()))

    async def done(self):
        await asyncio.gather(*filter(None, self.last.values()))


@pytest.mark.long
async def test_two_minutes_without_a_responder_lose_and_reorder_nothing_and_the_backlog_starves_nobody(own_world):
    world = own_world
    async with gateway_process(world, program=PATIENT) as gateway:
        customers = Customers(world, gateway.url)
        world.responder.status = lambda _events: grpc.StatusCode.UNAVAILABLE
        back = time.monotonic() + OUTAGE_SECONDS
        await customers.write(lambda: time.monotonic() > back)
        await customers.done()
        backlog, asked = world.inbox(), len(world.responder.calls)
        assert backlog == customers.sent
        assert not world.responder.events
        assert asked < OUTAGE_SECONDS * 2  # it backs off

        world.responder.status = lambda _events: None
        returned = time.monotonic()
        await customers.write(lambda: world.inbox() < RATE or time.monotonic() > returned + LONGEST_DRAIN)
        drained = time.monotonic()
        await customers.done()
        await until(lambda: world.inbox() == 0, seconds=30)
    meanwhile = sorted(wait for began, wait in customers.waits if began >= returned)
    p99 = meanwhile[int(0.99 * len(meanwhile))]
    print(
        f"{backlog} deliveries drained in {drained - returned:.1f} s beside {len(meanwhile)} new ones, whose p99 was "
        f"{1000 * p99:.0f} ms; the responder was asked {asked} times while it was down"
    )
    assert set(customers.statuses) == {200}
    assert p99 < LONGEST_P99
    assert drained - returned < LONGEST_DRAIN
    by_person = defaultdict(list)
    for event in world.responder.events:
        by_person[event.sender].append(int(event.mid[1:]))
    assert sum(map(len, by_person.values())) == customers.sent
    assert all(mids == sorted(mids) for mids in by_person.values())
    assert world.dead() == []
