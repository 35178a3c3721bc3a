import asyncio
from contextlib import asynccontextmanager
from functools import partial

import aiohttp
import grpc.aio
import pytest
from prometheus_client import CollectorRegistry

from services.common import graph
from services.common.errors import BadState, BotError, NotConnected, RateLimited, Unavailable
from services.common.graph_errors import GraphError, GraphFailure
from services.common.metrics import CommonMetrics, Dependency
from services.common.ops import Health
from services.common.pb import tokens_pb2 as pb
from services.common.pb import tokens_pb2_grpc
from services.common.rpc import Channel, RpcServer
from services.common.rpc_guard import Guard
from services.common.settings import Address
from services.common.traffic import Ending, Target, ending_of, ending_of_http, outbound_calls, served_rpcs

HERE = Address("127.0.0.1", 0)


def graph_failure(status, code=None, **more):
    return GraphFailure("no", reached=True, error=GraphError(status=status, code=code), **more)


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (BadState("forged"), Ending.REFUSED),
        (NotConnected("reauthorize"), Ending.REFUSED),
        (RateLimited("slow down"), Ending.LIMITED),
        (Unavailable("gone"), Ending.DOWN),
        (BotError("hm"), Ending.FAILED),
        (ValueError("hm"), Ending.FAILED),
        (TimeoutError(), Ending.SLOW),
        (asyncio.CancelledError(), Ending.LEFT),
        (GraphFailure("not reached", reached=False), Ending.DOWN),
        (GraphFailure("no answer", reached=True, slow=True), Ending.SLOW),
        (GraphFailure("no answer", reached=True), Ending.FAILED),
        (graph_failure(500), Ending.FAILED),
        (graph_failure(400, 190), Ending.REFUSED),
        (graph_failure(400, 613), Ending.LIMITED),
    ],
)
def test_how_a_call_ended(error, ending):
    assert ending_of(error) is ending


@pytest.mark.parametrize(
    ("status", "ending"), [(200, "ok"), (302, "ok"), (404, "refused"), (429, "limited"), (502, "failed"), (503, "down")]
)
def test_how_a_request_ended(status, ending):
    assert ending_of_http(status) == ending


@asynccontextmanager
async def counted_tokens(servicer):
    """A token service that counts its calls, a channel to it that counts them as well, and both counts."""
    registry = CollectorRegistry()
    server = RpcServer(HERE, None, None, served_rpcs(registry, ["GetToken", "RotateKeys"]))
    tokens_pb2_grpc.add_TokensServicer_to_server(servicer, server.server)
    await server.start()
    calls = outbound_calls(registry, [Target.TOKENS])
    channel = Channel(f"127.0.0.1:{server.port}", watch=partial(calls.timed, Target.TOKENS))
    try:
        yield channel, partial(values, registry)
    finally:
        await channel.close()
        await server.stop(0)


def values(registry, name):
    """What a counter has counted, by its class, without zeros."""
    [family] = [one for one in registry.collect() if one.name == name]
    return {row.labels["class"]: row.value for row in family.samples if row.name.endswith("_total") and row.value}


class Lender(tokens_pb2_grpc.TokensServicer):
    """Lends to one account."""

    async def GetToken(self, request, context):
        if request.account != "1":
            raise NotConnected("reauthorize")
        return pb.GetTokenResponse(account="1")

    async def RotateKeys(self, request, context):
        yield pb.RotateKeysProgress()
        raise Unavailable("the store is gone")


async def ask(channel, account):
    with channel.watch():
        return await channel.stub(tokens_pb2_grpc.TokensStub).GetToken(pb.GetTokenRequest(account=account), timeout=5)


async def test_an_rpc_is_counted_on_both_sides():
    async with counted_tokens(Lender()) as (channel, counts):
        await ask(channel, "1")
        with pytest.raises(grpc.aio.AioRpcError):
            await ask(channel, "2")
        with pytest.raises(grpc.aio.AioRpcError):
            async for _ in channel.stub(tokens_pb2_grpc.TokensStub).RotateKeys(pb.RotateKeysRequest(), timeout=5):
                pass
        assert counts("igbot_rpcs") == {"ok": 1, "refused": 1, "down": 1}
        assert counts("igbot_outbound_calls") == {"ok": 1, "refused": 1}


async def test_a_caller_that_may_not_call_is_counted():
    registry = CollectorRegistry()
    guard = Guard({"GetToken": frozenset({"responder"})}, tls=True, traffic=served_rpcs(registry, ["GetToken"]))

    class Context:
        def auth_context(self):
            return {"x509_subject_alternative_name": [b"gateway"]}

        async def abort(self, code, details):
            raise PermissionError(details)

    with pytest.raises(PermissionError):
        await guard._checked("GetToken", None, stream=False)(None, Context())
    assert values(registry, "igbot_rpcs") == {"refused": 1}


async def test_a_dependency_is_up_until_a_call_of_it_fails_and_again_when_one_is_answered():
    registry = CollectorRegistry()
    calls = outbound_calls(registry, [Target.GRAPH_READ, Target.GRAPH_SEND, Target.HANDOVER_URL])
    health = Health(CommonMetrics(registry, [Dependency.GRAPH]), [])
    health.listen(calls)

    def up():
        return registry.get_sample_value("igbot_dependency_up", {"dependency": "graph"})

    assert up() == 1
    async with aiohttp.ClientSession() as session:
        client = graph.GraphClient(session, "http://127.0.0.1:1", 2, calls.timed)
        with pytest.raises(GraphFailure):
            await client.get("me", {})
        assert (up(), health.checks["graph"]) == (0, "graph_read: down")
    with pytest.raises(asyncio.CancelledError), calls.timed(Target.GRAPH_SEND):
        raise asyncio.CancelledError
    assert up() == 0
    with pytest.raises(GraphFailure), calls.timed(Target.GRAPH_SEND):
        raise graph_failure(400, 190)
    assert (up(), health.checks["graph"]) == (1, "ok")
    with pytest.raises(Unavailable), calls.timed(Target.HANDOVER_URL):
        raise Unavailable("the operator's own address")
    assert up() == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "target"),
    [
        ("POST", "me/messages", {"message": {"text": "hi"}}, Target.GRAPH_SEND),
        ("POST", "me/messages", {"sender_action": "typing_on"}, Target.GRAPH_ACTION),
        ("GET", "me/conversations", None, Target.GRAPH_READ),
        ("GET", "refresh_access_token", None, Target.GRAPH_TOKEN),
        ("POST", "v25.0/me/subscribed_apps", None, Target.GRAPH_SUBSCRIPTION),
        ("POST", "https://api.instagram.com/oauth/access_token", None, Target.OAUTH),
    ],
)
def test_each_call_of_instagram_has_a_target(method, path, body, target):
    assert graph.target_of(method, path, body) is target
