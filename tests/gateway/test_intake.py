"""A backlog gives way to deliveries that are being kept, what comes due again to what is new; and both go on."""

import asyncio
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from itertools import groupby
from random import Random

import pytest

from services.gateway.hand import Hand
from services.gateway.intake import Intake
from services.gateway.ports import Entry
from services.gateway.redis_inbox import RedisInbox
from services.gateway.times import Times
from tests.gateway.world import BASE, delivery, message, until


class FakeStream:
    """An inbox that is never empty; remembers how often it was read."""

    def __init__(self):
        self.reads = 0

    async def fresh(self, count, _wait, _finished=()):
        self.reads += 1
        body = delivery(message(self.reads))
        return [Entry(f"{self.reads}-{n}", BASE, body) for n in range(count)]


class FakeTenure:
    """Always the active one."""

    def __init__(self):
        self.active, self.began, self.stopping = True, [], asyncio.Event()


@asynccontextmanager
async def reading(give_way):
    """Yields a stream that is read by an intake which has found a backlog, and its event."""
    times = replace(Times(), give_way=give_way, gather=0.0)
    hand, stream, tenure = Hand(times, Random(1)), FakeStream(), FakeTenure()
    intake = Intake(stream, hand, tenure, None, None, times)
    intake.next_sweep, intake.more = float("inf"), True
    intake.quiet = asyncio.Event()
    run = asyncio.create_task(intake.run())
    try:
        yield stream, intake.quiet
    finally:
        tenure.stopping.set()
        run.cancel()


async def test_a_backlog_is_read_when_no_delivery_is_being_kept():
    async with reading(give_way=60.0) as (stream, quiet):
        for _ in range(20):
            await asyncio.sleep(0)
        assert stream.reads == 0
        quiet.set()
        await until(lambda: stream.reads >= 3)


async def test_a_backlog_is_read_also_when_deliveries_never_cease():
    async with reading(give_way=0.001) as (stream, _):
        await until(lambda: stream.reads >= 3)


class PendingStream(FakeStream):
    """An inbox with a thousand pending entries; remembers in which order things were read."""

    def __init__(self):
        super().__init__()
        self.ids = [f"{n:04}-0" for n in range(1000)]
        self.log = []

    async def create(self):
        return False

    async def pending(self, after, count):
        return [one for one in self.ids if one > after][:count]

    async def fetch(self, ids):
        self.log.append("pending")
        return [Entry(one, BASE, delivery(message(1))) for one in ids]

    async def fresh(self, _count, _wait, _finished=()):
        await asyncio.sleep(0)
        self.log.append("new")
        return []


class BusyHand:
    """Has room for a page at a time, and all that it took up is put off and due again at once."""

    def __init__(self):
        self.free, self.due = True, {}

    @property
    def room(self):
        self.free, was = True, self.free
        return was

    def has(self, entry_id, now):
        return self.due.get(entry_id, 0.0) > now

    def take_up(self, entry):
        self.free, self.due[entry.id] = False, time.monotonic()

    def ended_plainly(self):
        return []

    @contextmanager
    def acknowledging(self, _ended):
        yield


class NothingLost:
    """No question is open."""

    async def resume(self):
        pass


async def test_entries_that_come_due_again_and_again_do_not_keep_new_ones_from_being_read():
    times = replace(Times(), sweep=0.01, block=0.02, gather=0.0)
    stream, tenure = PendingStream(), FakeTenure()
    intake = Intake(stream, BusyHand(), tenure, NothingLost(), None, times)
    run = asyncio.create_task(intake.run())
    try:
        await until(lambda: stream.log.count("pending") >= 40, seconds=20)
    finally:
        tenure.stopping.set()
        await run
    turns = [(what, len(list(times))) for what, times in groupby(stream.log)]
    assert turns[0] == ("pending", 10)  # what another dispatcher left comes before anything new, each once
    in_a_row = [times for what, times in turns[1:] if what == "pending"]
    assert max(in_a_row) <= 3  # one page each, but for stalls of this process; not the ten that there are


class FakeWire:
    """A Redis that answers, or fails, when it is let."""

    def __init__(self):
        self.answers = asyncio.Queue()
        self.waits = []  # the seconds that it was given

    async def exchange(self, commands, seconds):
        self.waits.append(seconds)
        answer = await self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        return [answer] * len(commands)

    async def disconnect(self):
        pass


@pytest.mark.parametrize("answer", [b"1-0", ConnectionError("gone")])
async def test_it_is_quiet_again_when_the_last_delivery_is_kept_or_refused(answer):
    wire = FakeWire()
    inbox = RedisInbox(wire, "inbox", Times(), lambda: BASE)
    inbox.start()
    assert inbox.quiet.is_set()
    kept = [inbox.keep(b"{}", "request") for _ in range(2)]
    assert not inbox.quiet.is_set()
    wire.answers.put_nowait(answer)
    await asyncio.wait(kept)
    await until(inbox.quiet.is_set)
    await inbox.close()


async def test_a_redis_that_has_just_failed_is_not_waited_for_so_long_again():
    wire = FakeWire()
    inbox = RedisInbox(wire, "inbox", Times(), lambda: BASE)
    inbox.start()
    for answer in (ConnectionError("gone"), b"1-0", b"2-0"):
        wire.answers.put_nowait(answer)
        await asyncio.wait([inbox.keep(b"{}", "request")])
    assert wire.waits == [0.24, 0.14, 0.24]
    await inbox.close()
