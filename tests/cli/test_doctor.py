"""Each check of the doctor, well and ill, against real servers that pretend."""

import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import grpc
import pytest
from grpc_health.v1 import health, health_pb2_grpc

from services.cli.doctor_local import WANTED
from services.common.pb import tokens_pb2 as pb
from services.common.pb import tokens_pb2_grpc
from tests.cli.conftest import servicer

GREEN = [
    "settings gateway",
    "settings tokens",
    "settings responder",
    "keyring",
    "redis",
    *(f"redis {name}" for name in WANTED),
    "tokens",
    "responder",
    "webhook",
    "model",
    "graph",
    "@shop token",
]


class World(ThreadingHTTPServer):
    """The gateway's public address, the model and the Graph API in one; `status` makes one of them ill."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Door)
        self.status: dict[str, int] = {}
        self.asked: list[dict[str, object]] = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


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
        self.server.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.answer("model", json.dumps({"choices": [{"message": {"content": "ok"}}]}), 200)

    def answer(self, who, body, status):
        ill = self.server.status.get(who)
        self.send_response(ill or status)
        self.end_headers()
        self.wfile.write(b"ill" if ill else body.encode())

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
def services(tokens):
    server = grpc.server(ThreadPoolExecutor(2))
    tokens_pb2_grpc.add_TokensServicer_to_server(servicer(tokens_pb2_grpc.TokensServicer, pb, tokens), server)
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


@pytest.fixture
def doctor(bare, world, services, tokens, valkey, valkey_url, tmp_path):
    """Run the doctor where all is well, except for what `env` says; check to finding, and the exit code."""
    account = pb.Account(account="1", username="shop", state="active")
    tokens.answers["ListAccounts"] = pb.ListAccountsResponse(accounts=[account])
    tokens.answers["Check"] = pb.CheckResponse(findings=[pb.Finding(check="token", ok=True, found="valid")])
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "a").write_text(base64.b64encode(bytes(32)).decode())
    well = {
        "INSTAGRAM_CLIENT_ID": "1",
        "INSTAGRAM_CLIENT_SECRET": "s",
        "APP_SECRET": "s",
        "REDIRECT_URI": f"{world.url}/oauth/callback",
        "PUBLIC_URL": world.url,
        "WEBHOOK_VERIFY_TOKEN": "word",
        "TOKEN_KEYS_DIR": str(keys),
        "REDIS_URL": valkey_url,
        "TOKENS_ADDRESS": services,
        "RESPONDER_ADDRESS": services,
        "OPENAI_API_KEY": "sk-hunter2",
        "OPENAI_BASE_URL": f"{world.url}/v1",
        "OPENAI_MODEL": "tiny",
        "GRAPH_URL": world.url,
    }

    def run(**env):
        ran = bare("doctor", "--json", **{**well, **env})
        assert "hunter2" not in ran.out + ran.err
        return ran.code, {row["check"]: row for row in map(json.loads, ran.out.splitlines())}

    return run


def test_all_is_well(doctor, world):
    code, found = doctor()
    assert [(name, row["ok"]) for name, row in found.items()] == [(name, True) for name in GREEN], found
    assert code == 0
    assert [question["model"] for question in world.asked] == ["tiny"]


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
        ({"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}, "model", "reached"),
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
        ("model", 401, "OPENAI_API_KEY"),
        ("model", 404, "OPENAI_MODEL"),
        ("model", 429, "credit"),
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
    assert (
        found["settings gateway"] is found["keyring"] is found["webhook"] is found["model"] is found["accounts"] is None
    )
