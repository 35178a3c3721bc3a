import hashlib
import hmac
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from services.cli.smoke import dashboard_test

SECRET = "the app's secret"


class Server(ThreadingHTTPServer):
    """What the webhook took, with whether its signature was good; a careless one takes everything."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Gateway)
        self.taken: list[tuple[bool, bytes]] = []
        self.careless = False


class Gateway(BaseHTTPRequestHandler):
    """A webhook that checks signatures, or does not."""

    server: Server

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        wanted = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        good = self.headers["X-Hub-Signature-256"] == wanted
        self.server.taken.append((good, body))
        self.send_response(200 if good or self.server.careless else 403)
        self.end_headers()

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def gateway():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def healthy():
    server = grpc.server(ThreadPoolExecutor(2))
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", servicer
    server.stop(0).wait()


@pytest.fixture
def smoke(bare, gateway, healthy):
    env = {
        "PUBLIC_URL": f"http://127.0.0.1:{gateway.server_port}",
        "APP_SECRET": f"{SECRET},an older one",
        "TOKENS_ADDRESS": healthy[0],
        "RESPONDER_ADDRESS": healthy[0],
    }
    return lambda *words, **other: bare("smoke", *words, **{**env, **other})


def test_a_working_igbot_passes(smoke, gateway):
    ran = smoke()
    assert ran.code == 0, ran
    assert [good for good, _ in gateway.taken] == [True, False]


def test_the_public_address_comes_from_the_redirect_uri_where_it_is_not_set(smoke, gateway):
    ran = smoke(PUBLIC_URL="", REDIRECT_URI=f"http://127.0.0.1:{gateway.server_port}/oauth/callback")
    assert ran.code == 0, ran
    assert len(gateway.taken) == 2


def test_findings_are_objects_for_programs(smoke):
    rows = [json.loads(line) for line in smoke("--json").out.splitlines()]
    assert [(row["check"], row["ok"]) for row in rows] == [
        ("signed delivery", True),
        ("forged delivery", True),
        ("tokens", True),
        ("responder", True),
    ]


def test_a_gateway_that_takes_forged_deliveries_fails(smoke, gateway):
    gateway.careless = True
    ran = smoke()
    assert ran.code == 1
    assert "forged delivery" in ran.err


def test_another_secret_fails_and_says_so(smoke):
    ran = smoke(APP_SECRET="another")
    assert ran.code == 1
    assert "APP_SECRET is not the gateway's" in ran.out


def test_a_service_that_does_not_serve_fails(smoke, healthy):
    healthy[1].set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    ran = smoke()
    assert ran.code == 1
    assert "tokens, responder" in ran.err


def test_nothing_there_is_exit_code_three(smoke):
    nowhere = "127.0.0.1:1"
    ran = smoke(PUBLIC_URL=f"http://{nowhere}", TOKENS_ADDRESS=nowhere, RESPONDER_ADDRESS=nowhere)
    assert ran.code == 3


@pytest.mark.parametrize("missing", ["PUBLIC_URL", "APP_SECRET"])
def test_without_its_settings_it_is_a_usage_error(smoke, missing):
    assert smoke(**{missing: ""}).code == 2


@pytest.mark.parametrize("address", ["foo", "ftp://bot.example", "http://"])
def test_a_public_url_that_is_no_address_is_a_usage_error(smoke, address):
    ran = smoke(PUBLIC_URL=address)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("igbot: PUBLIC_URL must be an address")


def test_nobody_can_be_answered_for_a_test_delivery():
    (entry,) = json.loads(dashboard_test(now_ms=1))["entry"]
    assert entry["id"] == "0"
    assert "messaging" not in entry
