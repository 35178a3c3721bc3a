"""What happens to the processes while people write: killed, frozen, started again."""

import asyncio
import random
import time
from dataclasses import dataclass, field

from tests.system.load import Load, not_answered, settled
from tests.system.town import A, B, Town, running, until
from tests.system.verdict import Verdict

LONGEST_DOWN = 0.5
VICTIMS = ("gateway", "tokens", "responder", "valkey")


@dataclass
class Storm:
    """Does harm to one process after another, `every` so many seconds; each comes back by itself."""

    town: Town
    rng: random.Random
    every: float = 1.0
    longest_freeze: float = 0.0
    busy: set = field(default_factory=set)
    tasks: set = field(default_factory=set)

    def begin(self, work):
        task = asyncio.create_task(work)
        self.tasks.add(task)

    async def follow(self, plan):
        """Kill these, in this order; `send` is the responder in the middle of a send."""
        for name in plan:
            while self.process(name) in self.busy:
                await asyncio.sleep(0.05)
            self.begin(self.kill_in_send() if name == "send" else self.kill(name))
            await asyncio.sleep(self.every)

    async def rage(self, until_done, names):
        """Harm a random process every so often until the task is done."""
        while not until_done.done():
            free = [name for name in names if name not in self.busy]
            if free:
                name = self.rng.choice(free)
                freezes = self.longest_freeze and self.rng.random() < 0.3
                self.begin(self.freeze(name) if freezes else self.kill(name))
            await asyncio.sleep(self.every * self.rng.uniform(0.6, 1.4))

    def process(self, name):
        return "responder" if name == "send" else name

    async def kill(self, name):
        self.busy.add(name)
        machine = self.town.machine
        await asyncio.to_thread(machine.kill, name)
        await asyncio.sleep(self.rng.uniform(0, LONGEST_DOWN))
        await machine.restart(name)
        self.busy.discard(name)

    async def kill_in_send(self):
        """Let Instagram take a message and hold its answer back; then kill who waits for it."""
        self.busy.add("responder")
        before = len(await self.town.entries("fault"))
        await self.town.control(
            "faults", target="graph", kind="timeout", match='"text"', after=True, seconds=4.0, times=1
        )

        async def held_back():
            return len(await self.town.entries("fault")) > before

        try:
            await until(held_back, 60, "nothing was sent to hold back: does anybody write?")
        finally:
            self.busy.discard("responder")
        await self.kill("responder")

    async def freeze(self, name):
        self.busy.add(name)
        machine = self.town.machine
        pid = await asyncio.to_thread(machine.freeze, name)
        await asyncio.sleep(min(self.longest_freeze, self.rng.expovariate(3 / self.longest_freeze)))
        machine.thaw(pid)
        self.busy.discard(name)

    async def over(self):
        """Wait until everything is back."""
        if self.tasks:
            await asyncio.gather(*self.tasks)
        for name in self.town.machine.processes:
            await self.town.machine.until_ready(name)


@dataclass
class Aftermath:
    """What a storm left behind."""

    verdict: Verdict
    entries: list
    held: list
    otherwise: dict
    kills: int
    freezes: int
    seconds: float

    def __str__(self):
        harm = f"{self.kills} kills, {self.freezes} freezes"
        return f"{self.verdict}, held {len(self.held)}; {harm}; {self.seconds:.0f} s"


async def in_a_storm(machine, *, messages, rate, longest_freeze, seed, victims=VICTIMS):
    """Let people write while processes are killed and frozen and calls fail; return what came of it."""
    rng, began = random.Random(seed), time.monotonic()
    async with running(machine, A, B) as town:
        await order_faults(town, messages)
        weather = Storm(town, rng, every=1.2, longest_freeze=longest_freeze)
        writing = asyncio.create_task(Load(town, messages=messages, rate=rate, rng=rng).run())
        await weather.rage(writing, victims)
        await writing
        await weather.over()
        verdict = await settled(town)
        entries = await town.ledger()
        held, otherwise = await town.held(), await not_answered(town, entries)
    harm = [how for _, how, _ in machine.kills]
    kills, freezes = harm.count("SIGKILL"), harm.count("SIGSTOP")
    return Aftermath(verdict, entries, held, otherwise, kills, freezes, time.monotonic() - began)


async def order_faults(town, messages):
    """A few of everything that goes wrong between igbot, Instagram and the model."""
    send = {"target": "graph", "match": '"text"'}
    await town.control("faults", **send, kind="no_echo", times=messages // 30)
    await town.control("faults", **send, kind="late_echo", times=messages // 30, seconds=3)
    for code in (2, 1):
        await town.control("faults", **send, kind="status", times=3, code=code, after=True)
    await town.control("faults", target="model", kind="status", status=500, times=5)
    await town.control("faults", target="webhook", kind="timeout", times=10, after=True)
