"""Ten faults: the alert fires, the commands of its runbook are typed, the fault is gone and the alert silent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest
import redis
from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from services.tokens.subscription import WANTED
from tests.mongo import MongoServer
from tests.system.demo import LINK, connect
from tests.system.installation import OURS, Installation, installed
from tests.system.supervisor import Supervisor
from tests.system.town import A, until
from tests.tokens.authority import Authority
from tests.tools import need

pytestmark = pytest.mark.long

ANNA, BEN, CARL = (str(6_940_000_000_000_000 + n) for n in range(3))
FASTER = {"IGBOT_TEST_TIME_DIVISOR": "20"}
MANY = 10_000
SWEEPING = {"SWEEP_SECONDS": "0.5"}


@asynccontextmanager
async def healthy(machine, *accounts, **options) -> AsyncIterator[Installation]:
    """An installation that has just answered its first customer."""
    async with installed(machine, *(accounts or (A,)), **options) as here:
        await here.town.say(ANNA, "Are you open?")
        await here.answered(ANNA)
        yield here


@asynccontextmanager
async def customers(here):
    """Let new customers write, a few a second, until the block ends; gives the list of who has written."""
    wrote: list[str] = []

    async def write():
        while True:
            person = str(6_941_000_000_000_000 + len(wrote))
            await here.town.say(person, f"{person}: do you have rye bread?")
            wrote.append(person)
            await asyncio.sleep(0.25)

    writing = asyncio.create_task(write())
    try:
        yield wrote
    finally:
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing


async def test_a_dead_token(tmp_path):
    alert = "IgbotAccountsNeedOwner"
    async with healthy(Supervisor(tmp_path, settings={**FASTER, **SWEEPING})) as here:
        await here.town.control("revoke", account=A)
        await here.town.say(BEN, "Is anybody there?")
        await here.fires(alert)
        assert "reauthorize" in await here.see_why(alert, {"ACCOUNT": A})

        async def the_owner_opens_the_link(said):
            (link,) = LINK.findall(said)
            await connect(here.town.http, link)

        await here.mend(alert, {"ACCOUNT": A}, None, the_owner_opens_the_link)
        await here.answered(BEN)
        await here.falls_silent(alert)


async def test_redis_is_full(tmp_path):
    alert = "IgbotDeliveriesRefused"
    async with healthy(Supervisor(tmp_path)) as here:
        with redis.Redis.from_url(here.machine.redis_url) as client:
            client.config_set("maxmemory", 6 << 20)
        answers = [0]

        async def full():
            answers.append(await here.town.deliver(b"x" * 200_000))
            return set(answers[-25:]) == {503}  # and stays so when Redis has let go of the buffers they came in

        await until(full, 30, "Redis is full of dead letters")
        async with customers(here) as wrote:
            await here.fires(alert)
            assert "unreadable" in await here.see_why(alert, {})
            await here.mend(alert, {"REASON": "unreadable"})
            await here.falls_silent(alert)
        for person in wrote:
            await here.answered(person)


async def test_the_model_is_down(tmp_path):
    alert = "IgbotModelDown"
    async with healthy(Supervisor(tmp_path, settings=FASTER)) as here, another_model() as address:
        await here.town.control("faults", target="model", kind="status", status=503, times=MANY)
        async with customers(here) as wrote:
            await here.fires(alert)
            assert "model" in await here.see_why(alert, {})
            await here.mend(alert, {"NEW_MODEL_URL": address, "NEW_MODEL_KEY": "another-key"})
            await here.falls_silent(alert)
        for person in wrote:
            await here.answered(person)


@asynccontextmanager
async def another_model():
    """Another provider with the OpenAI API; gives its address."""

    async def answer(_request):
        message = {"role": "assistant", "content": "Yes, still warm."}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        facts = {"id": "1", "object": "chat.completion", "created": 1, "model": "other", "choices": [choice]}
        return web.json_response(facts)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    await runner.cleanup()


async def test_the_app_secret_is_another(tmp_path):
    alert = "IgbotSignaturesWrong"
    async with healthy(Supervisor(tmp_path)) as here:
        sandbox = here.machine.processes["sandbox"].running
        sandbox.terminate()
        await asyncio.to_thread(sandbox.wait, 20)
        changed = "changed-in-the-dashboard"
        await here.machine.restart("sandbox", APP_SECRET=changed, INSTAGRAM_CLIENT_SECRET=changed)
        async with customers(here) as wrote:
            await here.fires(alert)
            assert "forged delivery" in await here.see_why(alert, {})
            await here.mend(alert, {"NEW_SECRET": changed})
            await here.falls_silent(alert)
        for person in wrote:
            await here.answered(person)


async def test_a_webhook_field_is_unsubscribed(tmp_path):
    alert = "IgbotWebhooksMissing"
    async with installed(Supervisor(tmp_path, settings=SWEEPING)) as here:
        await here.town.control("dashboard", fields=[name for name in WANTED if name != "messages"])
        await here.town.connect(A)
        await here.fires(alert)
        assert "tick in Meta's dashboard" in " ".join((await here.see_why(alert, {"ACCOUNT": A})).split())

        async def the_operator_ticks_it(_said):
            await here.town.control("dashboard", fields=list(WANTED))

        await here.mend(alert, {"ACCOUNT": A}, the_operator_ticks_it)
        await here.falls_silent(alert)
        await here.town.say(ANNA, "Are you open?")
        await here.answered(ANNA)


async def test_the_database_is_down(tmp_path, own_mongo: MongoServer):
    alert = "IgbotDatabaseDown"
    async with healthy(Supervisor(tmp_path / "igbot", own_mongo.url(), settings=SWEEPING)) as here:

        async def start():
            await asyncio.to_thread(own_mongo.start)

        here.units["mongod"] = start
        own_mongo.kill()
        await here.town.say(BEN, "Is anybody there?")
        await here.fires(alert)
        assert "MongoDB" in await here.see_why(alert, {})
        await here.mend(alert, {})
        await here.answered(BEN)
        await here.falls_silent(alert)


async def test_a_conversation_is_stuck(tmp_path):
    alert = "IgbotConversationsFailed"
    async with healthy(Supervisor(tmp_path, settings={**FASTER, "MAX_TRIES": "2"})) as here:
        await here.town.control("faults", target="model", kind="status", status=400, times=MANY, match="unspeakable")
        await here.town.say(BEN, "Something unspeakable")
        await here.town.say(CARL, "Something else")
        await here.answered(CARL)
        await here.fires(alert)
        facts = {"ACCOUNT": A, "PERSON": BEN}
        assert BEN in await here.see_why(alert, facts)

        async def the_cause_is_mended(_said):
            await here.town.http.delete(f"{here.town.sandbox}/sandbox/faults")

        await here.mend(alert, facts, the_cause_is_mended)
        await here.answered(BEN)
        await here.falls_silent(alert)


async def test_a_delivery_is_poison(tmp_path):
    alert = "IgbotDeadLetters"
    async with healthy(Supervisor(tmp_path)) as here:
        assert await here.town.hand_over(b'{"object": "instagram", "entry": [') == 200
        await here.town.say(BEN, "Behind the poison")
        await here.answered(BEN)
        await here.fires(alert)
        with redis.Redis.from_url(here.machine.redis_url) as client:
            ((letter, _),) = client.xrange("dead")
        facts = {"ID": letter.decode()}
        assert "unreadable" in await here.see_why(alert, facts)
        await here.mend(alert, facts)
        await here.falls_silent(alert)


async def test_meta_limits_the_rate(tmp_path):
    alert = "IgbotRateLimited"
    async with healthy(Supervisor(tmp_path, settings=FASTER)) as here:
        await here.town.control(
            "faults", target="graph", kind="status", status=400, code=613, times=MANY, match='"text"'
        )
        await here.town.say(BEN, "Is anybody there?")
        await here.fires(alert)
        assert BEN in await here.see_why(alert, {"ACCOUNT": A})

        async def the_limit_is_over(_said):
            await here.town.http.delete(f"{here.town.sandbox}/sandbox/faults")

        await here.mend(alert, {"ACCOUNT": A}, None, the_limit_is_over)
        await here.answered(BEN)
        await here.falls_silent(alert)


class Guarded(Supervisor):
    """With mutual TLS between the services, the certificates in `tls` beside everything else."""

    def own_settings(self, name):
        tls = {"GRPC_TLS_DIR": str(self.folder / "tls" / name)} if name in OURS else {}
        return {**super().own_settings(name), **tls}


async def test_a_certificate_is_expired(tmp_path):
    need("openssl")
    alert = "IgbotCertificateExpires"
    tls, authority = tmp_path / "tls", Authority(ends=timedelta(days=90))
    tls.mkdir()
    (tls / "ca.crt").write_bytes(authority.certificate)
    (tls / "ca.key").write_bytes(authority.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    for name in (*OURS, "operator"):
        authority.issue(tls / name, name, ends=timedelta(days=30))
    async with healthy(Guarded(tmp_path), env={"GRPC_TLS_DIR": str(tls / "operator")}) as here:
        for name in OURS:
            authority.issue(tls / name, name, ends=timedelta(hours=-1))
        await here.restart()  # connections are made anew each five minutes
        await here.town.say(BEN, "Is anybody there?")
        await here.fires(alert)
        assert "notAfter" in await here.see_why(alert, {})
        assert not any(one["person"] == BEN for one in await here.town.entries("send"))
        await here.mend(alert, {})
        await here.answered(BEN)
        await here.falls_silent(alert)
