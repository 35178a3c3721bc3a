"""A sandbox in this process with a clock that stands still, and a webhook that remembers."""

import asyncio
import itertools
import json
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
import tornado.httpserver
import tornado.netutil
import tornado.web

from services.sandbox.compose import application
from services.sandbox.courier import Courier
from services.sandbox.grants import Grants
from services.sandbox.settings import Settings
from services.sandbox.stage import Stage

A, B = "17841400000000001", "17841400000000002"
MIRA = "6900000000000501"
NOON = 1_790_856_000_000
BACK = "http://127.0.0.1:8080/oauth/callback"
SCOPES = ["instagram_business_basic", "instagram_business_manage_messages"]


@dataclass
class Webhook:
    """Takes deliveries in, and answers as it was told to."""

    taken: list = field(default_factory=list)
    statuses: list = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def bodies(self):
        return [json.loads(body) for _, body in self.taken]

    async def until(self, count):
        async with asyncio.timeout(10):
            while len(self.taken) < count:
                self.arrived.clear()
                await self.arrived.wait()


class Receiver(tornado.web.RequestHandler):
    def initialize(self, webhook):
        self.webhook = webhook

    def post(self):
        self.webhook.taken.append((dict(self.request.headers), self.request.body))
        self.webhook.arrived.set()
        self.set_status(self.webhook.statuses.pop(0) if self.webhook.statuses else 200)


def listening(app):
    server = tornado.httpserver.HTTPServer(app)
    sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    return server, f"http://127.0.0.1:{sockets[0].getsockname()[1]}"


@dataclass
class Sandbox:
    """The running sandbox and a client for it."""

    stage: Stage
    courier: Courier
    webhook: Webhook
    base: str
    http: aiohttp.ClientSession
    time: list
    settings: Settings

    async def get(self, path, token="", **params):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self.http.get(self.base + path, params=params, headers=headers, allow_redirects=False) as answer:
            return answer.status, await answer.json(content_type=None)

    async def post(self, path, body=None, token="", **options):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self.http.post(self.base + path, json=body, headers=headers, **options) as answer:
            return answer.status, await answer.json(content_type=None)

    async def decide(self, decision="allow", account=A, scopes=SCOPES):
        form = [("client_id", self.settings.instagram_client_id), ("redirect_uri", BACK), ("state", "s1")]
        form += [("account", account), ("decision", decision), *(("scope_allowed", scope) for scope in scopes)]
        async with self.http.post(f"{self.base}/oauth/authorize", data=form, allow_redirects=False) as answer:
            assert answer.status == 302
            return {name: one for name, (one,) in parse_qs(urlsplit(answer.headers["Location"]).query).items()}

    async def exchange(self, code, **changes):
        form = {
            "client_id": self.settings.instagram_client_id,
            "client_secret": "sandbox-secret",
            "grant_type": "authorization_code",
            "redirect_uri": BACK,
            "code": code,
            **changes,
        }
        async with self.http.post(f"{self.base}/oauth/access_token", data=form) as answer:
            return answer.status, await answer.json()

    async def short_token(self, account=A, scopes=SCOPES):
        return (await self.exchange((await self.decide(account=account, scopes=scopes))["code"]))[1]["access_token"]

    async def connect(self, account=A):
        """Connect an account as the tokens service does; return its long-lived token."""
        short = await self.short_token(account)
        long = await self.get(
            "/access_token", grant_type="ig_exchange_token", client_secret="sandbox-secret", access_token=short
        )
        token = long[1]["access_token"]
        fields = "messages,message_edit,message_reactions"
        assert (await self.post(f"/v25.0/me/subscribed_apps?subscribed_fields={fields}", token=token))[0] == 200
        return token

    async def say(self, text, person=MIRA, account=A):
        return (await self.post("/sandbox/say", {"account": account, "person": person, "text": text}))[1]["mid"]

    async def send(self, token, text, person=MIRA, **more):
        body = {"recipient": {"id": person}, "message": {"text": text}, **more}
        return await self.post("/v25.0/me/messages", body, token)

    async def ledger(self, kind=None):
        _, found = await self.get("/sandbox/ledger")
        return [entry for entry in found["entries"] if kind in {None, entry["kind"]}]


@pytest.fixture
async def sandbox():
    webhook, time, count = Webhook(), [NOON], itertools.count()
    receiver, address = listening(tornado.web.Application([("/webhook", Receiver, {"webhook": webhook})]))
    settings = Settings(webhook_url=(f"{address}/webhook",), redirect_uri=BACK, model_delay_seconds=0)
    grants = Grants(settings.instagram_client_id, "sandbox-secret", BACK)
    stage = Stage(grants, lambda: time[0], lambda start: f"{start}{next(count)}")
    server, base = listening(application(stage, settings))
    async with aiohttp.ClientSession() as http:
        courier = Courier(http, settings.webhook_url, settings.signing_secret, ledger=stage.ledger, faults=stage.faults)
        stage.office = courier
        yield Sandbox(stage, courier, webhook, base, http, time, settings)
        courier.drop_all()
        await asyncio.sleep(0)
    for one in (server, receiver):
        one.stop()
        await one.close_all_connections()
