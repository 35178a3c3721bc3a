"""Notes to the operator's own addresses are signed, and anything but a 2xx is to be tried again."""

import hashlib
import hmac
import json

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from services.common.errors import Unavailable
from services.common.signed_notes import SignedNotes


@pytest.fixture
async def address():
    """An address that remembers what it was sent and answers as told."""
    seen, statuses = [], []

    async def take(request):
        seen.append((request.headers, await request.read()))
        return web.Response(status=statuses.pop(0) if statuses else 204, headers={"Location": "/elsewhere"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook", seen, statuses
    await runner.cleanup()


async def post(url, content):
    async with aiohttp.ClientSession() as session:
        await SignedNotes(session, url, SecretStr("sesame"), "HANDOVER_URL").post(content)


async def test_a_note_is_json_signed_over_the_raw_body(address):
    url, seen, _ = address
    await post(url, {"id": "1", "reason": "held"})
    headers, body = seen[0]
    assert json.loads(body) == {"id": "1", "reason": "held"}
    digest = hmac.new(b"sesame", body, hashlib.sha256).hexdigest()
    assert headers["X-Igbot-Signature-256"] == f"sha256={digest}"


@pytest.mark.parametrize("status", [301, 400, 404, 500, 503])
async def test_anything_but_a_2xx_is_unavailable_and_no_redirect_is_followed(address, status):
    url, seen, statuses = address
    statuses.append(status)
    with pytest.raises(Unavailable, match=f"HANDOVER_URL answers {status}"):
        await post(url, {})
    assert len(seen) == 1


async def test_silence_is_unavailable_and_the_address_stays_out_of_the_error():
    with pytest.raises(Unavailable) as found:
        await post("http://127.0.0.1:1/hook?key=secret", {})
    assert "secret" not in str(found.value)
    assert found.value.__cause__ is None
