"""`igbot tokens` as a process, against a pretend Meta over HTTP."""

import asyncio
import hashlib
import hmac
import json
import re
import sqlite3

import grpc
import grpc.aio
import pymongo
import pytest

from services.common.graph_errors import GraphError
from services.common.pb import tokens_pb2 as pb
from services.common.settings import read
from services.tokens.settings import Settings
from tests.mongo import MongoServer, program
from tests.ports import free_port
from tests.tokens.fakes import A, B, profile
from tests.tokens.meta_server import meta_server
from tests.tokens.process import CALLBACK, TokensProcess


@pytest.fixture
async def meta():
    async with meta_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "mongo"])
def database(request):
    """Settings for each store."""
    return {} if request.param == "sqlite" else {"DATABASE_URL": request.getfixturevalue("mongo_url")}


@pytest.fixture
async def make(tmp_path, meta):
    made = []

    def one(**settings):
        made.append(TokensProcess(tmp_path, meta.url, **settings))
        made[-1].start()
        return made[-1]

    yield one
    for process in made:
        await process.end()


async def connect(process, meta, who=A):
    await process.ready()
    meta.meta.owner(who)
    return await process.stub.Connect(
        pb.ConnectRequest(code=meta.meta.code(who), redirect_uri=CALLBACK), timeout=20, wait_for_ready=True
    )


async def lend(process, who=A):
    """Borrow a token from a service that may be starting."""

    async def borrow():
        try:
            return await process.stub.GetToken(pb.GetTokenRequest(account=who.account), timeout=20)
        except grpc.aio.AioRpcError as error:
            if error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
                return None
            raise

    return await until(borrow)


async def until(fact, seconds=40):
    """Wait for something to become so."""
    for _ in range(int(seconds / 0.05)):
        found = fact()
        found = await found if asyncio.iscoroutine(found) else found
        if found:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError("it never came to that")


async def test_an_account_is_connected_and_lent_on_each_store(make, meta, database):
    process = make(**database)
    answer = await connect(process, meta)
    assert (answer.account.account, list(answer.missing_fields)) == (A.account, [])
    lent = await process.stub.GetToken(pb.GetTokenRequest(account=A.app_scoped_id), timeout=20)
    assert lent.token in meta.meta.owners[A.account].tokens
    assert meta.redirect_uris == [CALLBACK]
    assert process.stop() == 0


async def test_an_acknowledged_connection_survives_a_kill(make, meta, database):
    process = make(**database)
    for number in range(3):
        await connect(process, meta, profile(number))
        process.kill()
        process.start()
        lent = await lend(process, profile(number))
        assert lent.version == 1


async def test_a_token_that_dies_is_told_and_heals_when_connected_again(make, meta):
    process = make(ACCOUNT_ALERT_URL=f"{meta.url}/alerts", ALERT_SECRET="alarm")
    await connect(process, meta)
    dead = GraphError(400, 190, 460, "OAuthException")
    meta.meta.owners[A.account].dead = dead
    report = pb.ReportRejectedRequest(account=A.account, version=1, error=pb.GraphError(http_status=400, code=190))
    answer = await process.stub.ReportRejected(report, timeout=20)
    assert answer.state == "reauthorize"
    await until(lambda: meta.alerts)
    meta.meta.owners[A.account].dead = None
    await connect(process, meta)
    await until(lambda: len(meta.alerts) == 2)
    for signature, body in meta.alerts:
        assert signature == "sha256=" + hmac.new(b"alarm", body, hashlib.sha256).hexdigest()
    told = [json.loads(body) for _, body in meta.alerts]
    assert [one["state"] for one in told] == ["reauthorize", "active"]
    assert told[0]["account"] == A.account
    assert told[0]["connect_url"] == "https://bot.example/connect"
    assert "password" in told[0]["reason"]


async def test_metrics_tell_of_accounts(make, meta):
    process = make()
    await connect(process, meta)

    async def shown():
        _, metrics = await process.get("/metrics")
        return metrics if 'igbot_accounts{state="active"} 1.0' in metrics else ""

    metrics = await until(shown)
    left = float(re.findall(r"^igbot_token_expiry_seconds (\S+)", metrics, re.MULTILINE)[0])
    assert 59 * 86_400 < left <= 60 * 86_400
    assert A.account not in metrics


async def test_a_second_process_on_the_same_files_waits_for_the_first(make, meta):
    first = make()
    await connect(first, meta)
    second = make()
    await until(lambda: "another process uses tokens.db" in second.log)
    assert (await second.get("/readyz"))[0] == 503
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await second.stub.GetToken(pb.GetTokenRequest(account=A.account), timeout=30, wait_for_ready=True)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert first.stop() == 0
    await second.ready()
    assert (await second.stub.GetToken(pb.GetTokenRequest(account=A.account), timeout=20)).version == 1


async def test_a_database_that_comes_late_and_goes_again_is_waited_for(make, meta, tmp_path):
    program()
    server = MongoServer(tmp_path / "mongo", free_port())
    process = make(DATABASE_URL=server.url("igbot"))
    await until(lambda: "database_unavailable" in process.log)
    assert (await process.get("/readyz"))[0] == 503
    server.start()
    try:
        await process.ready()
        await connect(process, meta)
        server.kill()
        await until(lambda: "sweep_paused" in process.log)
        assert (await process.get("/readyz"))[0] == 200
        server.start()
        await connect(process, meta, B)
        listed = await process.stub.ListAccounts(pb.ListAccountsRequest(), timeout=20)
        assert {one.account for one in listed.accounts} == {A.account, B.account}
    finally:
        server.kill()
    assert process.process.poll() is None


async def test_missing_settings_are_one_message_and_code_2(tmp_path, meta):
    process = TokensProcess(tmp_path, meta.url, TOKEN_KEYS_DIR=str(tmp_path / "none"), REDIRECT_URI="https://x/y")
    process.start()
    assert process.wait() == 2
    assert "TOKEN_KEYS_DIR: must be a folder" in process.log
    assert "REDIRECT_URI: must end in" in process.log
    assert "Traceback" not in process.log


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mongodb://127.0.0.1:27017"),
        ("DATABASE_URL", "sqlite://var"),
        ("DATABASE_URL", "postgres://secret@x/y"),
        ("GRAPH_URL", "graph.instagram.com"),
        ("GRAPH_VERSION", "25"),
        ("LISTEN_ADDRESS", "here"),
        ("SWEEP_SECONDS", "0"),
        ("ACCOUNT_ALERT_URL", "https://alerts.example"),
    ],
)
def test_a_malformed_setting_is_named_and_not_shown(monkeypatch, tmp_path, capsys, name, value):
    for key, given in {**TokensProcess(tmp_path, "http://127.0.0.1").settings, name: value}.items():
        if key != "PATH":
            monkeypatch.setenv(key, given)
    with pytest.raises(SystemExit) as caught:
        read(Settings)
    assert caught.value.code == 2
    shown = capsys.readouterr().err
    assert (name if name != "ACCOUNT_ALERT_URL" else "ALERT_SECRET") in shown
    assert "secret@x" not in shown


CANARY = "IGAAcanaryNeverToBeSeenAnywhere0123456789"


async def test_a_token_is_nowhere_to_be_found(make, meta, database, mongo_host, tmp_path):
    """Not in files or documents, not in the log at debug, not in metrics, not in any error."""
    meta.meta.token = canary_tokens(meta.meta)
    process = make(**database, ACCOUNT_ALERT_URL=f"{meta.url}/alerts", ALERT_SECRET="canary-alert-secret")
    said = [str(await connect(process, meta))]
    lent = await process.stub.GetToken(pb.GetTokenRequest(account=A.account), timeout=20)
    assert lent.token.startswith(CANARY)
    said += await errors_of(process, meta, lent.token)
    said += [str(await process.stub.Check(pb.CheckRequest(account=A.account), timeout=20))]
    said += [(await process.get("/metrics"))[1], (await process.get("/readyz"))[1]]
    said += [body.decode() for _, body in meta.alerts]
    assert process.stop() == 0
    said += [process.log, *documents(database, mongo_host)]
    for text in (CANARY, "canary-client-secret", "canary-alert-secret", "code-0-"):
        assert all(text not in one for one in said)
        files = [path for path in (tmp_path / "var").rglob("*") if path.is_file()] if not database else []
        assert all(text.encode() not in path.read_bytes() for path in files)


def canary_tokens(meta):
    """Every token that this Meta makes is recognisable."""
    make = meta.token

    def token(owner, life=5_184_000.0, prefix="IGAAlong"):
        return make(owner, life, f"{CANARY}{prefix}")

    return token


async def errors_of(process, meta, token):
    """Make everything fail that can, and collect what is said."""
    said = []
    meta.meta.owners[A.account].dead = GraphError(400, 190, 460, "OAuthException")
    bad = pb.GraphError(http_status=400, code=190, type="OAuthException")
    for name, request in (
        ("Add", pb.AddRequest(token=token)),
        ("Connect", pb.ConnectRequest(code="code-0-spent", redirect_uri=CALLBACK)),
        ("Refresh", pb.RefreshRequest(account=A.account)),
        ("ReportRejected", pb.ReportRejectedRequest(account=A.account, version=1, error=bad)),
        ("GetToken", pb.GetTokenRequest(account=A.account)),
    ):
        try:
            said.append(str(await getattr(process.stub, name)(request, timeout=20)))
        except grpc.aio.AioRpcError as error:
            said.append(f"{error.code()} {error.details()} {error.debug_error_string()}")
    await until(lambda: meta.alerts)
    return said


def documents(database, mongo_host):
    """Everything that a Mongo database holds, as text."""
    if not database:
        return []
    name = database["DATABASE_URL"].rpartition("/")[2]
    with pymongo.MongoClient[dict[str, object]](mongo_host) as client:
        names = client[name].list_collection_names()
        return [str(one) for collection in names for one in client[name][collection].find()]


async def test_a_store_that_is_too_new_ends_the_service_with_one_clear_line(make, tmp_path):
    (tmp_path / "var").mkdir()
    with sqlite3.connect(tmp_path / "var" / "tokens.db") as newer:
        newer.execute("PRAGMA user_version=99")
    process = make()
    assert await asyncio.to_thread(process.process.wait, 60) == 1
    last = process.log.strip().splitlines()[-1]
    assert last.startswith("igbot cannot start: the database has schema 99"), process.log
