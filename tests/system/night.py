"""A night of a running igbot, with faults, under the eyes of a real Prometheus: what dashboards and alerts then show.

First an evening with customers and small troubles, which the pictures in docs/images show; then everything else that an
alert must see.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import grpc
import redis

from services.common.pb import tokens_pb2
from services.tokens.accounts import TOKEN_FIELD, Account, Token
from services.tokens.keyring import Keyring
from services.tokens.sqlite_accounts import SqliteAccounts
from services.tokens.subscription import WANTED
from tests.dashboards import DASHBOARDS, Query, queries
from tests.metrics_page import alerts
from tests.prometheus import Labels, sped_up_expression
from tests.system.stage import FACTOR, OURS, STEP, Stage, watched
from tests.system.supervisor import Supervisor
from tests.system.town import A, B, until

WINDOW = "5s"
SETTINGS = {
    "IGBOT_TEST_TIME_DIVISOR": "20",
    "SWEEP_SECONDS": "0.5",
    "MODEL_DELAY_SECONDS": "0.4",
    "QUIET_SECONDS": "0.5",
    "MAX_TRIES": "2",
}
MANY = 10_000
Points = list[tuple[float, float]]
Drawn = list[tuple[Labels, Points]]


@dataclass
class Night:
    """What was seen: each query's series, the alerts whose expression had a value, and each service's own series."""

    evening: dict[Query, Drawn] = field(default_factory=dict)
    whole: dict[Query, Drawn] = field(default_factory=dict)
    filled: set[str] = field(default_factory=set)
    unhealthy: list[str] = field(default_factory=list)
    first: dict[str, set[str]] = field(default_factory=dict)
    last: dict[str, set[str]] = field(default_factory=dict)


async def spent(folder: Path) -> Night:
    """Spend the night."""
    async with watched(Supervisor(folder, settings=SETTINGS)) as stage:
        return await scenes(stage)


async def evening(folder: Path) -> dict[Query, Drawn]:
    """Spend the evening alone, for the pictures."""
    async with watched(Supervisor(folder, settings=SETTINGS)) as stage:
        await before_anybody_is_there(stage, Night())
        began = time.time()
        await an_evening(stage)
        return await everything(stage, began)


async def scenes(stage: Stage) -> Night:
    """Each scene in its order; what Prometheus has seen is read at the end of the evening and of the night."""
    night = Night()
    began = time.time()
    await before_anybody_is_there(stage, night)
    at_six = time.time()
    await an_evening(stage)
    night.evening = await everything(stage, at_six)
    for scene in (redis_in_trouble, strangers, instagram_in_trouble, automatic_replies, tokens_in_trouble):
        await scene(stage)
    night.last = {name: await stage.metrics(name) for name in OURS}
    night.whole = await everything(stage, began)
    night.unhealthy = [f"{one['name']}: {one['lastError']}" for one in stage.watch.rules() if one["health"] != "ok"]
    for rule in alerts():
        expression = sped_up_expression(filled_in(rule["expr"]), FACTOR)
        if await asyncio.to_thread(stage.watch.query_range, expression, began, time.time(), STEP):
            night.filled.add(rule["alert"])
    return night


def filled_in(expression: str) -> str:
    """An alert's expression for our namespace and release."""
    return expression.replace("NAMESPACE", "demo").replace("FULLNAME", "igbot")


async def everything(stage: Stage, began: float) -> dict[Query, Drawn]:
    """What every query of every dashboard gives, from then till now."""
    now = time.time()
    span = f"{int(now - began)}s"
    asked = [query for path in DASHBOARDS for query in queries(path, window=WINDOW, span=span)]
    return {
        query: await asyncio.to_thread(stage.watch.query_range, query.expression, began, now, STEP) for query in asked
    }


async def before_anybody_is_there(stage: Stage, night: Night) -> None:
    """The gateway alone, with a delivery of five minutes ago: nobody takes it, and two services are not there."""
    machine = stage.machine
    machine.start("valkey")
    await machine.until_ready("valkey")
    with redis.Redis.from_url(machine.redis_url) as client:
        past = int((time.time() - 300) * 1000)
        client.xadd("inbox", {"body": b'{"object": "instagram", "entry": []}', "at": past}, id=f"{past}-0")
        client.xadd("inbox", {"body": delivery_to_nobody(), "at": past}, id=f"{past}-1")
    machine.start("gateway")
    await machine.until_ready("gateway")
    night.first["gateway"] = await stage.metrics("gateway")
    await stage.sees("max(igbot_inbox_oldest_seconds) > 120")
    for name in ("tokens", "responder", "sandbox"):
        machine.start(name)
    for name in ("tokens", "responder", "sandbox"):
        await machine.until_ready(name)
        if name in OURS:
            night.first[name] = await stage.metrics(name)
    await stage.sees("count(up == 1) == 3")
    await stage.town.connect(A)
    await stage.quietly(8)


def delivery_to_nobody() -> bytes:
    """A delivery for an account that is not ours, as Instagram sends it."""
    message = {"mid": "m_nobody", "text": "Is this the right number?"}
    item = {"sender": {"id": "6900000000000009"}, "recipient": {"id": "17841499999999999"}, "timestamp": 1}
    entry = {"id": "17841499999999999", "time": 1, "messaging": [{**item, "message": message}]}
    return json.dumps({"object": "instagram", "entry": [entry]}).encode()


@asynccontextmanager
async def customers(stage: Stage, first: int, pause: Callable[[int], float]) -> AsyncIterator[list[str]]:
    """New customers who write until the block ends."""
    wrote: list[str] = []

    async def write() -> None:
        while True:
            person = str(6_950_000_000_000_000 + first + len(wrote))
            await stage.town.say(person, f"{person}: do you have rye bread?")
            wrote.append(person)
            await asyncio.sleep(pause(len(wrote)))

    writing = asyncio.create_task(write())
    try:
        yield wrote
    finally:
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing


async def an_evening(stage: Stage) -> None:
    """Customers come and go; the model stumbles, a person takes over, one prompt is refused, one delivery is broken."""
    town = stage.town
    async with customers(stage, 0, lambda n: 0.25 + 0.2 * (n // 20 % 3)) as wrote:
        await stage.quietly(15)
        await town.control("human", account=A, person=wrote[3], text="Let me look that up for you.")
        await town.say(wrote[3], "Thank you!")
        await town.say(wrote[4], "stop")
        await town.connect(B)
        await town.control("faults", target="model", kind="status", status=503, times=12)
        await stage.quietly(12)
        await town.control("faults", target="model", kind="status", status=400, times=MANY, match="unspeakable")
        await town.say(wrote[5], "Something unspeakable")
        await town.deliver(b'{"object": "instagram", "entry": [')
        await stage.quietly(8)
        await town.control("faults", target="graph", kind="status", status=400, code=613, times=2, match='"text"')
        await town.say(wrote[4], "Hello?")
        async with town.http.get(f"{town.gateway}/oauth/callback", params={"state": "forged"}) as page:
            assert page.status == 400
        with suppress(grpc.aio.AioRpcError):  # the token is younger than a day
            await town.tokens.Refresh(tokens_pb2.RefreshRequest(account=A), timeout=10)
        await town.tokens.Check(tokens_pb2.CheckRequest(account=A), timeout=10)
        async with town.http.get(f"{town.gateway}/nowhere") as page:
            assert page.status == 404
        await stage.quietly(15)
    await stage.quietly(6)


async def redis_in_trouble(stage: Stage) -> None:
    """Redis is set to lose things, and fills up."""
    with redis.Redis.from_url(stage.machine.redis_url) as client:
        client.config_set("appendonly", "no")
        client.config_set("maxmemory", 12 << 20)
        junk = b"x" * 1_000_000

        async def full() -> bool:
            await stage.town.deliver(junk)  # a write of this size may be too slow as well, which is another 503
            return await stage.value('sum(igbot_webhook_deliveries_total{outcome="inbox_full"})') > 0

        await until(full, 120, "Redis is full of dead letters")
        await stage.sees('sum(igbot_webhook_deliveries_total{outcome="inbox_full"})')
        await stage.quietly(2)
        client.config_set("maxmemory", 256 << 20)


async def strangers(stage: Stage) -> None:
    """Somebody sends deliveries with a wrong signature, many."""
    forged = {"X-Hub-Signature-256": "sha256=" + "0" * 64, "Content-Type": "application/json"}
    for _ in range(40):
        assert await stage.town.deliver(b"{}", forged) == 403
        await asyncio.sleep(0.1)


async def instagram_in_trouble(stage: Stage) -> None:
    """A send of which nobody hears again, and a limit."""
    town, person = stage.town, "6959000000000001"
    await town.control("faults", target="graph", kind="status", status=500, times=MANY, match="conversations")
    await town.control("faults", target="graph", kind="reset", times=MANY, match=person)
    await town.say(person, "Are you there?")
    await stage.sees("max(igbot_sends_held)", 120)
    await stage.no_more_faults()
    await town.control("faults", target="graph", kind="status", status=400, code=613, times=4, match='"text"')
    await town.say("6959000000000002", "Hello?")
    await stage.sees('max(igbot_accounts_held{reason="rate_limited"})')
    await stage.no_more_faults()


async def automatic_replies(stage: Stage) -> None:
    """Something answers each customer within the second, and it is not the bot."""
    for n in range(6):
        person = str(6_960_000_000_000_000 + n)
        await stage.town.say(person, "Hi")
        await stage.town.control("human", account=A, person=person, text="Thanks for your message! We answer soon.")
    await stage.sees("max(igbot_automatic_replies_suspected)")


async def tokens_in_trouble(stage: Stage) -> None:
    """A dead token, a field that is not ticked, and five accounts whose tokens end soon and are rejected at once."""
    machine, town = stage.machine, stage.town
    await town.connect(B)
    await town.control("revoke", account=B)
    await town.say("6970000000000001", "Are you open?", account=B)
    await stage.sees('max(igbot_accounts{state="reauthorize"})')
    await town.control("dashboard", fields=[name for name in WANTED if name != "messages"])
    await town.connect(B)
    await stage.sees("max(igbot_accounts_unsubscribed)")
    running = machine.processes["tokens"].running
    running.terminate()
    await asyncio.to_thread(running.wait, 20)
    await old_accounts(machine.folder)
    await machine.restart("tokens")
    await stage.sees("max(igbot_mass_token_rejection)")
    await stage.sees("min(igbot_token_expiry_seconds) < bool 7 * 86400")
    await stage.sees("min(igbot_redis_safe) == bool 0", 75)  # looked at each minute
    await stage.quietly(3)


async def old_accounts(folder: Path) -> None:
    """Put five accounts into the token service's store, which nobody has looked after for weeks."""
    store, keys, now = SqliteAccounts(folder / "data"), Keyring(folder / "keys"), datetime.now(UTC)
    await store.open()
    for n in range(5):
        account = f"1784140000000009{n}"
        token = Token(keys.seal(account, TOKEN_FIELD, f"IGAAold{n}"), 1, now - timedelta(57), now + timedelta(3))
        found = Account(account, f"2764000000000009{n}", f"old_{n}", now, token=token, last_version=1, rejected_at=now)
        await store.put(account, partial(instead, found))
    await store.close()


def instead(found: Account, _before: Account | None) -> Account:
    """Put this account in the place of whatever was there."""
    return found
