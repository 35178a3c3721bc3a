"""Stand-ins with a memory for what the responder needs of the world: tokens, the model, Instagram."""

import asyncio
from dataclasses import dataclass, field

from pydantic import SecretStr

from services.common.errors import NotConnected, UnknownAccount
from services.common.graph import GraphFailure
from services.common.graph_errors import GraphError
from services.responder.outside import (
    BreakerOpen,
    KnownAccount,
    Lent,
    ModelDown,
    Reading,
    Shown,
    Talk,
    TokensDown,
    Written,
    unheard,
)

A, B = "17841400000000001", "17841400000000002"
SCOPED = {A: "27640000000000001", B: "27640000000000002"}
NAMES = {A: "north_pier_bakery", B: "lumen_bikes"}
SILENCE = GraphFailure("no answer: TimeoutError", reached=True)
REFUSED_CONNECTION = GraphFailure("not reached: ClientConnectorError", reached=False)


def graph_error(code, subcode=None, *, status=400, usage=None):
    return GraphFailure(
        "refused", reached=True, error=GraphError(status=status, code=code, subcode=subcode), usage=usage
    )


@dataclass
class Clock:
    """Time stands until a test moves it; both clocks of the responder are this one."""

    ms: int = 1_790_856_000_000

    def now(self):
        return self.ms

    def monotonic(self):
        return self.ms / 1000


@dataclass
class FakeTokens:
    """The token service; remembers what was asked and reported."""

    known: dict = field(default_factory=dict)
    down: bool = False
    without_key: set = field(default_factory=set)  # accounts whose token cannot be read now
    asked: list = field(default_factory=list)
    rejected: list = field(default_factory=list)
    after_rejection: str = "reauthorize"

    def connect(self, account, state="active"):
        scoped, name = SCOPED.get(account, f"app{account}"), NAMES.get(account, f"name{account}")
        self.known[account] = KnownAccount(
            account=account, app_scoped_id=scoped, username=name, state=state, connected_at=1
        )

    async def lend(self, account, *, fresh_ms=60_000):
        self.asked.append((account, fresh_ms))
        if self.down or account in self.without_key:
            raise TokensDown("tokens: UNAVAILABLE")
        found = next((one for one in self.known.values() if account in {one.account, one.app_scoped_id}), None)
        if found is None:
            raise UnknownAccount("no such account")
        if found.state != "active":
            raise NotConnected(found.state)
        return Lent(
            account=found.account,
            token=SecretStr("token"),
            version=1,
            app_scoped_id=found.app_scoped_id,
            username=found.username,
        )

    async def reject(self, lent, error):
        self.rejected.append((lent.account, error.code))
        self.connect(lent.account, self.after_rejection)
        return self.after_rejection

    async def accounts(self):
        if self.down:
            raise TokensDown("tokens: UNAVAILABLE")
        return list(self.known.values())


@dataclass
class FakeWriter:
    """The model: `script` holds texts to say and errors to raise next, `meanwhile` what happens while it writes."""

    script: list = field(default_factory=list)
    meanwhile: list = field(default_factory=list)
    prompts: list = field(default_factory=list)
    down: bool = False

    async def write_reply(self, turns, *, within):
        self.prompts.append(list(turns))
        if self.meanwhile:
            await self.meanwhile.pop(0)()
        if self.down:
            raise ModelDown("down")
        said = self.script.pop(0) if self.script else f"answer {len(self.prompts)}"
        if isinstance(said, Exception):
            raise said
        return Written(text=said)

    @property
    def asked(self):
        """What stood in the user turns behind the last answer, prompt by prompt."""
        return [[turn.text for turn in prompt if turn.role == "user"] for prompt in self.prompts]


@dataclass
class FakeInstagram:
    """Instagram: what arrived, in order; `script` tells how the next POSTs go.

    A step of the script is "ok", an exception (nothing arrives), or ("arrives", exception). `meanwhile` runs inside
    the POST, after the message arrived.
    """

    clock: Clock
    script: list = field(default_factory=list)
    meanwhile: list = field(default_factory=list)
    posts: list = field(default_factory=list)  # (account, person, text, human_agent)
    arrived: list = field(default_factory=list)  # (account, person, mid, text)
    shown: dict = field(default_factory=dict)  # (account, person) -> [Shown]
    acts: list = field(default_factory=list)
    reads: list = field(default_factory=list)
    unreadable: bool = False
    fails: dict = field(default_factory=dict)  # the name of a call -> what it meets
    queue: int = 0  # how long (ms) a read waits for its turn
    usernames: dict = field(default_factory=dict)
    breaker_open: bool = False
    always: object = None  # what every POST meets once the script is over

    async def post_text(self, lent, person, text, *, human_agent, within):
        self.posts.append((lent.account, person, text, human_agent))
        await self.ready(lent)
        step = self.script.pop(0) if self.script else self.always or "ok"
        if isinstance(step, Exception):
            raise step
        mid = self.show(lent.account, person, text)
        if self.meanwhile:
            await self.meanwhile.pop(0)(mid)
        if isinstance(step, tuple):
            raise step[1]
        return "" if step == "no mid" else mid

    def show(self, account, person, text, mid=""):
        """Something from the business appears in the conversation."""
        mid = mid or f"out{len(self.arrived)}"
        self.arrived.append((account, person, mid, text))
        self.put(account, person, Shown(mid=mid, sender=account, at=self.clock.now(), text=text))
        return mid

    def put(self, account, person, one):
        self.shown.setdefault((account, person), []).insert(0, one)

    async def ready(self, lent):
        if self.breaker_open:
            raise BreakerOpen("kept failing")

    async def act(self, lent, person, action):
        self.acts.append((lent.account, person, action))
        self.meet("act")

    async def read(self, lent, person, *, waited=unheard):
        self.clock.ms += self.queue
        waited(self.queue / 1000)
        self.reads.append((self.clock.now(), lent.account, person))
        self.meet("read")
        if self.unreadable:
            raise SILENCE
        found = self.shown.get((lent.account, person))
        return Reading(messages=tuple(found[:20]), whole=len(found) <= 20) if found else None

    def meet(self, call):
        if call in self.fails:
            raise self.fails[call]

    async def talks(self, lent, *, since):
        self.meet("talks")
        return [
            Talk(person=person, updated_at=found[0].at)
            for (account, person), found in self.shown.items()
            if account == lent.account
        ]

    async def username(self, lent, person):
        self.meet("username")
        return self.usernames.get(person, "somebody")


async def at_once(_account):
    await asyncio.sleep(0)
