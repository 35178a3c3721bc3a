"""The world around a real responder process: a token service, Instagram and a model on loopback, with a memory."""

import asyncio
import os
import sys
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
from aiohttp import web

from services.common.pb import responder_pb2, responder_pb2_grpc, tokens_pb2, tokens_pb2_grpc
from tests.ports import free_port
from tests.responder.fakes import SCOPED, A
from tests.responder.town import ANNA

DIVISOR = 20
PATIENCE = 60
LIMIT = {"error": {"message": "too fast", "type": "OAuthException", "code": 613}}
FAULT = {"error": {"message": "unknown", "type": "OAuthException", "code": 1}}


class Lender(tokens_pb2_grpc.TokensServicer):
    async def GetToken(self, request, context):
        return tokens_pb2.GetTokenResponse(account=A, app_scoped_id=SCOPED[A], token="t", version=1, state="active")

    async def ListAccounts(self, request, context):
        one = tokens_pb2.Account(account=A, app_scoped_id=SCOPED[A], username="bakery", state="active")
        return tokens_pb2.ListAccountsResponse(accounts=[one])

    async def ReportRejected(self, request, context):
        return tokens_pb2.ReportRejectedResponse(state="active")


@dataclass
class Outer:
    """Serves the Graph API and the model; `script` says how the next messages go."""

    text: str
    script: list = field(default_factory=list)
    arrived: list = field(default_factory=list)  # (mid, text)
    shown: list = field(default_factory=list)
    on_arrival: Any = None
    model_calls: int = 0

    def app(self):
        app = web.Application()
        app.add_routes(
            [
                web.post("/v25.0/me/messages", self.message),
                web.get("/v25.0/me/conversations", self.conversations),
                web.get("/v25.0/t_1", self.conversation),
                web.get("/v25.0/{person}", self.person),
                web.post("/v1/chat/completions", self.model),
            ]
        )
        return app

    async def message(self, request):
        body = await request.json()
        if "message" not in body:
            return web.json_response({"recipient_id": ANNA})
        step = self.script.pop(0) if self.script else "success"
        if step == "timeout":
            await asyncio.sleep(15 / DIVISOR)
        if step in {"timeout", "500"}:
            return web.json_response(FAULT, status=500)
        if step == "429":
            return web.json_response(LIMIT, status=429)
        mid = f"out{len(self.arrived)}"
        self.arrived.append((mid, body["message"]["text"]))
        self.show(mid, A, body["message"]["text"])
        if self.on_arrival:
            await self.on_arrival(mid, body["message"]["text"])
        if step == "reset_after_the_body":
            request.transport.abort()
        if step == "sent_but_500":
            return web.json_response(FAULT, status=500)
        return web.json_response({"recipient_id": ANNA, "message_id": mid})

    def show(self, mid, sender, text):
        one = {"id": mid, "created_time": time.time(), "from": {"id": sender}, "message": text}
        self.shown.insert(0, one)

    async def conversations(self, request):
        return web.json_response({"data": [{"id": "t_1"}]})

    async def conversation(self, request):
        return web.json_response({"messages": {"data": self.shown[:20]}, "id": "t_1"})

    async def person(self, request):
        return web.json_response({})

    async def model(self, request):
        self.model_calls += 1
        message = {"role": "assistant", "content": self.text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response(
            {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        )


class Process:
    """`igbot responder`, started again whenever it was killed."""

    def __init__(self, folder, ports, **settings):
        self.folder, self.listen = folder, free_port()
        self.environment = {
            **{name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}},
            "DATABASE_URL": f"sqlite:///{folder}",
            "LISTEN_ADDRESS": f"127.0.0.1:{self.listen}",
            "OPS_ADDRESS": f"127.0.0.1:{free_port()}",
            "TOKENS_ADDRESS": f"127.0.0.1:{ports['tokens']}",
            "GRAPH_URL": f"http://127.0.0.1:{ports['web']}",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{ports['web']}/v1",
            "OPENAI_API_KEY": "pretend",
            "QUIET_SECONDS": "0",
            "LEASE_SECONDS": "1",
            "GAP_CHECK": "false",
            "IGBOT_TEST_TIME_DIVISOR": str(DIVISOR),
            **settings,
        }
        self.exits = []
        self.running: Any = None
        self.lifeline, self.held = os.pipe()  # it ends with the test, however that ends

    async def keep(self, kill_at):
        """Run it with this step deadly, then again and again without."""
        deadly = {"IGBOT_TEST_KILL_AT": kill_at}
        environment = {**self.environment, "IGBOT_LIFELINE": str(self.lifeline)}
        while True:
            command = (sys.executable, "-m", "services.cli.main", "responder")
            log = (self.folder / "log").open("ab")
            self.running = await asyncio.create_subprocess_exec(
                *command,
                env={**environment, **deadly},
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[self.lifeline],
            )
            log.close()
            self.exits.append(await self.running.wait())
            deadly = {}

    async def stop(self, keeping):
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
        with suppress(ProcessLookupError):
            self.running.kill()
        await self.running.wait()
        for end in (self.lifeline, self.held):
            os.close(end)

    @asynccontextmanager
    async def stub(self, make):
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.listen}") as channel:
            yield make(channel)

    async def deliver(self, *events):
        """Deliver as the gateway does: again until it is taken; a responder that never starts is a TimeoutError."""
        request = responder_pb2.DeliverRequest(events=events)
        async with asyncio.timeout(PATIENCE):
            while not await self.takes(request):
                await asyncio.sleep(0.05)

    async def takes(self, request):
        """Whether it has a final verdict for each event now."""
        try:
            async with self.stub(responder_pb2_grpc.ResponderStub) as stub:
                answer = await stub.Deliver(request, timeout=5, wait_for_ready=True)
        except grpc.aio.AioRpcError:
            return False
        return all(one.outcome != responder_pb2.OUTCOME_LATER for one in answer.verdicts)

    async def story(self):
        async with self.stub(responder_pb2_grpc.ConversationsStub) as stub:
            return await stub.Get(responder_pb2.GetRequest(account=A, person=ANNA), timeout=5, wait_for_ready=True)


@asynccontextmanager
async def served(outer):
    """The outer world's ports."""
    server = grpc.aio.server()
    tokens_pb2_grpc.add_TokensServicer_to_server(Lender(), server)
    ports = {"tokens": server.add_insecure_port("127.0.0.1:0")}
    await server.start()
    runner = web.AppRunner(outer.app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    ports["web"] = runner.addresses[0][1]
    try:
        yield ports
    finally:
        await runner.cleanup()
        await server.stop(0)


def event(mid, text, *, echo=False):
    sides = (A, ANNA) if echo else (ANNA, A)
    return responder_pb2.Event(
        kind=responder_pb2.KIND_MESSAGE,
        account=A,
        sender=sides[0],
        recipient=sides[1],
        timestamp_ms=int(time.time() * 1000),
        mid=mid,
        text=text,
        is_echo=echo,
    )
