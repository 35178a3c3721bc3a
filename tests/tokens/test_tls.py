"""Mutual TLS: who may borrow a token."""

import os
from dataclasses import replace
from datetime import timedelta

import grpc
import grpc.aio
import pytest
from prometheus_client import CollectorRegistry

from services.common.metrics import CommonMetrics
from services.common.pb import tokens_pb2 as pb
from services.common.pb import tokens_pb2_grpc
from services.common.rpc import Channel, RpcServer, show_expiry, tls_files
from services.common.settings import Address
from services.common.unfinished import Unfinished
from services.tokens.keyring import Keyring
from services.tokens.metrics import TokensMetrics
from services.tokens.servicer import ALLOWED, TokensServicer
from tests.tokens.authority import Authority
from tests.tokens.fakes import A
from tests.tokens.test_keyring import new_key

OK, DENIED, UNAVAILABLE = grpc.StatusCode.OK, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE
MALFORMED, UNKNOWN = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND


@pytest.fixture
def authority():
    return Authority()


@pytest.fixture
async def server(here, tmp_path, authority):
    """A token service behind TLS, with account A connected."""
    (tmp_path / "keys").mkdir()
    new_key(tmp_path / "keys", "1")
    ring = Keyring(tmp_path / "keys")
    here.ports = replace(here.ports, keys=ring)
    await here.connected()
    made = RpcServer(Address("127.0.0.1", 0), tls_files(authority.issue(tmp_path / "tokens", "tokens")), ALLOWED)
    servicer = TokensServicer(
        here.ports, ring, TokensMetrics(CollectorRegistry()), "https://x/oauth/callback", Unfinished()
    )
    tokens_pb2_grpc.add_TokensServicer_to_server(servicer, made.server)
    await made.start()
    yield made
    await made.stop(0)


@pytest.fixture
async def call(server):
    """Calls a method with the certificates in a folder; the status code."""
    channels = []

    async def one(folder, name="GetToken", request=None):
        channels.append(Channel(f"127.0.0.1:{server.port}", tls_files(folder)))
        return await status(channels[-1], name, request)

    yield one
    for channel in channels:
        await channel.close()


async def status(channel, name="GetToken", request=None):
    """The status of one call."""
    request = request or pb.GetTokenRequest(account=A.account)
    try:
        await getattr(channel.stub(tokens_pb2_grpc.TokensStub), name)(request, timeout=10)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return OK


@pytest.mark.parametrize("identity", ["responder", "operator"])
async def test_the_responder_and_the_operator_borrow_tokens(call, authority, tmp_path, identity):
    assert await call(authority.issue(tmp_path / identity, identity)) == OK


@pytest.mark.parametrize("identity", ["gateway", "tokens", "stranger"])
async def test_a_right_certificate_of_a_wrong_service_borrows_nothing(call, authority, tmp_path, identity):
    assert await call(authority.issue(tmp_path / "other", identity)) == DENIED


async def test_the_first_name_is_who_it_is(call, authority, tmp_path):
    folder = authority.issue(tmp_path / "two", "gateway", "responder")
    assert await call(folder) == DENIED


async def test_a_name_in_a_domain_is_its_first_label(call, authority, tmp_path):
    assert await call(authority.issue(tmp_path / "long", "responder.igbot.svc")) == OK


async def test_a_certificate_without_a_name_is_nobodys(call, authority, tmp_path):
    assert await call(authority.issue(tmp_path / "nameless")) == DENIED


async def test_another_authoritys_certificate_is_refused(call, authority, tmp_path):
    folder = Authority("elsewhere").issue(tmp_path / "forged", "responder", trusts=authority)
    assert await call(folder) == UNAVAILABLE


async def test_an_expired_certificate_is_refused(call, authority, tmp_path):
    folder = authority.issue(tmp_path / "old", "responder", ends=timedelta(days=-1))
    assert await call(folder) == UNAVAILABLE


async def test_no_certificate_is_refused(server, authority):
    credentials = grpc.ssl_channel_credentials(authority.certificate)
    async with grpc.aio.secure_channel(f"127.0.0.1:{server.port}", credentials) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await tokens_pb2_grpc.TokensStub(channel).GetToken(pb.GetTokenRequest(account=A.account), timeout=5)
    assert caught.value.code() == UNAVAILABLE


async def test_plain_text_is_refused(call):
    assert await call(None) == UNAVAILABLE


async def test_a_service_whose_certificate_is_not_ours_is_not_called(server, authority, tmp_path):
    folder = authority.issue(tmp_path / "careful", "responder", trusts=Authority("elsewhere"))
    channel = Channel(f"127.0.0.1:{server.port}", tls_files(folder))
    assert await status(channel) == UNAVAILABLE
    await channel.close()


@pytest.mark.parametrize(
    ("identity", "name", "request_", "expected"),
    [
        ("gateway", "Connect", pb.ConnectRequest(), MALFORMED),
        ("responder", "Connect", pb.ConnectRequest(), DENIED),
        ("gateway", "Disconnect", pb.DisconnectRequest(account="1"), OK),
        ("responder", "Disconnect", pb.DisconnectRequest(account="1"), DENIED),
        ("gateway", "Forget", pb.ForgetRequest(app_scoped_id="1"), OK),
        ("responder", "ReportRejected", pb.ReportRejectedRequest(account="1"), UNKNOWN),
        ("gateway", "ReportRejected", pb.ReportRejectedRequest(account="1"), DENIED),
        ("operator", "Add", pb.AddRequest(), MALFORMED),
        ("gateway", "Add", pb.AddRequest(), DENIED),
        ("gateway", "ListAccounts", pb.ListAccountsRequest(), OK),
        ("responder", "ListAccounts", pb.ListAccountsRequest(), OK),
        ("stranger", "ListAccounts", pb.ListAccountsRequest(), DENIED),
    ],
)
async def test_each_service_may_call_what_it_needs(call, authority, tmp_path, identity, name, request_, expected):
    assert await call(authority.issue(tmp_path / "caller", identity), name, request_) == expected


async def test_a_stream_is_guarded_too(server, authority, tmp_path):
    channel = Channel(f"127.0.0.1:{server.port}", tls_files(authority.issue(tmp_path / "r", "responder")))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in channel.stub(tokens_pb2_grpc.TokensStub).RotateKeys(pb.RotateKeysRequest(), timeout=5):
            pass
    assert caught.value.code() == DENIED
    await channel.close()


async def test_new_certificates_are_read_on_both_ends(server, authority, tmp_path):
    """A new authority takes over while both keep running: the old one's certificates end with it."""
    client = authority.issue(tmp_path / "client", "responder")
    stays = authority.issue(tmp_path / "stays", "responder")
    channel = Channel(f"127.0.0.1:{server.port}", tls_files(client))
    assert await status(channel) == OK
    newer = Authority("newer")
    for folder, name in ((tmp_path / "tokens", "tokens"), (client, "responder")):
        newer.issue(folder, name)
        later(folder)
    assert await status(channel) == OK
    await channel.close()
    left_behind = Channel(f"127.0.0.1:{server.port}", tls_files(stays))
    assert await status(left_behind) == UNAVAILABLE
    await left_behind.close()


async def test_channels_that_share_their_files_all_notice_new_ones(server, authority, tmp_path):
    client = authority.issue(tmp_path / "client", "responder")
    shared = tls_files(client)
    channels = [Channel(f"127.0.0.1:{server.port}", shared) for _ in range(2)]
    assert [await status(channel) for channel in channels] == [OK, OK]
    newer = Authority("newer")
    for folder, name in ((tmp_path / "tokens", "tokens"), (client, "responder")):
        newer.issue(folder, name)
        later(folder)
    assert [await status(channel) for channel in channels] == [OK, OK]
    assert [len(channel.retired) for channel in channels] == [1, 1]
    for channel in channels:
        await channel.close()


@pytest.mark.parametrize(("ends", "left"), [(timedelta(days=3), 86_400), (timedelta(hours=-1), -3600)])
async def test_the_metric_tells_which_certificate_ends_first(authority, tmp_path, ends, left):
    """The authority's lives for a day."""
    registry = CollectorRegistry()
    metrics = CommonMetrics(registry, [])
    assert registry.get_sample_value("igbot_certificate_expiry_seconds") == float("inf")
    show_expiry(metrics, tls_files(authority.issue(tmp_path / "mine", "tokens", ends=ends)))
    assert registry.get_sample_value("igbot_certificate_expiry_seconds") == pytest.approx(left, abs=60)
    later(authority.issue(tmp_path / "mine", "tokens", ends=timedelta(hours=2)))
    assert registry.get_sample_value("igbot_certificate_expiry_seconds") == pytest.approx(7200, abs=60)


async def test_files_that_are_missing_for_a_moment_do_not_stop_calls(server, authority, tmp_path):
    client = authority.issue(tmp_path / "client", "responder")
    channel = Channel(f"127.0.0.1:{server.port}", tls_files(client))
    assert await status(channel) == OK
    (client / "tls.crt").unlink()
    assert await status(channel) == OK
    await channel.close()


def later(folder):
    """Make sure that the files are seen as newer, however coarse the file system's times are."""
    for path in folder.iterdir():
        stat = path.stat()
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 2_000_000_000))
