"""The doctor's checks of what the world sees: the webhook behind PUBLIC_URL, its certificate, and the Graph API."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from services.cli.doctor_services import in_time
from services.cli.findings import Finding, unreached, why
from services.cli.operator import OperatorSettings
from services.cli.smoke import dashboard_test, deliveries, post, sign

GRAPH = "https://graph.instagram.com"
NOBODY = "igbot-doctor"
DAYS_LEFT = 14
HANDSHAKE_SECONDS = 10.0
ALTERED = "something in front of the gateway changes bodies: it must pass each byte as it came"
TRUSTED = "Meta refuses it too: use one that browsers trust, for this very host, with its whole chain"


async def webhook(session: aiohttp.ClientSession, settings: OperatorSettings) -> AsyncIterator[Finding]:
    """Whether challenge, signature and body come through PUBLIC_URL as Meta sends them."""
    answered = await challenge(session, settings)
    yield answered
    if not answered.ok:
        return
    if not settings.app_secret:
        yield Finding("signed delivery", None, "APP_SECRET is not set here")
        return
    plain = [finding async for finding in deliveries(session, settings)]
    for finding in plain:
        yield finding
    if plain[0].ok:
        yield await raw(session, settings)


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
        found, advice = f"{url} cannot be reached: {why(error)}", "is the tunnel or proxy up?"
        return Finding("webhook", False, found, advice, unreachable=unreached(error))
    if answer.status == 200 and text == NOBODY:
        return Finding("webhook", True, "answers Meta's challenge through PUBLIC_URL")
    advice = "WEBHOOK_VERIFY_TOKEN is not the gateway's" if answer.status == 403 else "something else answers there"
    return Finding("webhook", False, f"answered {answer.status}", advice)


async def raw(session: aiohttp.ClientSession, settings: OperatorSettings) -> Finding:
    """Whether bytes that a tidy proxy would write anew arrive as they were signed."""
    url = f"{settings.public_url.rstrip('/')}/webhook"
    body = dashboard_test(now_ms=int(time.time() * 1000)).replace(b": ", b" :\t") + b"\r\n "
    found = await post("raw body", session, url, body, sign(body, settings.app_secret[0]), 200)
    return found if found.ok or found.unreachable else Finding("raw body", False, found.found, ALTERED)


async def graph(session: aiohttp.ClientSession, env: Mapping[str, str]) -> AsyncIterator[Finding]:
    """Whether the Graph API can be reached (asked without a token, it answers with an error), and its clock."""
    base = (env.get("GRAPH_URL") or GRAPH).rstrip("/")
    url = f"{base}/{env.get('GRAPH_VERSION') or 'v25.0'}/me"
    try:
        async with session.get(url) as answer:
            body = await _json(answer)
    except (aiohttp.ClientError, TimeoutError) as error:
        found, advice = f"{base} cannot be reached: {why(error)}", "is there a way out?"
        yield Finding("graph", False, found, advice, unreachable=unreached(error))
        return
    if "error" in body:
        yield Finding("graph", True, "reachable")
    else:
        yield Finding("graph", False, f"answered {answer.status}, not as the Graph API does", "what is GRAPH_URL?")
    if "Date" in answer.headers:
        yield in_time("graph clock", parsedate_to_datetime(answer.headers["Date"]).timestamp(), now=time.time())


async def certificate(public_url: str) -> Finding:
    """Whether browsers and Meta trust the certificate of PUBLIC_URL, and for how long yet."""
    parts = urlsplit(public_url)
    if parts.scheme != "https":
        return Finding("certificate", None, "PUBLIC_URL is not https", "Meta delivers to https addresses only")
    try:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            context = ssl.create_default_context()
            _, writer = await asyncio.open_connection(parts.hostname, parts.port or 443, ssl=context)
    except ssl.SSLCertVerificationError as error:
        return Finding("certificate", False, error.verify_message, TRUSTED)
    except (OSError, TimeoutError) as error:
        found = f"cannot be looked at: {why(error)}"
        return Finding(
            "certificate", False, found, "is PUBLIC_URL right?", unreachable=not isinstance(error, ssl.SSLError)
        )
    shown: Any = writer.get_extra_info("peercert")
    writer.transport.abort()
    days = (ssl.cert_time_to_seconds(shown["notAfter"]) - time.time()) / 86_400
    advice = "it should have been renewed by now: look at cert-manager, or at whoever renews it"
    return Finding("certificate", days > DAYS_LEFT, f"trusted, {days:.0f} days left", advice)


async def _json(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    try:
        body = await answer.json(content_type=None)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
