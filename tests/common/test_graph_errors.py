"""Every answer of Meta's servers in tests/fixtures/graph, against the rules that read it."""

import json
from pathlib import Path

import pytest

from services.common.graph import deciphered
from services.common.graph_errors import Fault, GraphError, GraphFailure, read_error
from services.common.graph_usage import read_usage

FIXTURES = Path(__file__).parents[1] / "fixtures" / "graph"

# What each case calls for, and whether a send that was answered so was certainly not delivered.
ERRORS = {
    "error_0_auth": (Fault.TOKEN_DEAD, True),
    "error_1_1357046_sent_anyway": (Fault.TRANSIENT, False),
    "error_1_99_permission": (Fault.SETUP, True),
    "error_1_unknown": (Fault.TRANSIENT, False),
    "error_2_not_transient": (Fault.TRANSIENT, False),
    "error_2_transient": (Fault.TRANSIENT, False),
    "error_2500_path": (Fault.OUR_BUG, True),
    "error_25_2207050_restricted": (Fault.ACCOUNT_LIMITED, True),
    "error_3_capability": (Fault.SETUP, True),
    "error_4_1349210": (Fault.APP_LIMITED, True),
    "error_4_2207051_blocked": (Fault.BLOCKED, False),
    "error_4_app_limit": (Fault.APP_LIMITED, True),
    "error_10_1893063_restricted": (Fault.ACCOUNT_LIMITED, True),
    "error_10_2018108_unreachable": (Fault.UNREACHABLE, True),
    "error_10_2018278_window": (Fault.WINDOW_CLOSED, True),
    "error_10_2534022_window_ja": (Fault.WINDOW_CLOSED, True),
    "error_10_2534022_window_pt": (Fault.WINDOW_CLOSED, True),
    "error_10_2534077_link": (Fault.ACCOUNT_LIMITED, True),
    "error_10_permission": (Fault.ACCOUNT_LIMITED, True),
    "error_17_user_limit": (Fault.RATE_LIMITED, True),
    "error_32_page_limit": (Fault.RATE_LIMITED, True),
    "error_100_2018001_no_user": (Fault.UNREACHABLE, True),
    "error_100_2018008_media_fetch": (Fault.MEDIA, True),
    "error_100_2018047_media_type": (Fault.MEDIA, True),
    "error_100_2018109_media_size": (Fault.MEDIA, True),
    "error_100_2018294_media_timeout": (Fault.MEDIA, True),
    "error_100_2534014_ru": (Fault.UNREACHABLE, True),
    "error_100_2534014_tr": (Fault.UNREACHABLE, True),
    "error_100_2534015_invalid": (Fault.OUR_BUG, True),
    "error_100_2534025_private_reply": (Fault.OUR_BUG, True),
    "error_100_2534029_blocked": (Fault.ACCOUNT_LIMITED, True),
    "error_100_2534037_not_owner": (Fault.NOT_THREAD_OWNER, True),
    "error_100_2534068_multi_image": (Fault.MEDIA, True),
    "error_100_33_missing": (Fault.GONE, True),
    "error_100_nonexisting_field": (Fault.OUR_BUG, True),
    "error_100_text_too_long": (Fault.OUR_BUG, True),
    "error_102_key_invalid": (Fault.TOKEN_DEAD, True),
    "error_190_458_app_removed": (Fault.APP_REMOVED, True),
    "error_190_459_checkpoint": (Fault.TOKEN_DEAD, True),
    "error_190_460_password": (Fault.TOKEN_DEAD, True),
    "error_190_463_expired": (Fault.TOKEN_DEAD, True),
    "error_190_463_expired_pt": (Fault.TOKEN_DEAD, True),
    "error_190_467_invalid": (Fault.TOKEN_DEAD, True),
    "error_190_cannot_parse": (Fault.TOKEN_DEAD, True),
    "error_190_invalid": (Fault.TOKEN_DEAD, True),
    "error_200_1545041_unreachable": (Fault.UNREACHABLE, True),
    "error_200_2018028_role": (Fault.SETUP, True),
    "error_200_2534041_dm_off": (Fault.ACCOUNT_LIMITED, True),
    "error_200_dm_off_no_subcode": (Fault.ACCOUNT_LIMITED, True),
    "error_200_permission": (Fault.ACCOUNT_LIMITED, True),
    "error_230_consent": (Fault.NO_PROFILE, True),
    "error_368_policy": (Fault.BLOCKED, True),
    "error_429_plain": (Fault.RATE_LIMITED, True),
    "error_551_unreachable": (Fault.UNREACHABLE, True),
    "error_613_1996": (Fault.RATE_LIMITED, True),
    "error_613_2018338_person": (Fault.PERSON_LIMITED, True),
    "error_613_2534040": (Fault.RATE_LIMITED, True),
    "error_613_rate": (Fault.RATE_LIMITED, True),
    "error_9010_review_bot": (Fault.NO_PROFILE, True),
    "error_10900_private_reply": (Fault.OUR_BUG, True),
    "error_10903_private_reply": (Fault.OUR_BUG, True),
    "error_80001_page_bucket": (Fault.RATE_LIMITED, True),
    "error_80002_bucket": (Fault.RATE_LIMITED, True),
    "error_80006_messenger_bucket": (Fault.RATE_LIMITED, True),
    "error_2018300_not_owner": (Fault.NOT_THREAD_OWNER, True),
    "error_9000001_deleted": (Fault.GONE, True),
    "error_code_as_text": (Fault.TOKEN_DEAD, True),
    "error_human_agent_not_approved": (Fault.TAG_REFUSED, True),
    "error_minus_1": (Fault.TRANSIENT, False),
    "error_minus_2_timeout": (Fault.TRANSIENT, False),
    "error_not_an_object": (Fault.UNKNOWN_CODE, True),
    "error_unknown_code": (Fault.UNKNOWN_CODE, True),
    "long_lived_key_invalid": (Fault.ALREADY_LONG_LIVED, True),
    "long_lived_not_tester": (Fault.SETUP, True),
    "me_not_tester": (Fault.SETUP, True),
    "oauth_code_used": (Fault.CODE_SPENT, True),
    "oauth_invalid_platform_app": (Fault.SETUP, True),
    "oauth_rate_limited": (Fault.RATE_LIMITED, True),
    "oauth_redirect_mismatch": (Fault.SETUP, True),
    "refresh_expired": (Fault.TOKEN_DEAD, True),
    "refresh_post": (Fault.SETUP, True),
    "refresh_too_young": (Fault.OUR_BUG, True),
    "send_cut_off": (Fault.TRANSIENT, False),
    "send_error_in_200": (Fault.TRANSIENT, False),
    "send_not_json": (Fault.TRANSIENT, False),
    "subscribe_no_permission": (Fault.ACCOUNT_LIMITED, True),
    "subscribe_not_tester": (Fault.SETUP, True),
    "subscribe_unknown_field": (Fault.OUR_BUG, True),
}


def cases():
    """Every fixture: its name, its status and its bytes."""
    for path in sorted(FIXTURES.glob("*/*")):
        if not path.name.endswith(".headers.json"):
            yield path.parent.name, int(path.name.partition(".")[0]), path


def outcome(status: int, path: Path) -> GraphFailure | None:
    """What the client makes of an answer."""
    try:
        deciphered(status, path.read_bytes(), headers(path))
    except GraphFailure as failure:
        return failure
    return None


def fault(status: int, body: object) -> Fault | None:
    """What a body calls for."""
    error = read_error(status, body)
    return error.fault if error else None


def headers(path: Path) -> dict[str, str]:
    """The headers that came with an answer."""
    beside = path.with_name(f"{path.name.partition('.')[0]}.headers.json")
    return json.loads(beside.read_text()) if beside.exists() else {}


@pytest.mark.parametrize(("case", "status", "path"), [pytest.param(*one, id=one[0]) for one in cases()])
def test_an_answer_calls_for_what_the_table_says(case, status, path):
    failure = outcome(status, path)
    if case not in ERRORS:
        assert failure is None
        return
    assert failure is not None
    assert (failure.fault, failure.refused) == ERRORS[case]


def test_every_row_of_the_table_has_its_fixture():
    assert set(ERRORS) <= {case for case, _, _ in cases()}


def test_only_190_102_and_0_mean_a_dead_token():
    dead = {Fault.TOKEN_DEAD, Fault.APP_REMOVED}
    failures = [outcome(status, path) for case, status, path in cases() if ERRORS.get(case, ("",))[0] in dead]
    assert {failure.error.code for failure in failures if failure and failure.error} == {190, 102, 0}


def test_code_0_is_a_dead_token_only_as_an_oauth_exception():
    assert GraphError(400, 0, type="OAuthException").fault == Fault.TOKEN_DEAD
    assert GraphError(400, 0, type="IGApiException").fault == Fault.UNKNOWN_CODE


def test_an_error_without_a_code_is_no_dead_token():
    assert fault(400, {"error": {"type": "OAuthException"}}) == Fault.UNKNOWN_CODE


@pytest.mark.parametrize("status", [400, 401, 403, 500])
def test_the_status_decides_nothing(status):
    body = {"error": {"code": 190, "type": "IGApiException", "message": "Ungültig"}}
    assert fault(status, body) == Fault.TOKEN_DEAD


def test_a_limit_says_how_many_seconds_to_wait():
    bucket = FIXTURES / "error_80002_bucket" / "400.json"
    plain = FIXTURES / "error_429_plain" / "429.json"
    assert read_usage(headers(bucket)).regain_seconds == 23 * 60
    assert read_usage(headers(plain)).regain_seconds == 7


def test_a_failure_never_says_what_was_in_the_answer():
    body = json.dumps({"error": {"code": 190, "message": "IGAAsecretsecretsecret", "type": "OAuthException"}}).encode()
    with pytest.raises(GraphFailure) as caught:
        deciphered(400, body, {})
    assert "IGAA" not in f"{caught.value!r} {caught.value} {caught.value.error!r}"
