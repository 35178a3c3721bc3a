"""The RPCs of the token service: under grpcio-testing, and one way through a real server."""

import asyncio
from dataclasses import replace

import grpc
import grpc.aio
import pytest
from prometheus_client import CollectorRegistry

from services.common.pb import tokens_pb2 as pb
from services.common.pb import tokens_pb2_grpc
from services.common.rpc import Channel, RpcServer
from services.common.settings import Address
from services.common.unfinished import Unfinished
from services.tokens.keyring import Keyring
from services.tokens.metrics import TokensMetrics
from services.tokens.servicer import ALLOWED, TokensServicer
from tests.grpc_adapter import Calls
from tests.tokens.fakes import A, B
from tests.tokens.test_keyring import new_key

CALLBACK = "https://bot.example/oauth/callback"
DEAD = pb.GraphError(http_status=400, code=190, subcode=460, type="OAuthException")


@pytest.fixture
def servicer(here, tmp_path):
    new_key(tmp_path, "2026-01")
    ring = Keyring(tmp_path)
    here.ports = replace(here.ports, keys=ring)
    return TokensServicer(here.ports, ring, TokensMetrics(CollectorRegistry()), CALLBACK, Unfinished())


@pytest.fixture
def calls(servicer):
    return Calls(servicer, pb.DESCRIPTOR.services_by_name["Tokens"])


@pytest.fixture
def connected(here, calls):
    here.meta.owner()
    answer, code, _ = calls.unary("Connect", pb.ConnectRequest(code=here.meta.code()))
    assert code == grpc.StatusCode.OK
    return answer.account


def test_connect_answers_the_account_without_its_token(here, connected):
    assert (connected.account, connected.app_scoped_id, connected.state) == (A.account, A.app_scoped_id, "active")
    assert connected.token_version == 1
    assert connected.expires_at_ms - connected.connected_at_ms == 60 * 86_400_000
    assert "IGAA" not in str(connected)


def test_connect_tells_the_missing_fields(here, calls):
    here.meta.owner()
    here.meta.offers -= {"message_edit"}
    answer, _, _ = calls.unary("Connect", pb.ConnectRequest(code=here.meta.code(), redirect_uri=CALLBACK))
    assert list(answer.missing_fields) == ["message_edit"]


@pytest.mark.parametrize("code", ["", "never-issued"])
def test_connect_refuses_what_is_no_code(here, calls, code):
    _, status, details = calls.unary("Connect", pb.ConnectRequest(code=code))
    assert status == grpc.StatusCode.INVALID_ARGUMENT
    assert details


@pytest.mark.parametrize("account_id", [A.account, A.app_scoped_id])
def test_get_token_takes_either_id(here, calls, connected, account_id):
    answer, code, _ = calls.unary("GetToken", pb.GetTokenRequest(account=account_id))
    assert code == grpc.StatusCode.OK
    assert answer.token in here.meta.owners[A.account].tokens
    assert (answer.account, answer.app_scoped_id, answer.version, answer.state) == (
        A.account,
        A.app_scoped_id,
        1,
        "active",
    )
    assert answer.expires_at_ms == connected.expires_at_ms


def test_get_token_of_a_stranger_is_not_found(calls):
    _, code, _ = calls.unary("GetToken", pb.GetTokenRequest(account="1"))
    assert code == grpc.StatusCode.NOT_FOUND


def test_get_token_while_the_store_is_away_is_unavailable(here, calls):
    here.store.down = True
    _, code, _ = calls.unary("GetToken", pb.GetTokenRequest(account=A.account))
    assert code == grpc.StatusCode.UNAVAILABLE


def test_get_token_of_a_dead_account_says_its_state(here, calls, connected):
    here.kill()
    calls.unary("GetToken", pb.GetTokenRequest(account=A.account))
    answer, _, _ = calls.unary("ReportRejected", pb.ReportRejectedRequest(account=A.account, version=1, error=DEAD))
    assert answer.state == "reauthorize"
    for account_id in (A.app_scoped_id, A.account):
        _, code, details = calls.unary("GetToken", pb.GetTokenRequest(account=account_id))
        assert (code, details) == (grpc.StatusCode.FAILED_PRECONDITION, "reauthorize")


def test_a_missing_key_makes_the_token_unavailable_and_leaves_the_account(here, calls, connected, servicer, tmp_path):
    new_key(tmp_path, "2027-01")
    (tmp_path / "2026-01").unlink()
    servicer.ring.reload()
    _, code, details = calls.unary("GetToken", pb.GetTokenRequest(account=A.account))
    assert code == grpc.StatusCode.UNAVAILABLE
    assert "2026-01" in details
    assert here.store.rows[A.account].state == "active"


def test_reports_about_old_versions_and_strangers(here, calls, connected):
    here.kill()
    answer, _, _ = calls.unary("ReportRejected", pb.ReportRejectedRequest(account=A.account, version=7, error=DEAD))
    assert answer.state == "active"
    _, code, _ = calls.unary("ReportRejected", pb.ReportRejectedRequest(account="1", version=1, error=DEAD))
    assert code == grpc.StatusCode.NOT_FOUND


def test_list_accounts(here, calls, connected):
    here.meta.owner(B)
    calls.unary("Connect", pb.ConnectRequest(code=here.meta.code(B)))
    answer, _, _ = calls.unary("ListAccounts", pb.ListAccountsRequest())
    assert [one.account for one in answer.accounts] == [A.account, B.account]
    answer, _, _ = calls.unary("ListAccounts", pb.ListAccountsRequest(account=B.app_scoped_id))
    assert [one.account for one in answer.accounts] == [B.account]
    _, code, _ = calls.unary("ListAccounts", pb.ListAccountsRequest(account="1"))
    assert code == grpc.StatusCode.NOT_FOUND


def test_add_takes_a_long_lived_token(here, calls):
    token = here.meta.token(here.meta.owner())
    answer, code, _ = calls.unary("Add", pb.AddRequest(token=f" {token}\n"))
    assert (code, answer.account.account) == (grpc.StatusCode.OK, A.account)
    for wrong in ("", "IGAAnobodys"):
        _, code, _ = calls.unary("Add", pb.AddRequest(token=wrong))
        assert code == grpc.StatusCode.INVALID_ARGUMENT


def test_refresh_says_what_came_of_it(here, calls, connected):
    answer, _, _ = calls.unary("Refresh", pb.RefreshRequest(account=A.app_scoped_id))
    assert answer.outcome == "too_young"
    here.clock.tick(days=2)
    answer, _, _ = calls.unary("Refresh", pb.RefreshRequest(account=A.account))
    assert (answer.outcome, answer.account.token_version) == ("refreshed", 2)
    _, code, _ = calls.unary("Refresh", pb.RefreshRequest(account="1"))
    assert code == grpc.StatusCode.NOT_FOUND


def test_a_refreshed_token_is_lent_at_once(here, calls, connected):
    calls.unary("GetToken", pb.GetTokenRequest(account=A.account))
    here.clock.tick(days=2)
    calls.unary("Refresh", pb.RefreshRequest(account=A.account))
    answer, _, _ = calls.unary("GetToken", pb.GetTokenRequest(account=A.account))
    assert answer.version == 2


def test_check(calls, connected):
    answer, _, _ = calls.unary("Check", pb.CheckRequest(account=A.account))
    assert all(finding.ok for finding in answer.findings)
    _, code, _ = calls.unary("Check", pb.CheckRequest(account="1"))
    assert code == grpc.StatusCode.NOT_FOUND


def test_rotate_keys_streams_its_progress(here, calls, connected, tmp_path):
    new_key(tmp_path, "2026-02")
    answers, code, _ = calls.stream("RotateKeys", pb.RotateKeysRequest())
    assert code == grpc.StatusCode.OK
    last = answers[-1]
    assert (last.done, last.total, last.key_id, list(last.unused_key_ids)) == (1, 1, "2026-02", ["2026-01"])


def test_rotate_keys_without_a_keyring_is_unavailable(calls, connected, tmp_path):
    (tmp_path / "2026-01").write_text("broken")
    _, code, _ = calls.stream("RotateKeys", pb.RotateKeysRequest())
    assert code == grpc.StatusCode.UNAVAILABLE


def test_disconnect_leaves_what_was_connected_since(here, calls, connected):
    long_ago = int(here.clock.now().timestamp() * 1000) - 1
    for asked, state in ((long_ago, "active"), (long_ago + 2, "disconnected")):
        request = pb.DisconnectRequest(account=A.app_scoped_id, unless_connected_since_ms=asked)
        answer, _, _ = calls.unary("Disconnect", request)
        assert (answer.account, answer.connected_again) == (A.account, state == "active")
        listed, _, _ = calls.unary("ListAccounts", pb.ListAccountsRequest(account=A.account))
        assert listed.accounts[0].state == state


def test_disconnect_and_forget(here, calls, connected):
    answer, _, _ = calls.unary("Disconnect", pb.DisconnectRequest(account=A.app_scoped_id, reason="deauthorized"))
    assert answer.account == A.account
    _, code, details = calls.unary("GetToken", pb.GetTokenRequest(account=A.account))
    assert (code, details) == (grpc.StatusCode.FAILED_PRECONDITION, "disconnected")
    _, code, _ = calls.unary("Forget", pb.ForgetRequest(app_scoped_id=A.app_scoped_id))
    assert code == grpc.StatusCode.OK
    _, code, _ = calls.unary("GetToken", pb.GetTokenRequest(account=A.account))
    assert code == grpc.StatusCode.NOT_FOUND
    answer, code, _ = calls.unary("Disconnect", pb.DisconnectRequest(account="1"))
    assert (code, answer.account) == (grpc.StatusCode.OK, "")


def test_no_answer_of_a_failed_call_holds_a_token(here, calls, connected):
    here.kill()
    for name, request in (
        ("Add", pb.AddRequest(token="IGAAsecretsecretsecret")),
        ("Refresh", pb.RefreshRequest(account=A.account)),
        ("Check", pb.CheckRequest(account=A.account)),
    ):
        answer, _, details = calls.unary(name, request)
        assert "IGAA" not in f"{answer} {details}"


async def test_a_real_server_lends_and_streams(here, servicer):
    here.meta.owner()
    async with served(servicer) as stub:
        await stub.Connect(pb.ConnectRequest(code=here.meta.code()), timeout=5)
        lent = await stub.GetToken(pb.GetTokenRequest(account=A.account), timeout=5)
        assert lent.version == 1
        steps = [step async for step in stub.RotateKeys(pb.RotateKeysRequest(), timeout=5)]
        assert steps[-1].total == 1
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetToken(pb.GetTokenRequest(account="1"), timeout=5)
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND


async def test_a_caller_that_hangs_up_does_not_spend_the_code_for_nothing(here, servicer):
    here.meta.owner()
    code, begun, go = here.meta.code(), asyncio.Event(), asyncio.Event()
    lengthen = here.meta.lengthen

    async def slowly(token):
        begun.set()
        await go.wait()
        return await lengthen(token)

    here.meta.lengthen = slowly
    async with served(servicer) as stub:
        call = stub.Connect(pb.ConnectRequest(code=code), timeout=5)
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        go.set()
        await servicer.unfinished.finish(5)
    assert A.account in here.store.rows


class served:  # noqa: N801 - reads as a verb
    """A real server with the servicer, and a stub that calls it."""

    def __init__(self, servicer):
        self.server = RpcServer(Address("127.0.0.1", 0), allowed=ALLOWED)
        tokens_pb2_grpc.add_TokensServicer_to_server(servicer, self.server.server)

    async def __aenter__(self):
        await self.server.start("igbot.tokens.v1.Tokens")
        self.channel = Channel(f"127.0.0.1:{self.server.port}")
        return self.channel.stub(tokens_pb2_grpc.TokensStub)

    async def __aexit__(self, *_):
        await self.channel.close()
        await self.server.stop(0)


def test_every_rpc_of_the_proto_is_served():
    descriptor = pb.DESCRIPTOR.services_by_name["Tokens"]
    for method in descriptor.methods:
        assert method.name in vars(TokensServicer)
    assert set(ALLOWED) < {method.name for method in descriptor.methods}
