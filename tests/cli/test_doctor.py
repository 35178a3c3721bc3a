"""Each check of the doctor, well and ill, against real servers that pretend."""

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import grpc
import pytest
from grpc_health.v1 import health, health_pb2_grpc

from services.cli import doctor_local
from services.cli.doctor_local import WANTED
from services.cli.doctor_public import certificate
from services.common.pb import responder_pb2, responder_pb2_grpc, tokens_pb2_grpc
from services.common.pb import tokens_pb2 as pb
from tests.cli.conftest import servicer
from tests.tokens.authority import Authority

SECRET = "the app's secret"
EXAMINED = ["tokens database write", "tokens clock", "responder", "responder model", "responder clock"]
GREEN = [
    *(f"settings {name}" for name in ("gateway", "tokens", "responder")),
    *("keyring", "redis", "redis memory", *(f"redis {name}" for name in WANTED)),
    *("tokens", *EXAMINED, "redirect uri"),
    *("webhook", "signed delivery", "forged delivery", "raw body", "graph", "graph clock", "@shop token"),
]


class World(ThreadingHTTPServer):
    """The gateway behind its proxy and the Graph API in one; `status` and the flags make it ill."""

    def __init__(self, tls=None):
        super().__init__(("127.0.0.1", 0), Door)
        self.scheme = "https" if tls else "http"
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.status: dict[str, int] = {}
        self.tidy = self.careless = False
        self.drops = ""
        self.skew = 0.0

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.server_port}"


class Door(BaseHTTPRequestHandler):
    server: World

    def do_GET(self):
        parts = urlsplit(self.path)
        if parts.path == "/webhook":
            query = parse_qs(parts.query)
            good = query["hub.verify_token"] == ["word"]
            self.answer("webhook", query["hub.challenge"][0] if good else "", 200 if good else 403)
        else:
            self.answer("graph", json.dumps({"error": {"code": 190}}), 400)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.tidy:  # as a proxy that parses JSON and writes it anew
            body = json.dumps(json.loads(body)).encode()
        given = "" if self.server.drops else self.headers["X-Hub-Signature-256"]
        good = given == "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        self.answer("delivery", "", 200 if good or self.server.careless else 403)

    def answer(self, who, body, status):
        ill = self.server.status.get(who)
        self.send_response(ill or status)
        self.end_headers()
        self.wfile.write(b"ill" if ill else body.encode())

    def date_time_string(self, timestamp=None):
        return formatdate(time.time() + self.server.skew, usegmt=True)

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def world():
    server = World()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def services(tokens, conversations):
    server = grpc.server(ThreadPoolExecutor(2))
    tokens_pb2_grpc.add_TokensServicer_to_server(servicer(tokens_pb2_grpc.TokensServicer, pb, tokens), server)
    responder_pb2_grpc.add_ConversationsServicer_to_server(
        servicer(responder_pb2_grpc.ConversationsServicer, responder_pb2, conversations), server
    )
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Give the disk time: it may be slow for a moment."""
    monkeypatch.setattr(doctor_local, "SLOW_MS", 10_000)


@pytest.fixture
def doctor(bare, world, services, tokens, conversations, valkey, valkey_url, tmp_path):
    """Run the doctor where all is well, except for what `env` says; check to finding, and the exit code."""
    account = pb.Account(account="1", username="shop", state="active")
    tokens.answers["ListAccounts"] = pb.ListAccountsResponse(accounts=[account])
    tokens.answers["Check"] = pb.CheckResponse(findings=[pb.Finding(check="token", ok=True, found="valid")])
    now = int(time.time() * 1000)
    one = pb.Finding(check="database write", ok=True, found="safe after 1.0 ms")
    tokens.answers["Examine"] = pb.ExamineResponse(findings=[one], now_ms=now)
    two = responder_pb2.Finding(check="model", ok=True, found="answers")
    conversations.answers["Examine"] = responder_pb2.ExamineResponse(findings=[two], now_ms=now)
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "a").write_text(base64.b64encode(bytes(32)).decode())
    well = {
        "INSTAGRAM_CLIENT_ID": "1",
        "INSTAGRAM_CLIENT_SECRET": "s",
        "APP_SECRET": SECRET,
        "REDIRECT_URI": f"{world.url}/oauth/callback",
        "PUBLIC_URL": world.url,
        "WEBHOOK_VERIFY_TOKEN": "word",
        "TOKEN_KEYS_DIR": str(keys),
        "REDIS_URL": valkey_url,
        "TOKENS_ADDRESS": services,
        "RESPONDER_ADDRESS": services,
        "OPENAI_API_KEY": "sk-hunter2",
        "GRAPH_URL": world.url,
    }

    def run(**env):
        ran = bare("doctor", "--json", **{**well, **env})
        assert "hunter2" not in ran.out + ran.err
        return ran.code, {row["check"]: row for row in map(json.loads, ran.out.splitlines())}

    return run


def test_all_is_well(doctor):
    code, found = doctor()
    certificate = found.pop("certificate")
    assert [(name, row["ok"]) for name, row in found.items()] == [(name, True) for name in GREEN], found
    assert certificate["ok"] is None  # http, on this machine
    assert code == 0


def test_the_doctor_takes_the_public_address_from_the_redirect_uri(doctor):
    code, found = doctor(PUBLIC_URL="")
    assert [(name, found[name]["ok"]) for name in GREEN] == [(name, True) for name in GREEN], found
    assert code == 0


@pytest.mark.parametrize(
    ("env", "check", "word"),
    [
        ({"QUIET_SECONDS": "soon"}, "settings responder", "QUIET_SECONDS"),
        ({"REDIRECT_URI": "https://bot.example.com/elsewhere"}, "settings gateway", "REDIRECT_URI"),
        ({"TOKEN_KEYS_DIR": "/nonexistent"}, "keyring", "folder"),
        ({"REDIS_URL": "redis://:hunter2@127.0.0.1:1/0"}, "redis", "reached"),
        ({"TOKENS_ADDRESS": "127.0.0.1:1"}, "tokens", "reached"),
        ({"RESPONDER_ADDRESS": "127.0.0.1:1"}, "responder", "reached"),
        ({"WEBHOOK_VERIFY_TOKEN": "another"}, "webhook", "403"),
        ({"PUBLIC_URL": "http://127.0.0.1:1"}, "webhook", "reached"),
        ({"REDIRECT_URI": "http://bot.example.com/oauth/callback"}, "redirect uri", "https"),
        ({"REDIRECT_URI": "https://bot.example.com/oauth/callback?x=1"}, "redirect uri", "end in"),
        ({"REDIRECT_URI": "https://bot.example.com/oauth/callback"}, "redirect uri", "PUBLIC_URL"),
        ({"APP_SECRET": "another"}, "signed delivery", "403"),
        ({"PUBLIC_URL": "https://127.0.0.1:1"}, "certificate", "looked at"),
        ({"GRAPH_URL": "http://127.0.0.1:1"}, "graph", "reached"),
    ],
)
def test_what_is_ill_is_red_and_says_what_to_do(doctor, env, check, word):
    code, found = doctor(**env)
    assert code == 1
    assert found[check]["ok"] is False
    assert word in found[check]["found"]
    assert found[check]["advice"]


@pytest.mark.parametrize(
    ("who", "status", "word"),
    [
        ("webhook", 502, "something else"),
        ("graph", 200, "GRAPH_URL"),
    ],
)
def test_what_answers_wrongly_is_red(doctor, world, who, status, word):
    world.status[who] = status
    code, found = doctor()
    assert code == 1
    assert found[who]["ok"] is False
    assert word in found[who]["advice"]


@pytest.mark.parametrize("name", WANTED)
def test_a_redis_that_may_forget_is_red(doctor, valkey, name):
    wrong = {"maxmemory-policy": "allkeys-lru", "appendonly": "no", "appendfsync": "everysec"}[name]
    valkey.config_set(name, wrong)
    try:
        code, found = doctor()
    finally:
        valkey.config_set(name, WANTED[name][0])
    assert code == 1
    assert (found[f"redis {name}"]["ok"], found[f"redis {name}"]["found"]) == (False, wrong)


def test_a_full_redis_is_red(doctor, valkey):
    limit = valkey.config_get("maxmemory")["maxmemory"]
    valkey.config_set("maxmemory", 1)
    try:
        code, found = doctor()
    finally:
        valkey.config_set("maxmemory", limit)
    assert code == 1
    assert found["redis"]["ok"] is False


def test_an_accounts_trouble_is_red(doctor, tokens):
    bad = pb.Finding(check="subscription", ok=False, found="no webhooks", advice="connect again")
    tokens.answers["Check"] = pb.CheckResponse(findings=[bad])
    code, found = doctor()
    assert code == 1
    assert found["@shop subscription"]["advice"] == "connect again"


def test_what_a_service_finds_in_itself_is_red(doctor, tokens, conversations):
    bad = pb.Finding(check="database replicas", ok=False, found="no replica set", advice="three")
    tokens.answers["Examine"].findings.append(bad)
    dead = responder_pb2.Finding(check="automatic replies", ok=False, found="suspected for 1", advice="off")
    conversations.answers["Examine"].findings.append(dead)
    code, found = doctor()
    assert code == 1
    assert found["tokens database replicas"]["advice"] == "three"
    assert found["responder automatic replies"]["advice"] == "off"


@pytest.mark.parametrize(("seconds", "word"), [(60, "s ahead of"), (-60, "s behind")])
def test_a_clock_that_is_off_is_red(doctor, tokens, conversations, world, seconds, word):
    for memory in (tokens, conversations):
        memory.answers["Examine"].now_ms += seconds * 1000
    world.skew = seconds
    code, found = doctor()
    assert code == 1
    assert [found[f"{name} clock"]["ok"] for name in ("tokens", "responder", "graph")] == [False] * 3
    assert all(word in found[f"{name} clock"]["found"] for name in ("tokens", "graph"))


def test_an_older_service_that_cannot_look_at_itself_is_no_fault(doctor, tokens):
    tokens.refusals["Examine"] = (grpc.StatusCode.UNIMPLEMENTED, "unknown method")
    code, found = doctor()
    assert (code, found["tokens examined"]["ok"]) == (0, None)


def test_a_service_that_fails_to_look_at_itself_is_red(doctor, tokens):
    tokens.refusals["Examine"] = (grpc.StatusCode.INTERNAL, "broken")
    code, found = doctor()
    assert (code, found["tokens examined"]["ok"]) == (1, False)


@pytest.mark.parametrize(
    ("flag", "value", "check", "word"),
    [
        ("tidy", True, "raw body", "changes bodies"),
        ("drops", "X-Hub-Signature-256", "signed delivery", "X-Hub-Signature-256"),
        ("careless", True, "forged delivery", "must be 403"),
    ],
)
def test_a_proxy_that_does_not_pass_what_meta_signs_is_red(doctor, world, flag, value, check, word):
    setattr(world, flag, value)
    code, found = doctor()
    assert code == 1
    assert found[check]["ok"] is False
    assert word in found[check]["advice"]


def test_a_redis_that_is_nearly_full_is_red(doctor, valkey):
    limit = valkey.config_get("maxmemory")["maxmemory"]
    valkey.config_set("maxmemory", int(valkey.info("memory")["used_memory"] * 1.15))
    try:
        code, found = doctor()
    finally:
        valkey.config_set("maxmemory", limit)
    assert code == 1
    assert found["redis memory"]["ok"] is False


def test_what_cannot_be_checked_here_is_no_fault(bare, valkey_url, services):
    ran = bare(
        "doctor",
        "--json",
        REDIS_URL=valkey_url,
        TOKENS_ADDRESS=services,
        RESPONDER_ADDRESS=services,
        GRAPH_URL="http://127.0.0.1:1",
    )
    found = {row["check"]: row["ok"] for row in map(json.loads, ran.out.splitlines())}
    skipped = ["settings gateway", "keyring", "redirect uri", "webhook", "accounts", "certificate"]
    assert {name: found[name] for name in skipped} == dict.fromkeys(skipped)


NOWHERE = "127.0.0.1:1"
CUT_OFF = {"PUBLIC_URL": f"https://{NOWHERE}", "GRAPH_URL": f"http://{NOWHERE}"}
CALLBACK = {"REDIRECT_URI": f"https://{NOWHERE}/oauth/callback"}


def test_nothing_that_can_be_reached_is_exit_code_three(doctor):
    services = dict.fromkeys(("TOKENS_ADDRESS", "RESPONDER_ADDRESS"), NOWHERE)
    code, found = doctor(**CUT_OFF, **CALLBACK, **services, REDIS_URL=f"redis://{NOWHERE}/0")
    assert code == 3
    unreachable = ("redis", "tokens", "responder", "webhook", "graph", "certificate")
    assert [found[name]["unreachable"] for name in unreachable] == [True] * 6
    code, found = doctor(**CUT_OFF, **CALLBACK, **services, REDIS_URL=f"redis://{NOWHERE}/0", QUIET_SECONDS="soon")
    assert code == 1  # the settings are wrong, whatever else can be reached


def test_a_pod_without_a_way_out_knows_nothing_of_the_world(doctor):
    code, found = doctor(**CUT_OFF, **CALLBACK, KUBERNETES_SERVICE_HOST="10.96.0.1")
    outward = ("webhook", "graph", "certificate")
    assert [(found[name]["ok"], "no way out" in found[name]["found"]) for name in outward] == [(None, True)] * 3
    assert all(found[name]["advice"] for name in outward)
    assert code == 0


@pytest.mark.parametrize("name", ["PUBLIC_URL", "GRAPH_URL"])
def test_a_pod_with_a_way_out_says_what_cannot_be_reached(doctor, name):
    code, found = doctor(**{name: f"http://{NOWHERE}"}, KUBERNETES_SERVICE_HOST="10.96.0.1")
    assert code == 1
    assert found[{"PUBLIC_URL": "webhook", "GRAPH_URL": "graph"}[name]]["ok"] is False


def test_settings_that_services_share_do_not_make_one_expected_here(doctor):
    gone = dict.fromkeys(("INSTAGRAM_CLIENT_SECRET", "TOKEN_KEYS_DIR", "OPENAI_API_KEY"), "")
    code, found = doctor(**gone)
    assert [found[f"settings {name}"]["ok"] for name in ("gateway", "tokens", "responder")] == [True, None, None]
    assert code == 0


def test_where_only_shared_settings_are_set_what_is_missing_is_red(doctor):
    own = ("APP_SECRET", "WEBHOOK_VERIFY_TOKEN", "INSTAGRAM_CLIENT_SECRET", "TOKEN_KEYS_DIR", "OPENAI_API_KEY")
    code, found = doctor(**dict.fromkeys(own, ""))
    assert [found[f"settings {name}"]["ok"] for name in ("gateway", "tokens", "responder")] == [False, False, None]
    assert code == 1


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """What the doctor finds of a certificate that ends after so many days, by an authority that is trusted or not."""
    authority, stranger = Authority(), Authority("stranger")
    (tmp_path / "trusted.pem").write_bytes(authority.certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))

    def look(days, *, host="127.0.0.1", trusted=True):
        folder = (authority if trusted else stranger).issue(tmp_path / "tls", ends=timedelta(days=days))
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(folder / "tls.crt", folder / "tls.key")
        server = World(tls)
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            return asyncio.run(certificate(f"https://{host}:{server.server_port}"))
        finally:
            server.shutdown()
            server.server_close()

    return look


def test_a_certificate_with_weeks_left_is_green(shown):
    found = shown(60)
    assert (found.ok, found.found) == (True, "trusted, 60 days left")


@pytest.mark.parametrize(
    ("case", "word"),
    [
        ({"days": 10}, "10 days left"),
        ({"days": -1}, "expired"),
        ({"days": 60, "trusted": False}, "local issuer"),
        ({"days": 60, "host": "localhost"}, "Hostname mismatch"),
    ],
)
def test_a_certificate_that_meta_would_refuse_soon_or_now_is_red(shown, case, word):
    found = shown(**case)
    assert found.ok is False
    assert word in found.found
    assert found.advice
