"""A whole gateway in the test's own loop, with a real Valkey and a real gRPC server behind it."""

import asyncio
import hashlib
import hmac
import io
import json
import os
import subprocess
import sys
import urllib.request
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import grpc.aio
from prometheus_client.parser import text_string_to_metric_families

from services.common.pb import responder_pb2 as pb
from services.common.pb import responder_pb2_grpc as rpc
from services.common.pb import tokens_pb2 as tokens_pb
from services.common.pb import tokens_pb2_grpc as tokens_rpc
from services.common.settings import Address
from services.gateway.compose import Gateway
from services.gateway.settings import Settings
from services.gateway.times import Times
from tests.canary import SECRET as CANARY
from tests.canary import WORDS
from tests.ports import free_port

ROOT = Path(__file__).parent.parent.parent
SECRET, NEXT_SECRET = f"{CANARY}-1", f"{CANARY}-2"
VERIFY_TOKEN = f"{CANARY}-verify"
ACCOUNT = "17841400000000001"
BASE = 1_790_856_000_000
# Five times faster than in production, but for what depends on how busy this machine and its disk are.
TIMES = replace(Times().divided(5), keep=8.0, keep_again=8.0, answer=2.0, deliver=10.0, connect=10.0)
# For tests of how long a delivery waits for Redis.
PROMPT = replace(TIMES, keep=Times().keep, keep_again=Times().keep_again)
MAIN = "from services.gateway import compose; compose.main()"
# Production's times, but for a disk that takes longer than `keep` once in a while: that is a 503, and none is wanted.
PATIENT = """
from dataclasses import replace
from services.gateway import compose
from services.gateway.times import Times
compose.Times = lambda: replace(Times(), keep=8.0, keep_again=8.0)
compose.main()
"""
LOOPBACK = Address("127.0.0.1", 0)


def sign(body, secret=SECRET):
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def message(n, person=1, text=WORDS, **more):
    return {
        "sender": {"id": str(6900 + person)},
        "recipient": {"id": ACCOUNT},
        "timestamp": BASE + n,
        "message": {"mid": f"m{n}", "text": text, **more},
    }


def delivery(*items, account=ACCOUNT):
    entry = {"id": account, "time": BASE, "messaging": list(items)}
    return json.dumps({"object": "instagram", "entry": [entry]}).encode()


@asynccontextmanager
async def link(port):
    """A connection of the test's own; dropped at the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


async def until(fact, seconds=10.0):
    """Wait for a fact; it is looked at as often as the loop turns."""
    result = None
    async with asyncio.timeout(seconds):
        while not (result := fact()):
            await asyncio.sleep(0.002)
    return result


class FakeResponder(rpc.ResponderServicer, rpc.ConversationsServicer):
    """Remembers what it was given; `verdict` and `status` may be set to what it shall say."""

    def __init__(self):
        self.events = []  # each once, in the order of arrival
        self.calls = []  # the mids of each call
        self.known = set()
        self.gaps = 0
        self.erased = []
        self.erase_status = None
        self.slow = asyncio.Event()  # while it is not set, an erase takes its time
        self.slow.set()
        self.delivering = asyncio.Event()  # and while this is not, a Deliver does
        self.delivering.set()
        self.verdict = lambda _event: None
        self.status = lambda _events: None

    async def Deliver(self, request, context):
        self.calls.append([event.mid for event in request.events])
        await self.delivering.wait()
        status = self.status(request.events)
        if status:
            await context.abort(status, "as the test asked")
        return pb.DeliverResponse(verdicts=[self.judge(event) for event in request.events])

    def judge(self, event):
        said = self.verdict(event)
        if said and said.outcome != pb.OUTCOME_STORED:
            return said
        key = (event.account, event.kind, event.mid, event.num_edit, event.action)
        if key in self.known:
            return pb.Verdict(outcome=pb.OUTCOME_DUPLICATE)
        self.known.add(key)
        self.events.append(event)
        return pb.Verdict(outcome=pb.OUTCOME_STORED)

    async def CheckGaps(self, request, context):
        self.gaps += 1
        return pb.CheckGapsResponse(checked=1, found=2, skipped=3)

    async def Erase(self, request, context):
        await self.slow.wait()
        if self.erase_status:
            await context.abort(self.erase_status, "as the test asked")
        self.erased.append((request.account, request.person))
        return pb.EraseResponse(erased=1)

    @property
    def mids(self):
        return [event.mid for event in self.events]


class FakeTokens(tokens_rpc.TokensServicer):
    """Knows codes, each good once, and remembers what was dropped."""

    def __init__(self):
        self.codes = {"good-code"}
        self.spent = []
        self.status = None
        self.detail = ""
        self.missing = []
        self.slow = asyncio.Event()
        self.slow.set()
        self.log = []
        self.forget_failures = 0
        self.asked_at = []
        self.former = []
        self.row_is_gone = False
        self.connected_ms = 0

    async def Connect(self, request, context):
        await self.slow.wait()
        if self.status:
            await context.abort(self.status, self.detail)
        if request.code not in self.codes:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "Instagram says that this code was used already or is unknown"
            )
        self.codes.discard(request.code)
        self.spent.append((request.code, request.redirect_uri))
        account = tokens_pb.Account(account=ACCOUNT, username="north_pier_bakery", state="active")
        return tokens_pb.ConnectResponse(account=account, missing_fields=self.missing)

    async def Disconnect(self, request, context):
        if self.status:
            await context.abort(self.status, "down")
        self.log.append(("disconnect", request.account))
        self.asked_at.append(request.unless_connected_since_ms)
        if self.row_is_gone or not request.account.startswith("2764"):
            return tokens_pb.DisconnectResponse()
        again = self.connected_ms > request.unless_connected_since_ms
        return tokens_pb.DisconnectResponse(account=ACCOUNT, former=self.former, connected_again=again)

    async def Forget(self, request, context):
        if self.forget_failures:
            self.forget_failures -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "down")
        self.log.append(("forget", request.app_scoped_id))
        return tokens_pb.ForgetResponse()


@asynccontextmanager
async def serving(*registrations, port=0):
    """A gRPC server with these servicers; yields its port."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 16 << 20), ("grpc.so_reuseport", 0)])
    for register, servicer in registrations:
        register(servicer, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(0)


@asynccontextmanager
async def responding(responder, port=0):
    both = (rpc.add_ResponderServicer_to_server, responder), (rpc.add_ConversationsServicer_to_server, responder)
    async with serving(*both, port=port) as bound:
        yield bound


class World:
    """What a test has in hand: gateways, their Redis, the services behind them, and a client."""

    def __init__(self, redis_server, responder, tokens, ports, session):
        self.redis_server = redis_server
        self.redis = redis_server.client()
        self.responder = responder
        self.tokens = tokens
        self.responder_port, self.tokens_port = ports
        self.session = session
        self.gateways = []

    def settings(self, **more):
        values = {
            "instagram_client_id": "990",
            "redirect_uri": "http://127.0.0.1:8080/oauth/callback",
            "app_secret": f"{SECRET},{NEXT_SECRET}",
            "webhook_verify_token": VERIFY_TOKEN,
            "redis_url": self.redis_server.url,
            "responder_address": Address("127.0.0.1", self.responder_port),
            "tokens_address": Address("127.0.0.1", self.tokens_port),
            "listen_address": LOOPBACK,
            "ops_address": LOOPBACK,
            "drain_seconds": 0.5,
            **more,
        }
        return Settings(**values)

    def start(self, times=TIMES, **more):
        gateway = Gateway(self.settings(**more), times)
        gateway.start()
        self.gateways.append(gateway)
        return gateway

    async def stop(self, gateway):
        self.gateways.remove(gateway)
        await gateway.stop()

    def url(self, path="/webhook", gateway=None):
        return f"http://127.0.0.1:{(gateway or self.gateways[0]).web.port}{path}"

    async def post(self, body, signature=None, gateway=None):
        """Post a delivery; return the status."""
        headers = {"X-Hub-Signature-256": sign(body) if signature is None else signature}
        async with self.session.post(self.url(gateway=gateway), data=io.BytesIO(body), headers=headers) as answer:
            await answer.read()
            return answer.status

    async def deliver(self, body):
        """Post a delivery as Meta does, again after 503; return the last status."""
        for _ in range(50):
            status = await self.post(body)
            if status != 503:
                break
            await asyncio.sleep(0.1)
        return status

    def inbox(self):
        return self.redis.xlen("inbox")

    def dead(self):
        return [
            {name.decode(): value.decode(errors="replace") for name, value in fields.items()}
            for _, fields in self.redis.xrange("dead")
        ]

    async def metric(self, name, gateway=None, **labels):
        gateway = gateway or self.gateways[0]
        async with self.session.get(f"http://127.0.0.1:{gateway.ops.port}/metrics") as answer:
            text = await answer.text()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return sample.value
        raise AssertionError(f"no metric {name} {labels}")


@asynccontextmanager
async def world_on(redis_server):
    responder, tokens = FakeResponder(), FakeTokens()
    register = (tokens_rpc.add_TokensServicer_to_server, tokens)
    async with responding(responder) as one, serving(register) as two, aiohttp.ClientSession() as session:
        made = World(redis_server, responder, tokens, (one, two), session)
        try:
            yield made
        finally:
            for gateway in list(made.gateways):
                await made.stop(gateway)
            made.redis.close()


@dataclass
class GatewayProcess:
    """A gateway in a process of its own, with the times of production, or PATIENT ones."""

    process: subprocess.Popen[bytes]
    port: int
    ops_port: int

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/webhook"

    def kill(self):
        self.process.kill()
        self.process.wait()

    def ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ops_port}/readyz", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False


def start_gateway(world, port=0, *, program=MAIN, **more):
    port, ops = port or free_port(), free_port()
    settings = {
        "INSTAGRAM_CLIENT_ID": "990",
        "REDIRECT_URI": f"http://127.0.0.1:{port}/oauth/callback",
        "APP_SECRET": SECRET,
        "WEBHOOK_VERIFY_TOKEN": VERIFY_TOKEN,
        "REDIS_URL": world.redis_server.url,
        "RESPONDER_ADDRESS": f"127.0.0.1:{world.responder_port}",
        "TOKENS_ADDRESS": f"127.0.0.1:{world.tokens_port}",
        "LISTEN_ADDRESS": f"127.0.0.1:{port}",
        "OPS_ADDRESS": f"127.0.0.1:{ops}",
        **more,
    }
    command = [sys.executable, "-c", program]
    environment = {"PATH": os.environ["PATH"], **settings}
    process = subprocess.Popen(command, cwd=ROOT, env=environment)  # its output is the test's
    return GatewayProcess(process, port, ops)


@asynccontextmanager
async def gateway_process(world, **more):
    started = start_gateway(world, **more)
    try:
        await until(started.ready, seconds=20)
        yield started
    finally:
        started.kill()
