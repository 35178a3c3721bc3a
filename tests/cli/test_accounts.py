import json

import grpc
import pytest

from services.common.pb import responder_pb2
from services.common.pb import tokens_pb2 as pb

SHOP = pb.Account(
    account="17841400000000001",
    app_scoped_id="27640875392278831",
    username="shop",
    state="active",
    expires_at_ms=1_790_000_000_000,
    scopes=["a", "b"],
)


def test_accounts_are_listed_for_people(igbot, tokens):
    tokens.answers["ListAccounts"] = pb.ListAccountsResponse(accounts=[SHOP])
    ran = igbot("accounts", "list")
    assert ran.code == 0
    assert "17841400000000001" in ran.out
    assert "2026-09-21" in ran.out


def test_accounts_are_listed_for_programs_one_object_a_line(igbot, tokens):
    other = pb.Account(account="2", state="reauthorize")
    tokens.answers["ListAccounts"] = pb.ListAccountsResponse(accounts=[SHOP, other])
    ran = igbot("accounts", "list", "--json")
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert [row["account"] for row in rows] == ["17841400000000001", "2"]
    assert rows[0]["expires_at_ms"] == 1_790_000_000_000
    assert rows[0]["scopes"] == ["a", "b"]


def test_no_account_is_exit_code_one(igbot):
    ran = igbot("accounts", "list")
    assert (ran.code, ran.out) == (1, "")
    assert "no account is connected" in ran.err


def test_one_account_is_shown_by_either_id(igbot, tokens):
    tokens.answers["ListAccounts"] = pb.ListAccountsResponse(accounts=[SHOP])
    ran = igbot("accounts", "show", "27640875392278831")
    assert ran.code == 0
    assert tokens.asked == [pb.ListAccountsRequest(account="27640875392278831")]
    assert "shop" in ran.out


def test_a_token_is_added_from_standard_input_alone(igbot, tokens):
    tokens.answers["Add"] = pb.AddResponse(account=SHOP)
    ran = igbot("accounts", "add", typed="IGAAsecret\n")
    assert ran.code == 0
    assert tokens.asked == [pb.AddRequest(token="IGAAsecret")]
    assert "IGAAsecret" not in ran.out + ran.err


def test_a_token_in_the_arguments_is_refused(igbot, tokens):
    assert igbot("accounts", "add", "IGAAsecret").code == 2
    assert tokens.asked == []


def test_missing_webhook_fields_are_a_problem(igbot, tokens):
    tokens.answers["Add"] = pb.AddResponse(account=SHOP, missing_fields=["messages"])
    ran = igbot("accounts", "add", typed="IGAAsecret\n")
    assert ran.code == 1
    assert "messages" in ran.err


def test_nothing_on_standard_input_is_a_problem(igbot, tokens):
    assert igbot("accounts", "add", typed="").code == 1
    assert tokens.asked == []


def test_disconnecting_asks_first(igbot, tokens):
    assert igbot("accounts", "disconnect", "1", typed="n\n").code == 1
    assert tokens.asked == []


def test_disconnecting_with_yes_does_not_ask(igbot, tokens):
    tokens.answers["Disconnect"] = pb.DisconnectResponse(account="1")
    ran = igbot("accounts", "disconnect", "1", "--yes", "--reason", "left")
    assert ran.code == 0
    assert tokens.asked == [pb.DisconnectRequest(account="1", reason="left")]


def test_disconnecting_an_account_that_is_connected_again_meanwhile_says_so(igbot, tokens):
    tokens.answers["Disconnect"] = pb.DisconnectResponse(account="1", connected_again=True)
    ran = igbot("accounts", "disconnect", "1", "--yes")
    assert ran.code == 1
    assert "connected again" in ran.err


def test_disconnecting_an_unknown_account_is_exit_code_one(igbot):
    assert igbot("accounts", "disconnect", "1", "--yes").code == 1


@pytest.mark.parametrize(("outcome", "code"), [("refreshed", 0), ("too_young", 0), ("refused", 1), ("failed", 1)])
def test_a_refresh_says_what_came_of_it(igbot, tokens, outcome, code):
    tokens.answers["Refresh"] = pb.RefreshResponse(account=SHOP, outcome=outcome)
    ran = igbot("accounts", "refresh", "1")
    assert ran.code == code
    assert outcome in ran.out


def test_a_token_that_is_too_young_is_told_with_its_plan(igbot, tokens):
    shop = pb.Account(account="1", next_refresh_at_ms=1_790_000_000_000)
    tokens.answers["Refresh"] = pb.RefreshResponse(account=shop, outcome="too_young")
    ran = igbot("accounts", "refresh", "1")
    assert "younger than 24 hours" in ran.err
    assert "2026-09-21" in ran.err


def test_a_check_that_finds_something_is_exit_code_one(igbot, tokens):
    good = pb.Finding(check="token", ok=True, found="works")
    bad = pb.Finding(check="subscription", ok=False, found="no webhooks", advice="connect again")
    tokens.answers["Check"] = pb.CheckResponse(account=SHOP, findings=[good, bad])
    ran = igbot("accounts", "check", "1")
    assert ran.code == 1
    assert "connect again" in ran.out
    assert "subscription" in ran.err
    assert "token" not in ran.err


def test_a_check_that_finds_nothing_is_exit_code_zero(igbot, tokens):
    tokens.answers["Check"] = pb.CheckResponse(findings=[pb.Finding(check="token", ok=True)])
    assert igbot("accounts", "check", "1").code == 0


@pytest.mark.parametrize("words", [(), ("--repair",)])
def test_a_check_repairs_only_when_it_is_told_to(igbot, tokens, words):
    tokens.answers["Check"] = pb.CheckResponse(findings=[pb.Finding(check="token", ok=True)])
    assert igbot("accounts", "check", "1", *words).code == 0
    assert tokens.asked[-1].repair == bool(words)


def test_a_check_tells_when_the_last_message_came(igbot, tokens, conversations):
    tokens.answers["Check"] = pb.CheckResponse(account=SHOP, findings=[pb.Finding(check="token", ok=True)])
    assert "none yet" in igbot("accounts", "check", "1").out
    latest = responder_pb2.Conversation(last_message_at_ms=1790856000000)
    conversations.answers["List"] = responder_pb2.ListResponse(conversations=[latest])
    assert "2026-10-01 12:00 UTC" in igbot("accounts", "check", "1").out
    assert conversations.asked[-1].account == SHOP.account


def test_a_check_goes_without_the_responder(igbot, tokens, conversations):
    tokens.answers["Check"] = pb.CheckResponse(account=SHOP, findings=[pb.Finding(check="token", ok=True)])
    conversations.refusals["List"] = (grpc.StatusCode.UNAVAILABLE, "away")
    ran = igbot("accounts", "check", "1")
    assert ran.code == 0
    assert "not known" in ran.out


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (grpc.StatusCode.NOT_FOUND, 1),
        (grpc.StatusCode.FAILED_PRECONDITION, 1),
        (grpc.StatusCode.PERMISSION_DENIED, 1),
        (grpc.StatusCode.UNIMPLEMENTED, 1),
        (grpc.StatusCode.UNAVAILABLE, 3),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 3),
    ],
)
def test_a_refusal_is_one_line_and_its_exit_code(igbot, tokens, status, code):
    tokens.refusals["Check"] = (status, "because")
    ran = igbot("accounts", "check", "1")
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.count("\n") == 1
    assert "because" in ran.err


def test_a_service_that_is_not_there_is_exit_code_three(bare):
    ran = bare("accounts", "list", TOKENS_ADDRESS="127.0.0.1:1")
    assert ran.code == 3
    assert ran.err.startswith("igbot: the service cannot be reached or is not ready: ipv4:127.0.0.1:1: ")
    assert ran.err.endswith(" Is igbot running? `igbot doctor` looks.\n")


def test_a_malformed_address_is_exit_code_two(bare):
    ran = bare("accounts", "list", TOKENS_ADDRESS="nonsense")
    assert ran.code == 2
    assert ran.err.startswith("igbot: these settings need attention")
    assert "TOKENS_ADDRESS" in ran.err


def test_certificates_that_are_not_there_are_exit_code_two(bare):
    ran = bare("accounts", "list", GRPC_TLS_DIR="/nope")
    assert ran.code == 2
    assert "GRPC_TLS_DIR: tls.key cannot be read" in ran.err


def test_control_characters_in_names_do_not_reach_the_terminal(igbot, tokens):
    tokens.answers["ListAccounts"] = pb.ListAccountsResponse(accounts=[pb.Account(account="1", username="\x1b[2Jshop")])
    ran = igbot("accounts", "list")
    assert "\x1b[2J" not in ran.out
    assert "shop" in ran.out
