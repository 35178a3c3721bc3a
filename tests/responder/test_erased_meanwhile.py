"""An erasure that falls between any two writes of a delivery or a pass leaves nothing of the person behind."""

import pytest
from msgspec.structs import replace

from services.responder.account import HoldReason
from services.responder.message import Kind, key_of
from tests.responder.fakes import A
from tests.responder.town import ANNA, SECOND, Outside, opened


class Before:
    """A part of the store that does something else once, just before one of its methods is called."""

    def __init__(self, part, method, meddle):
        self.part, self.method, self.meddle = part, method, meddle

    def __getattr__(self, name):
        found = getattr(self.part, name)
        if name != self.method or self.meddle is None:
            return found

        async def meddled(*args, **kwargs):
            meddle, self.meddle = self.meddle, None
            if meddle is not None:
                await meddle()
            return await found(*args, **kwargs)

        return meddled


class Always(Before):
    """Does it before each write."""

    def __init__(self, part, meddle):
        self.part, self.meddle = part, meddle

    def __getattr__(self, name):
        found = getattr(self.part, name)
        if name not in {"save", "claim", "put", "add", "mark"}:
            return found

        async def meddled(*args, **kwargs):
            await self.meddle()
            return await found(*args, **kwargs)

        return meddled


def in_two_steps(store):
    """Let the store record as one does that cannot add messages and write the row at once."""

    async def record(messages, row, rule):
        stored = await store.messages.add(messages)
        after = rule([one.message for one in stored])
        return stored, after, None if after == row else await store.conversations.save(after)

    store.record = record


def meddle_with(store, part, method, meddle):
    """Do something else before one of the store's writes."""
    if part:
        in_two_steps(store)
        setattr(store, part, Before(getattr(store, part), method, meddle))
    else:
        setattr(store, method, getattr(Before(store, method, meddle), method))


WRITES = [("", "record"), ("messages", "add"), ("conversations", "save")]


async def left(town, *mids):
    """What the store has of Anna."""
    keys = [key_of(A, kind, mid) for mid in mids for kind in (Kind.MESSAGE, Kind.ECHO)]
    sent = await town.store.sends.of(A, ANNA, 99)
    row = await town.store.conversations.load(A, ANNA)
    messages = await town.store.messages.recent(A, ANNA, 99)
    return [*await town.store.messages.get(keys), *messages, *sent, *([row] if row else [])]


@pytest.mark.parametrize(("part", "method"), WRITES)
async def test_while_a_delivery_is_recorded(tmp_path, part, method):
    async with opened(tmp_path / "responder.db") as town:
        await town.say("my name is Anna")
        event = town.event(text="and my number is 12")
        town.clock.ms += SECOND

        async def erase():
            await town.people.erase(A, ANNA)

        meddle_with(town.store, part, method, erase)
        assert await town.deliver(event) == ["later"]
        assert await left(town, event.mid) == []
        assert await town.deliver(event) == ["ignored"]
        town.clock.ms += SECOND
        await town.say("hello again")
        row = await town.row()
        assert row is not None
        assert len(row.unanswered) == 1
        assert row.erased_at == await town.store.erasing.erased_at(A, ANNA)


@pytest.mark.parametrize(("part", "method"), WRITES[:2])
async def test_while_the_first_delivery_of_a_person_is_recorded(tmp_path, part, method):
    async with opened(tmp_path / "responder.db") as town:
        event = town.event(text="my name is Anna")
        town.clock.ms += SECOND

        async def erase():
            await town.people.erase(A, ANNA)

        meddle_with(town.store, part, method, erase)
        assert await town.deliver(event) == ["later"]
        assert await left(town, event.mid) == []
        assert await town.deliver(event) == ["ignored"]


@pytest.mark.parametrize("nth", range(9))
async def test_while_a_reply_is_written_sent_and_recorded(tmp_path, nth):
    """Before the n-th write of the pass, whichever that is."""
    async with opened(tmp_path / "responder.db") as town:
        await town.say("my name is Anna")
        town.clock.ms += 10 * SECOND
        town.erased, writes = False, iter(range(99))

        async def count_and_erase():
            if next(writes) == nth:
                await town.people.erase(A, ANNA)
                town.erased = True

        for part in ("conversations", "messages", "sends"):
            setattr(town.store, part, Always(getattr(town.store, part), count_and_erase))
        await town.run()
        if town.erased:
            assert await left(town) == []
        else:
            assert nth > 3, "the pass wrote too little to tell anything"


async def test_an_erased_account_does_not_come_back_by_the_mirror_or_by_another_replicas_memory(tmp_path):
    path = tmp_path / "responder.db"
    outside = Outside(path)
    async with opened(path, outside=outside) as one, opened(path, outside=outside, owner="two") as two:
        await one.say("hello")
        await two.say("hello again")
        outside.tokens.connect(A, "disconnected")
        await one.people.erase(A, "")
        outside.clock.ms += 2 * SECOND
        for town in (one, two):
            await town.book.mirror()
            assert await town.deliver(town.event(text="late")) == ["ignored"]
            assert await town.store.accounts.all() == []
            assert await left(town) == []
        outside.tokens.connect(A)
        await two.book.mirror()
        assert await one.deliver(one.event(text="connected again")) == ["stored"]


@pytest.mark.parametrize("change", ["hold", "release", "disconnect", "any"])
async def test_an_account_that_is_erased_while_its_row_is_changed_stays_erased(town, change):
    await town.say("hello")
    await town.book.hold(A, HoldReason.RATE_LIMITED, for_ms=1)
    town.clock.ms += SECOND
    real = town.store.accounts

    async def erase():
        await town.store.erasing.erase(A, "")

    town.book.accounts = Before(real, "get", erase)
    if change == "release":
        town.book.seen[A] = (town.clock.now(), await real.get(A))
    await {
        "hold": lambda: town.book.hold(A, HoldReason.TOKEN_DEAD, for_ms=SECOND),
        "release": lambda: town.book.release(A),
        "disconnect": lambda: town.book.disconnect(A),
        "any": lambda: town.book.change(A, lambda row: replace(row, username="")),
    }[change]()
    assert await real.all() == []
