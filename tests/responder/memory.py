"""The gates of the state machine, and a world with a ledger.

Every call that matters passes a gate first: the machine decides when it goes on, and whether the caller dies there.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import SecretStr

from services.common.graph import GraphFailure
from services.common.graph_errors import GraphError
from services.responder.account import Account
from services.responder.outside import Lent, ModelDown, Reading, Shown, Written
from services.responder.words import digest
from tests.responder.memory_store import Clock as Clock  # noqa: PLC0414 - the machine takes both from here
from tests.responder.memory_store import MemoryStore as MemoryStore  # noqa: PLC0414 - as above

ACCOUNT, SCOPED, PERSON = "17841400000000001", "27640000000000001", "6900000000000001"


class Crash(BaseException):
    """The process that made this call is gone."""


@dataclass
class Gates:
    """Where each task waits, by the task's name; `opened` lets it go on or die."""

    waiting: dict = field(default_factory=dict)
    names: dict = field(default_factory=dict)

    async def passed(self, what):
        name = self.name_of(asyncio.current_task())
        while name in self.waiting:  # one task's own gathers take turns
            await asyncio.sleep(0)
        future = asyncio.get_running_loop().create_future()
        self.waiting[name] = (what, future)
        return await future

    def name_of(self, task):
        """Its own name, or for a task of a gather a number that is the same when the machine replays."""
        name = task.get_name()
        return self.names.setdefault(task, f"part{len(self.names)}") if name.startswith("Task-") else name

    def open(self, name, how="go"):
        _, future = self.waiting.pop(name)
        if how == "crash":
            future.set_exception(Crash())
        else:
            future.set_result(how)


class OneToken:
    async def lend(self, account, *, fresh_ms=60_000):
        return Lent(account=ACCOUNT, token=SecretStr("t"), version=1, app_scoped_id=SCOPED)

    async def reject(self, lent, error):
        return "active"

    async def accounts(self):
        return []


@dataclass
class World:
    """Instagram and the model: what was delivered to the customer, and what a read shows."""

    clock: Clock
    gates: Gates
    delivered: list = field(default_factory=list)  # (mid, text, at)
    said: list = field(default_factory=list)  # (mid, sender, text, at): customers and people
    prompts: dict = field(default_factory=dict)  # text of the answer -> what the prompt's last user turns said
    readable: bool = True
    on_post: Callable[[str], None] | None = None
    calls: int = 0

    async def post_text(self, lent, person, text, *, human_agent, within):
        how = await self.gates.passed("post")
        if how == "refused_connection":
            raise GraphFailure("not reached", reached=False)
        if how == "rejected":
            raise GraphFailure("x", reached=True, error=GraphError(status=400, code=100, subcode=2534015))
        arrives = how in {"go", "sent_timeout", "sent_500"}
        mid = f"bot{len(self.delivered)}"
        if arrives:
            if self.on_post:
                self.on_post(text)
            self.delivered.append((mid, text, self.clock.now()))
            late = await self.gates.passed("posted")
            if late == "timeout":
                raise GraphFailure("no answer", reached=True)
        if how in {"sent_timeout", "timeout"}:
            raise GraphFailure("no answer", reached=True)
        if how in {"sent_500", "500"}:
            raise GraphFailure("500", reached=True, error=GraphError(status=500, code=1))
        return mid

    async def act(self, lent, person, action):
        return None

    async def read(self, lent, person, *, waited=None):
        await self.gates.passed("read")
        if not self.readable:
            return None
        shown = [Shown(mid=mid, sender=ACCOUNT, at=at, text=text) for mid, text, at in self.delivered]
        shown += [Shown(mid=mid, sender=sender, at=at, text=text) for mid, sender, text, at in self.said]
        return Reading(messages=tuple(sorted(shown, key=lambda one: -one.at)), whole=True)

    async def username(self, lent, person):
        return "somebody"

    async def write_reply(self, turns, *, within):
        how = await self.gates.passed("model")
        if how == "down":
            raise ModelDown("down")
        self.calls += 1
        asked = [turn.text for turn in turns if turn.role == "user"]
        first, second = f"first half of answer {self.calls}.", f"second half of answer {self.calls}."
        # Two parts: each close to the limit, so that the text is cut between them.
        text = f"{first} {'a' * 900}\n\n{second} {'b' * 300}"
        for piece in (f"{first} {'a' * 900}", f"{second} {'b' * 300}"):
            self.prompts[digest(piece)] = tuple(asked)
        return Written(text=text)


def account():
    return Account(account=ACCOUNT, app_scoped_id=SCOPED, username="bakery")
