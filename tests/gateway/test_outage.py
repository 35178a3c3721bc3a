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
LONGEST_WAIT = 1.0
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
        headers = {"X-Hub-Signature-256": sign(body)}
        began = time.monotonic()
        status = 503
        for _ in range(50):  # as Meta does; a disk that stands still for seconds is none of this test's
            async with self.world.session.post(self.url, data=body, headers=headers) as answer:
                status = answer.status
            if status != 503:
                break
            await asyncio.sleep(0.2)
        self.statuses[status] += 1
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
        assert backlog >= customers.sent  # one that was answered 503 may have been kept all the same
        assert not world.responder.events
        assert asked < OUTAGE_SECONDS * 2  # it backs off

        world.responder.status = lambda _events: None
        returned = time.monotonic()
        await customers.write(lambda: world.inbox() < RATE or time.monotonic() > returned + LONGEST_DRAIN)
        drained = time.monotonic()
        await customers.done()
        await until(lambda: world.inbox() == 0, seconds=30)
    longest: dict[int, float] = defaultdict(float)  # second of the drain -> the longest wait that began in it
    for began, wait in customers.waits:
        if began >= returned:
            longest[int(began - returned)] = max(longest[int(began - returned)], wait)
    usual = sorted(longest.values())[len(longest) // 2]
    print(
        f"{backlog} deliveries drained in {drained - returned:.1f} s beside new ones, of which the slowest in a second "
        f"took {1000 * usual:.0f} ms (median); the responder was asked {asked} times while it was down"
    )
    assert set(customers.statuses) == {200}
    assert usual < LONGEST_WAIT  # a stall of this machine spoils a second, not the drain
    assert drained - returned < LONGEST_DRAIN
    by_person = defaultdict(list)
    for event in world.responder.events:
        by_person[event.sender].append(int(event.mid[1:]))
    assert sum(map(len, by_person.values())) == customers.sent
    assert all(mids == sorted(mids) for mids in by_person.values())
    assert world.dead() == []
