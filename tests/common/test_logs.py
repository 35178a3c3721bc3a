"""What never stands in a log, whatever is logged, by whom, and at which level. Each secret here is made up."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from pydantic import SecretStr

from services.common.redact import MASK, Redactor

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "IGAAmadeUpForTheseTests0123456789abcdefZD"
WORD = "hunter2hunter2"
DIGEST = "0123456789abcdef" * 4
SIGNED = "x" * 43 + ".eyJhbGdvcml0aG0iOiJITUFDLVNIQTI1NiJ9"


def redacted(secrets=(), **event):
    return Redactor(secrets=secrets)(None, "info", event)


@pytest.mark.parametrize(
    ("said", "secret"),
    [
        (f"the token {TOKEN} is dead", TOKEN),
        (TOKEN, TOKEN),
        (f"_{TOKEN}", TOKEN),
        (f"redirect=https%3A%2F%2Fx%3Ft%3D{TOKEN}", TOKEN),
        ("EAABmadeUpOldToken0123456789", "EAABmadeUpOldToken0123456789"),
        ("1000000000000001|madeUpAppSecret_", "madeUpAppSecret_"),
        ("key sk-proj-madeUp_0123456789", "sk-proj-madeUp_0123456789"),
        (f"GET /me?fields=id&access_token={WORD}&x=1", WORD),
        (f"client_id=1&client_secret={WORD}", WORD),
        (f"signed_request={WORD}", WORD),
        (f"a payload {SIGNED} of Meta", SIGNED),
        (f"?hub.mode=subscribe&hub.verify_token={WORD}&hub.challenge=1", WORD),
        ("/oauth/callback?code=AQB1madeUpCode0123456789#_", "AQB1madeUpCode0123456789"),
        ("code=AQB1madeUpCode0123456789&grant_type=authorization_code", "AQB1madeUpCode0123456789"),
        ("?state=madeUpState0123456789&x", "madeUpState0123456789"),
        ('{"code": "AQB1madeUpCode0123456789"}', "AQB1madeUpCode0123456789"),
        (f'{{"access_token": "{WORD}", "expires_in": 1}}', WORD),
        (f"{{'client_secret': '{WORD}'}}", WORD),
        (f"Authorization: Bearer {WORD}", WORD),
        (f"authorization: bearer {WORD}", WORD),
        ("Authorization: Basic aHVudGVyMjpodW50ZXIy", "aHVudGVyMjpodW50ZXIy"),
        (f"X-Hub-Signature-256: sha256={DIGEST}", DIGEST),
        (f"cannot reach redis://:{WORD}@127.0.0.1:6379/0", WORD),
        (f"mongodb+srv://igbot:{WORD}@cluster0.example.net/igbot", WORD),
    ],
)
@pytest.mark.parametrize("wrapped", [str, lambda said: [said], lambda said: {"a": (said,)}, ValueError, Path])
def test_a_secret_is_known_by_its_shape(said, secret, wrapped):
    shown = json.dumps(redacted(error=wrapped(said)))
    assert secret not in shown
    assert MASK in shown


@pytest.mark.parametrize(
    "said",
    [
        "17841400000000001",
        "aWdfZAG1faXRlbToxOklHTWVzc2FnZAUlEOjE3ODQxNDAwMDAwMDAwMDAxOjM0MDI4MjM2Njg0MTcxMDMwMTI0NDI3Nj",
        '{"error": {"message": "Invalid OAuth access token", "type": "OAuthException", "code": 190}}',
        "state=reauthorize",
        "http://127.0.0.1:8080/webhook",
        "WRONGTYPE Operation against a key",
        "basic display",
    ],
)
def test_what_is_no_secret_stays_readable(said):
    assert redacted(found=said) == {"found": said}


@pytest.mark.parametrize(
    "key",
    [
        *("token", "access_token", "new_token", "code", "state", "client_secret", "app_secret", "operator_password"),
        *(
            "Authorization",
            "X-Hub-Signature-256",
            "cookie",
            "Set-Cookie",
            "signature",
            "signed_request",
            "api_key",
            "body",
        ),
    ],
)
@pytest.mark.parametrize("value", [WORD, WORD.encode(), [WORD], SecretStr(WORD), 7])
def test_a_secret_is_known_by_its_key(key, value):
    assert redacted(**{key: value}) == {key: MASK}
    assert redacted(headers={key: value}) == {"headers": {key: MASK}}


def test_the_services_own_secrets_are_known_by_heart():
    shown = redacted(secrets=[WORD, "kurz", ""], event=f"it is {WORD}!", short="kurz")
    assert shown == {"event": f"it is {MASK}!", "short": "kurz"}


@pytest.mark.parametrize("key", ["text", "prompt", "answer", "message_text"])
def test_what_people_write_is_shown_only_when_asked_for(key):
    assert redacted(**{key: "my address is"}) == {key: "<13 characters>"}
    assert redacted(found={key: "my address is"}) == {"found": {key: "<13 characters>"}}
    assert Redactor(text=True)(None, "info", {key: f"my token {TOKEN}"}) == {key: f"my token {MASK}"}


def test_an_object_is_named_and_not_shown():
    assert redacted(event=StringValue(value="my address is")) == {"event": "<StringValue>"}
    assert redacted(event=b"my address is") == {"event": "<13 bytes>"}


PROGRAM = """
import asyncio, logging, os, sys, warnings
import structlog
from pydantic import SecretStr
from services.common.logs import configure_logs
from services.common.settings import ServiceSettings, read

class Settings(ServiceSettings):
    app_secret: tuple[SecretStr, ...] = (SecretStr("known-by-heart"),)

configure_logs(read(Settings))
log = structlog.get_logger("services.test")
TOKEN, WORD = os.environ["TOKEN"], "known-by-heart"
"""


def printed(body, **env):
    """Run a program whose logs are those of a service; return the lines of both its outputs."""
    clean = {"PATH": os.environ["PATH"], "TOKEN": TOKEN, "LOG_FORMAT": "json", "PYTHONPATH": str(ROOT), **env}
    command = [sys.executable, "-c", PROGRAM + body]
    done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=30, check=False)
    return (done.stdout + done.stderr).splitlines()


def test_tracebacks_of_ours_of_libraries_and_of_the_end_are_masked():
    lines = printed("""
def fail():
    raise ValueError(f"cannot use {TOKEN} with {WORD}")
try:
    fail()
except ValueError:
    log.exception("one")
    logging.getLogger("library").exception("two %s", TOKEN)
logging.getLogger("library").error("three %s", {"access_token": TOKEN})
warnings.warn(f"four {TOKEN}")
async def loop():
    asyncio.get_running_loop().create_task(asyncio.sleep(0)).add_done_callback(lambda _: fail())
    await asyncio.sleep(0.01)
asyncio.run(loop())
fail()
""")
    rows = [json.loads(line) for line in lines]
    assert [row["level"] for row in rows] == ["error", "error", "error", "warning", "error", "critical"], lines
    assert [row["logger"] for row in rows[:3]] == ["services.test", "library", "library"]
    assert sum("Traceback" in row.get("exception", "") for row in rows) == 4
    assert sum(MASK in json.dumps(row) for row in rows) == 6
    assert TOKEN not in "".join(lines)
    assert "known-by-heart" not in "".join(lines)


LIBRARIES = """
import aiohttp, openai, redis, pymongo
from aiohttp import web
async def meet():
    async def door(request): return web.json_response({"choices": []})
    app = web.Application(); app.router.add_route("*", "/{any:.*}", door)
    runner = web.AppRunner(app); await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0); await site.start()
    url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    async with aiohttp.ClientSession() as http:
        await (await http.get(url, params={"access_token": TOKEN})).read()
    model = openai.AsyncOpenAI(api_key="sk-0123456789abcdef", base_url=url, max_retries=0)
    await model.chat.completions.create(model="m", messages=[{"role": "user", "content": "my address is"}])
    await model.close()
    await runner.cleanup()
asyncio.run(meet())
for url in ("redis://:hunter2@127.0.0.1:1/0",):
    try: redis.Redis.from_url(url).ping()
    except redis.RedisError as error: log.debug("failed", error=str(error))
try: pymongo.MongoClient("mongodb://u:hunter2@127.0.0.1:1/x", serverSelectionTimeoutMS=50).x.y.find_one()
except pymongo.errors.PyMongoError as error: log.debug("failed", error=type(error).__name__)
"""


def test_libraries_tell_nothing_at_debug():
    lines = printed(LIBRARIES, LOG_LEVEL="debug")
    assert [json.loads(line)["logger"] for line in lines] == ["services.test"] * 2, lines
    for secret in (TOKEN, "sk-0123456789abcdef", "my address is", "hunter2"):
        assert secret not in "".join(lines)


def test_text_must_be_asked_for():
    say = 'log.info("said", text="my address is")'
    assert json.loads(printed(say)[0])["text"] == "<13 characters>"
    assert json.loads(printed(say, LOG_TEXT="true")[0])["text"] == "my address is"


def test_a_level_hides_what_is_below_it():
    say = 'log.info("low"); log.warning("high")'
    assert [json.loads(line)["event"] for line in printed(say, LOG_LEVEL="warning")] == ["high"]


def test_a_reader_who_is_gone_stops_nobody():
    body = (
        "r, w = os.pipe(); os.dup2(w, 1); os.close(w); os.close(r)\nlog.info('unheard')\nprint('on', file=sys.stderr)"
    )
    assert printed(body)[0] == "on"
