"""What a test does with a running igbot: connect accounts, write messages, break things, read what happened."""

import asyncio
import hashlib
import hmac
import json
import time
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import grpc

from services.common.pb import responder_pb2, responder_pb2_grpc, tokens_pb2, tokens_pb2_grpc
from tests.system.supervisor import SECRET

A, B = "17841400000000001", "17841400000000002"
SCOPES = ("instagram_business_basic", "instagram_business_manage_messages")


def signed(body, secret=SECRET):
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-Hub-Signature-256": f"sha256={digest}", "Content-Type": "application/json"}


class Town:
    """The doors of one running igbot, as owners, customers, operators and Meta use them."""

    def __init__(self, machine, http):
        self.machine, self.http = machine, http
        self.sandbox, self.gateway = machine.url("sandbox"), machine.url("gateway")
        self.channels: list = []
        self.seen: list = []

    async def connect(self, *accounts):
        """Go through the OAuth pages as an owner's browser does."""
        for account in accounts:
            async with self.http.get(f"{self.gateway}/connect") as page:
                assert page.url.path == "/oauth/authorize", (page.status, str(page.url), await page.text())
                form = parse_qsl(urlsplit(str(page.url)).query)
            form += [("account", account), ("decision", "allow"), *(("scope_allowed", scope) for scope in SCOPES)]
            async with self.http.post(f"{self.sandbox}/oauth/authorize", data=form) as page:
                assert page.status == 200, await page.text()
                assert page.url.path == "/oauth/callback"

    async def control(self, what, **body):
        async with self.http.post(f"{self.sandbox}/sandbox/{what}", json=body) as answer:
            found = await answer.json()
            assert answer.status == 200, found
            return found

    async def say(self, person, text, account=A):
        return await self.control("say", account=account, person=person, text=text)

    async def ledger(self):
        """All entries so far; only the new ones are fetched."""
        query = {"since": str(len(self.seen))}
        async with self.http.get(f"{self.sandbox}/sandbox/ledger", params=query) as answer:
            found = await answer.json()
        self.waiting = found["waiting"]
        new = [entry for entry in found["entries"] if entry["n"] >= len(self.seen)]  # two may have asked at once
        self.seen += new
        return list(self.seen)

    async def entries(self, kind):
        return [entry for entry in await self.ledger() if entry["kind"] == kind]

    async def deliver(self, body, headers=None):
        """Post a body to the webhook; return the status."""
        headers = signed(body) if headers is None else headers
        async with self.http.post(f"{self.gateway}/webhook", data=body, headers=headers) as answer:
            return answer.status

    async def hand_over(self, body):
        """Post a body as Meta does, again after 503, which a slow disk may be; return the last status."""
        for _ in range(50):
            status = await self.deliver(body)
            if status != 503:
                break
            await asyncio.sleep(0.2)
        return status

    def _stub(self, make, name):
        channel = grpc.aio.insecure_channel(self.machine.address(name))
        self.channels.append(channel)
        return make(channel)

    @property
    def conversations(self):
        return self._stub(responder_pb2_grpc.ConversationsStub, "responder")

    @property
    def tokens(self):
        return self._stub(tokens_pb2_grpc.TokensStub, "tokens")

    async def conversation(self, account, person):
        """The responder's whole story of a conversation, None when it knows none."""
        try:
            return await self.conversations.Get(
                responder_pb2.GetRequest(account=account, person=person), timeout=10, wait_for_ready=True
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return None
            raise

    async def held(self):
        return list((await self.conversations.ListHeld(responder_pb2.ListHeldRequest(), timeout=10)).replies)

    async def accounts(self):
        return list((await self.tokens.ListAccounts(tokens_pb2.ListAccountsRequest(), timeout=10)).accounts)

    async def close(self):
        for channel in self.channels:
            await channel.close()


async def until(fact, seconds, what):
    """Wait until an async fact holds, and return it; fail with `what` after so many seconds."""
    give_up = time.monotonic() + seconds
    while True:
        found = await fact()
        if found:
            return found
        assert time.monotonic() < give_up, f"not within {seconds} s: {what() if callable(what) else what}"
        await asyncio.sleep(0.2)


@asynccontextmanager
async def running(machine, *accounts):
    """Run a machine with these accounts connected; on failure its logs stay in its folder."""
    jar = aiohttp.CookieJar(unsafe=True)  # cookies of 127.0.0.1
    async with aiohttp.ClientSession(cookie_jar=jar, timeout=aiohttp.ClientTimeout(total=30)) as http:
        town = Town(machine, http)
        try:
            await machine.start_all()
            await town.connect(*accounts)
            yield town
        finally:
            await town.close()
            with suppress(aiohttp.ClientError):
                (machine.folder / "ledger.json").write_text(json.dumps(await town.ledger()))
            await asyncio.to_thread(machine.stop_all)
