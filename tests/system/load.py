"""Customers who write at a steady rate, each waiting until Meta has handed over what they wrote before."""

import asyncio
import itertools
import time

from services.common.pb import responder_pb2
from tests.system.town import A, until
from tests.system.verdict import judge

STORY_EVERY = 25


class Load:
    """`messages` messages from about half as many people, `rate` a second, each with a text of its own.

    They write on until it is enough.
    """

    def __init__(self, town, *, messages, rate, rng, account=A, enough=lambda: True):
        self.town, self.messages, self.rate, self.rng, self.account = town, messages, rate, rng, account
        self.people = [str(6_920_000_000_000_000 + n) for n in range(max(1, messages // 2))]
        self.waiting = {}  # person -> mid that is still to be taken in
        self.taken: set = set()
        self.read = self.said = 0
        self.enough = enough

    async def run(self):
        began = time.monotonic()
        for n in itertools.count():
            if n >= self.messages and self.enough():
                return
            await asyncio.sleep(max(0, began + n / self.rate - time.monotonic()))
            person = await self.free_person()
            story = ", tell me the whole story" if n % STORY_EVERY == 7 else ""
            said = await self.town.say(person, f"Question {n:06d}{story}?", self.account)
            self.waiting[person] = said["mid"]
            self.said += 1

    async def free_person(self):
        """Somebody whose last message has been taken in: people see their own messages go out in order."""
        while True:
            person = self.rng.choice(self.people)
            if person not in self.waiting:
                return person
            entries = await self.town.ledger()
            for one in entries[self.read :]:
                if one["kind"] == "delivery" and one["event"] == "message" and one["status"] == 200:
                    self.taken.add(one["mid"])
            self.read = len(entries)
            self.waiting = {one: mid for one, mid in self.waiting.items() if mid not in self.taken}
            await asyncio.sleep(0.02)


async def settled(town, patience=100):
    """Wait until every message is answered and nothing moves any more; return the verdict.

    A slow machine may take its time; what fails is to get nowhere for `patience` seconds.
    """
    best, since = None, time.monotonic()
    while True:
        began = time.monotonic()
        verdict = judge(await town.ledger())
        left = (len(verdict.lost), town.waiting)
        if left == (0, 0):
            break
        if best is None or left < best:
            best, since = left, time.monotonic()
        stuck = f"{verdict}, {town.waiting} deliveries wait; lost: {verdict.lost[:3]}"
        assert time.monotonic() - since < patience, f"no progress in {patience} s: {stuck}"
        await asyncio.sleep(0.3 + 5 * (time.monotonic() - began))
    await until(lambda: idle(town), 120, "the responder does not come to rest")
    return judge(await town.ledger())


async def idle(town):
    """Whether the responder's rows want nothing any more."""
    counts = {}
    for state in ("due", "working", "waiting"):
        request = responder_pb2.ListRequest(state=state, limit=5)
        counts[state] = len((await town.conversations.List(request, timeout=10)).conversations)
    return not any(counts.values())


async def not_answered(town, entries):
    """The customers' messages that igbot itself does not count as answered by a reply, with what it says instead."""
    people = {(entry["account"], entry["person"]) for entry in entries if entry["kind"] == "said"}
    found = {}
    for account, person in people:
        story = await town.conversation(account, person)
        replies = {reply.id for reply in story.replies}
        told = [one for one in story.messages if one.author == "customer" and one.answered_by not in replies]
        found.update({one.mid: one.answered_by for one in told})
    return found
