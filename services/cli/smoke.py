"""`igbot smoke`: does a running igbot take deliveries in, refuse forged ones, and are its services up?"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator

import aiohttp
import grpc
import grpc.aio

from services.cli.findings import Finding, why
from services.cli.operator import OperatorSettings
from services.cli.remote import details
from services.common.rpc import Channel, TlsFiles, tls_files
from services.common.settings import Address

SECONDS = 10.0


async def smoke(settings: OperatorSettings) -> AsyncIterator[Finding]:
    """Make each check in turn. Nobody is answered: the delivery is a dashboard's test, for no account."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS)) as session:
        async for finding in deliveries(session, settings):
            yield finding
    tls = tls_files(settings.grpc_tls_dir)
    yield await health("tokens", settings.tokens_address, tls)
    yield await health("responder", settings.responder_address, tls)


async def deliveries(session: aiohttp.ClientSession, settings: OperatorSettings) -> AsyncIterator[Finding]:
    """Whether PUBLIC_URL takes a signed delivery and refuses a forged one."""
    webhook = f"{settings.public_url.rstrip('/')}/webhook"
    body = dashboard_test(now_ms=int(time.time() * 1000))
    yield await post("signed delivery", session, webhook, body, sign(body, settings.app_secret[0]), 200)
    yield await post("forged delivery", session, webhook, body, "sha256=" + "0" * 64, 403)


def dashboard_test(*, now_ms: int) -> bytes:
    """The body that Meta's dashboard sends as a test: account 0, made-up people, a time in seconds as text."""
    value = {
        "sender": {"id": "12334"},
        "recipient": {"id": "23245"},
        "timestamp": "1527459824",
        "message": {"mid": "random_mid", "text": "random_text"},
    }
    entry = {"id": "0", "time": now_ms // 1000, "changes": [{"field": "messages", "value": value}]}
    return json.dumps({"object": "instagram", "entry": [entry]}).encode()


def sign(body: bytes, secret: str) -> str:
    """The header X-Hub-Signature-256 for a body."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


async def post(
    check: str, session: aiohttp.ClientSession, url: str, body: bytes, signature: str, wanted: int
) -> Finding:
    """Whether a delivery is answered as it must be."""
    headers = {"Content-Type": "application/json", "X-Hub-Signature-256": signature}
    try:
        async with session.post(url, data=body, headers=headers) as answer:
            status = answer.status
    except (aiohttp.ClientError, TimeoutError) as error:
        return Finding(check, False, f"cannot be reached: {why(error)}", f"is {url} the gateway?", unreachable=True)
    advice = {
        403: "APP_SECRET is not the gateway's, or something on the way drops X-Hub-Signature-256",
        503: "the gateway cannot write to its Redis",
    }.get(status, "")
    return Finding(check, status == wanted, f"answered {status}", advice or f"must be {wanted}")


async def health(name: str, address: Address, tls: TlsFiles | None) -> Finding:
    """Whether a service says that it serves."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    channel = Channel(address, tls)
    try:
        stub = channel.stub(health_pb2_grpc.HealthStub)
        request = health_pb2.HealthCheckRequest()
        answer = await stub.Check(request, timeout=SECONDS)  # type: ignore[attr-defined]  # its stubs leave it out
    except grpc.aio.AioRpcError as error:
        return Finding(
            name, False, f"cannot be reached: {details(error)}", f"is {name} at {address}?", unreachable=True
        )
    finally:
        await channel.close()
    serving = answer.status == health_pb2.HealthCheckResponse.SERVING
    return Finding(name, serving, "serving" if serving else "not serving", "see its /readyz for what it waits for")
