"""The doctor's checks of what others run: the public address, the model, Instagram."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import grpc.aio

from services.cli.findings import Finding, why
from services.cli.operator import OperatorSettings
from services.common.pb import tokens_pb2 as pb

OPENAI = "https://api.openai.com/v1"
GRAPH = "https://graph.instagram.com"
NOBODY = "igbot-doctor"
RPC_SECONDS = 30.0


async def challenge(session: aiohttp.ClientSession, settings: OperatorSettings) -> Finding:
    """Whether our own webhook answers Meta's challenge through the public address."""
    token = settings.webhook_verify_token.get_secret_value()
    if not settings.public_url or not token:
        return Finding("webhook", None, "PUBLIC_URL or WEBHOOK_VERIFY_TOKEN is not set here")
    url = f"{settings.public_url.rstrip('/')}/webhook"
    query = {"hub.mode": "subscribe", "hub.verify_token": token, "hub.challenge": NOBODY}
    try:
        async with session.get(url, params=query) as answer:
            text = await answer.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        return Finding("webhook", False, f"{url} cannot be reached: {why(error)}", "is the tunnel or proxy up?")
    if answer.status == 200 and text == NOBODY:
        return Finding("webhook", True, "answers Meta's challenge through PUBLIC_URL")
    advice = "WEBHOOK_VERIFY_TOKEN is not the gateway's" if answer.status == 403 else "something else answers there"
    return Finding("webhook", False, f"answered {answer.status}", advice)


async def model(session: aiohttp.ClientSession, env: Mapping[str, str]) -> Finding:
    """Whether the language model answers one tiny question."""
    key = env.get("OPENAI_API_KEY")
    if not key:
        return Finding("model", None, "OPENAI_API_KEY is not set here")
    url = f"{(env.get('OPENAI_BASE_URL') or OPENAI).rstrip('/')}/chat/completions"
    question = {"model": _model_name(env), "messages": [{"role": "user", "content": "Say ok."}]}
    try:
        async with session.post(url, json=question, headers={"Authorization": f"Bearer {key}"}) as answer:
            status = answer.status
            body = await _json(answer)
    except (aiohttp.ClientError, TimeoutError) as error:
        return Finding("model", False, f"cannot be reached: {why(error)}", "OPENAI_BASE_URL ends in /v1")
    if status == 200 and body.get("choices"):
        return Finding("model", True, f"{question['model']} answers")
    advice = {
        401: "OPENAI_API_KEY is refused",
        404: "OPENAI_MODEL is not there, or OPENAI_BASE_URL is wrong",
        429: "too many calls, or no credit left",
    }.get(status, "see the provider's status page")
    return Finding("model", False, f"answered {status}", advice)


async def graph(session: aiohttp.ClientSession, env: Mapping[str, str]) -> Finding:
    """Whether the Graph API can be reached; asked without a token, it answers with an error of its own."""
    base = (env.get("GRAPH_URL") or GRAPH).rstrip("/")
    url = f"{base}/{env.get('GRAPH_VERSION') or 'v25.0'}/me"
    try:
        async with session.get(url) as answer:
            body = await _json(answer)
    except (aiohttp.ClientError, TimeoutError) as error:
        return Finding("graph", False, f"{base} cannot be reached: {why(error)}", "is there a way out?")
    if "error" in body:
        return Finding("graph", True, "reachable")
    return Finding("graph", False, f"answered {answer.status}, not as the Graph API does", "what is GRAPH_URL?")


async def accounts(settings: OperatorSettings) -> AsyncIterator[Finding]:
    """What the tokens service finds when it checks each account."""
    from services.cli.remote import tokens

    try:
        async with tokens(settings) as stub:
            listed = await stub.ListAccounts(pb.ListAccountsRequest(), timeout=RPC_SECONDS)
            if not listed.accounts:
                yield Finding("accounts", None, "none is connected", "connect one at PUBLIC_URL/connect")
            for account in listed.accounts:
                checked = await stub.Check(pb.CheckRequest(account=account.account), timeout=RPC_SECONDS)
                for found in checked.findings:
                    yield Finding(f"@{account.username} {found.check}", found.ok, found.found, found.advice)
    except grpc.aio.AioRpcError as error:
        yield Finding("accounts", None, f"cannot be asked: {error.details()}")


async def _json(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    try:
        body = await answer.json(content_type=None)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _model_name(env: Mapping[str, str]) -> str:
    """OPENAI_MODEL, or what the responder takes without it."""
    from services.responder.settings import Settings

    return env.get("OPENAI_MODEL") or str(Settings.model_fields["openai_model"].default)
