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
ARRIVES = frozenset({"go", "sent_timeout", "sent_500"})
LONG_AGO, BLINK = 60_000, 8_000


class Crash(BaseException):
    """The process that made this call is gone."""


@dataclass
class Gates:
    """Where each task waits, by the task's name; `open` lets it go on or die."""

    clock: Clock
    waiting: dict = field(default_factory=dict)  # name -> (what it waits to do, since when, its future)
    names: dict = field(default_factory=dict)

    async def passed(self, what):
        name = self.name_of(asyncio.current_task())
        while name in self.waiting:  # one task's own gathers take turns
            await asyncio.sleep(0)
        future = asyncio.get_running_loop().create_future()
        self.waiting[name] = (what, self.clock.now(), future)
        return await future

    def name_of(self, task):
        """Its own name, or for a task of a gather a number that is the same when the machine replays."""
        name = task.get_name()
        return self.names.setdefault(task, f"part{len(self.names)}") if name.startswith("Task-") else name

    def at(self, *whats):
        """Who waits to do one of these."""
        return sorted(name for name, (what, _, _) in self.waiting.items() if what in whats)

    def open(self, name, how="go"):
        _, _, future = self.waiting.pop(name)
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
    """Instagram and the model: what was delivered to the customer, and what a read shows of it."""

    clock: Clock
    gates: Gates
    delivered: list = field(default_factory=list)  # (mid, text, at)
    said: list = field(default_factory=list)  # (mid, sender, text, at): customers and people
    prompts: dict = field(default_factory=dict)  # fingerprint of an answer's part -> what the prompt asked
    same_words: bool = False  # the model says the same to everything
    behind: int = 0  # Instagram's clock against ours
    shown_after: int = 0  # a message is seen by reads so much later
    shows: str = "all"  # or "newest", "none", "fails", "unreadable"
    blinks: bool = False  # the next reads miss the newest delivered message for some seconds, once a message
    missed: dict = field(default_factory=dict)  # mid -> until when
    altered: set = field(default_factory=set)  # mids that a read shows in other words
    on_post: Callable[[str], None] = print
    on_arrival: Callable[[str], None] = print
    calls: int = 0

    # --- Instagram ---------------------------------------------------------------------------------------------------

    async def post_text(self, lent, person, text, *, human_agent, within):
        self.on_post(text)
        how = await self.gates.passed("post")
        if how == "refused_connection":
            raise GraphFailure("not reached", reached=False)
        if how == "rejected":
            raise GraphFailure("x", reached=True, error=GraphError(status=400, code=100, subcode=2534015))
        mid = self.deliver(text) if how in ARRIVES else ""
        if mid and await self.gates.passed("posted") == "timeout":
            raise GraphFailure("no answer", reached=True)
        if how in {"sent_timeout", "timeout"}:
            raise GraphFailure("no answer", reached=True)
        if how in {"sent_500", "500"}:
            raise GraphFailure("500", reached=True, error=GraphError(status=500, code=1))
        return mid

    def deliver(self, text):
        self.on_arrival(text)
        mid = f"bot{len(self.delivered)}"
        self.delivered.append((mid, text, self.clock.now() - self.behind))
        return mid

    async def ready(self, lent):
        return None

    async def act(self, lent, person, action):
        return None

    async def read(self, lent, person, *, waited=None):
        await self.gates.passed("read")
        if self.shows == "fails":
            raise GraphFailure("no answer", reached=True)
        if self.shows == "none":
            return None
        return self.reading(self.missing())

    def missing(self):
        """The messages that this read does not show."""
        now = self.clock.now()
        late = {mid for mid, _, at in self.delivered if now - self.behind - at < self.shown_after}
        newest = {mid for mid, _, at in self.delivered[-1:] if now - at < LONG_AGO} - self.missed.keys()
        if self.blinks and newest:
            self.blinks = False
            self.missed |= dict.fromkeys(newest, now + BLINK)
        return late | {mid for mid, until in self.missed.items() if now < until}

    def reading(self, missing):
        sent = [(mid, ACCOUNT, self.words(mid, text), at) for mid, text, at in self.delivered if mid not in missing]
        listed = sorted([*sent, *self.said], key=lambda one: -one[3])
        if self.shows == "newest":
            listed = listed[:1]
        unread = {mid for mid, _, _, _ in sent} if self.shows == "unreadable" else set()
        shown = tuple(Shown(mid=m, sender=by, at=at, text=text) for m, by, text, at in listed if m not in unread)
        hidden = tuple(at for mid, _, _, at in listed if mid in unread)
        return Reading(messages=shown, whole=self.shows != "newest", hidden=hidden)

    def words(self, mid, text):
        return f"{text} (as Instagram changed it)" if mid in self.altered else text

    async def username(self, lent, person):
        return "somebody"

    # --- the model ---------------------------------------------------------------------------------------------------

    async def write_reply(self, turns, *, within):
        if await self.gates.passed("model") == "down":
            raise ModelDown("down")
        self.calls += 1
        asked = tuple(turn.text for turn in turns if turn.role == "user")
        number = "" if self.same_words else f" {self.calls}"
        # Two parts: each close to the limit, so that the text is cut between them.
        pieces = (f"first half of answer{number}. {'a' * 900}", f"second half of answer{number}. {'b' * 300}")
        if not self.same_words:
            self.prompts |= {digest(piece): asked for piece in pieces}
        return Written(text="\n\n".join(pieces))


def account():
    return Account(account=ACCOUNT, app_scoped_id=SCOPED, username="bakery")
