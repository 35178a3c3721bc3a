"""What each answer of Meta's to a send leads to: for the part, the account and the conversation."""

import json
from pathlib import Path

import pytest

from services.common.graph import GraphFailure, deciphered
from services.common.graph_usage import Usage
from services.responder.graph_instagram import text_of
from tests.responder.fakes import A
from tests.responder.town import ANNA, HOUR, MINUTE, SECOND, opened

GRAPH = Path(__file__).parent.parent / "fixtures" / "graph"
FILES = sorted(one for one in GRAPH.glob("*/*") if not one.name.endswith(".headers.json"))

SENT = {"send_text", "send_text_part_2"}
LATER = {  # case -> why the account is held; the message goes out when it can send again
    **dict.fromkeys(
        ["error_17_user_limit", "error_32_page_limit", "error_613_1996", "error_613_2534040", "error_613_rate"],
        "rate_limited",
    ),
    **dict.fromkeys(
        ["error_80001_page_bucket", "error_80002_bucket", "error_80006_messenger_bucket", "error_429_plain"],
        "rate_limited",
    ),
    **dict.fromkeys(["error_4_1349210", "error_4_app_limit", "error_368_policy"], "rate_limited"),
    **dict.fromkeys(["error_0_auth", "error_102_key_invalid", "error_code_as_text"], "token_dead"),
    **{one.parent.name: "token_dead" for one in FILES if one.parent.name.startswith("error_190")},
    **dict.fromkeys(
        ["error_1_99_permission", "error_3_capability", "error_200_2018028_role", "error_10_permission"],
        "account_limited",
    ),
    **dict.fromkeys(
        ["error_10_1893063_restricted", "error_10_2534077_link", "error_100_2534029_blocked"], "account_limited"
    ),
    **dict.fromkeys(["error_25_2207050_restricted", "error_200_permission"], "account_limited"),
    **dict.fromkeys(["error_200_2534041_dm_off", "error_200_dm_off_no_subcode"], "account_limited"),
}
UNKNOWN = {
    *("error_1_unknown", "error_1_1357046_sent_anyway", "error_2_transient", "error_2_not_transient"),
    *("error_minus_1", "error_minus_2_timeout", "error_4_2207051_blocked"),
    *("send_empty_object", "send_error_in_200", "send_not_json", "send_cut_off", "send_self", "send_sender_action"),
}
REFUSED = {
    *("error_10_2018108_unreachable", "error_10_2018278_window", "error_10_2534022_window_ja"),
    *("error_10_2534022_window_pt", "error_200_1545041_unreachable", "error_551_unreachable", "error_2500_path"),
    *("error_613_2018338_person", "error_100_2534014_ru", "error_100_2534014_tr", "error_100_2534015_invalid"),
    *("error_100_2534037_not_owner", "error_2018300_not_owner", "error_100_33_missing", "error_100_2018001_no_user"),
    *("error_100_2018008_media_fetch", "error_100_2018047_media_type", "error_100_2018109_media_size"),
    *("error_100_2018294_media_timeout", "error_100_2534068_multi_image", "error_100_text_too_long"),
    *("error_100_2534025_private_reply", "error_10900_private_reply", "error_10903_private_reply"),
    *("error_100_nonexisting_field", "error_230_consent", "error_9010_review_bot", "error_9000001_deleted"),
    *("error_unknown_code", "error_not_an_object", "error_human_agent_not_approved"),
}
PAUSED = {"error_613_2018338_person", "error_100_2534037_not_owner", "error_2018300_not_owner"}
OTHERS = ("conversation", "long_lived", "me_", "message_detail", "oauth", "profile", "refresh", "subscribe", "unsub")


def answer(path):
    """What GraphInstagram.post_text makes of this answer: a mid, or a failure."""
    headers = path.with_name(f"{path.name.split('.')[0]}.headers.json")
    known = json.loads(headers.read_text()) if headers.exists() else {}
    try:
        found = deciphered(int(path.name.split(".")[0]), path.read_bytes(), known)
    except GraphFailure as failure:
        return failure
    return "ok" if text_of(found.body.get("message_id")) else "no mid"


def test_every_error_body_is_in_the_table():
    """A new fixture must say what it leads to; answers to other calls must only do no harm."""
    cases = {one.parent.name for one in FILES}
    others = {case for case in cases if case.startswith(OTHERS)}
    assert cases - others == SENT | set(LATER) | UNKNOWN | REFUSED


@pytest.mark.parametrize("path", FILES, ids=lambda one: f"{one.parent.name}/{one.name}")
async def test_an_answer_to_a_send_leads_to(town, path):
    case = path.parent.name
    town.instagram.script = [answer(path)]
    message = await town.say("hello")
    await town.advance(2 * SECOND)
    account, row = await town.store.accounts.get(A), await town.row()
    assert len(town.instagram.posts) == 1
    assert (account.hold or "") == LATER.get(case, "rate_limited" if "2207051" in case else account.hold or "")
    paused = any(one.since <= town.clock.now() < one.until for one in row.pauses)
    assert paused == (case in PAUSED)
    if case in SENT:
        assert row.reply is None
        assert (await town.answered_by(message)).startswith("reply")
    elif case in LATER:
        assert await town.parts() == ["ready"]
        assert row.waiting_for in {"token_dead", "account_limited"}
    elif case in UNKNOWN:
        assert await town.parts() == ["unknown"]
    elif case in REFUSED:
        assert row.reply is None
        reply = await town.store.sends.get(await town.answered_by(message))
        assert (reply.outcome, [str(part.state) for part in reply.parts]) == ("refused", ["refused"])
        assert account.hold is None
    if account.hold != "token_dead":
        assert (A, 190) not in town.tokens.rejected


@pytest.mark.parametrize("path", [one for one in FILES if one.parent.name in REFUSED], ids=lambda one: one.parent.name)
async def test_what_is_refused_is_never_sent_again(town, path):
    town.instagram.script = [answer(path)]
    await town.say("hello")
    await town.run()
    assert len(town.instagram.posts) == 1


@pytest.mark.parametrize("path", [one for one in FILES if one.parent.name in UNKNOWN], ids=lambda one: one.parent.name)
async def test_what_is_unknown_is_settled_and_never_doubled(town, path):
    failure = answer(path)
    town.instagram.script = ["no mid" if isinstance(failure, str) else ("arrives", failure)]
    await town.say("hello")
    await town.run()
    assert len(town.instagram.posts) == 1
    assert town.got() == ["answer 1"]
    assert (await town.row()).reply is None


@pytest.mark.parametrize(
    ("case", "held_for"),
    [
        ("error_80002_bucket/400.json", 23 * MINUTE),
        ("error_429_plain/429.json", 7 * SECOND),
        ("error_4_app_limit/403.json", MINUTE),
        ("error_368_policy/400.json", 4 * HOUR),
        ("error_4_2207051_blocked/403.json", 4 * HOUR),
    ],
)
async def test_a_limit_holds_the_account_as_long_as_it_says(town, case, held_for):
    town.instagram.script = [answer(GRAPH / case)]
    await town.say("hello")
    await town.advance(2 * SECOND)
    assert (await town.store.accounts.get(A)).hold_until == town.clock.now() + held_for


@pytest.mark.parametrize("status", [401, 403, 404, 407, 413])
async def test_what_a_proxy_refuses_goes_out_when_the_proxy_lets_it(town, status):
    with pytest.raises(GraphFailure) as found:
        deciphered(status, b"<html>No way</html>", {})
    town.instagram.script = [found.value] * 5
    message = await town.say("hello")
    await town.run(for_ms=10 * MINUTE)
    assert (town.got(), len(town.instagram.posts)) == (["answer 1"], 6)
    assert (await town.answered_by(message)).startswith("reply")
    assert town.tokens.rejected == []


@pytest.mark.parametrize("status", [408, 499])
async def test_what_a_proxy_timed_out_is_looked_for(town, status):
    with pytest.raises(GraphFailure) as found:
        deciphered(status, b"", {})
    town.instagram.script = [("arrives", found.value)]
    await town.say("hello")
    await town.run(for_ms=10 * MINUTE)
    assert (town.got(), len(town.instagram.posts)) == (["answer 1"], 1)


async def test_a_refused_first_part_drops_the_others(town):
    town.writer.script = ["a" * 900 + ".\n\n" + "b" * 900]
    town.instagram.script = [answer(GRAPH / "error_551_unreachable/400.json")]
    message = await town.say("hello")
    await town.run()
    reply = await town.store.sends.get(await town.answered_by(message))
    assert [str(part.state) for part in reply.parts] == ["refused", "dropped"]


async def test_a_refused_second_part_leaves_the_message_answered_by_the_first(town):
    town.writer.script = ["a" * 900 + ".\n\n" + "b" * 900 + ".\n\n" + "c" * 900]
    town.instagram.script = ["ok", answer(GRAPH / "error_10_2534022_window_pt/403.json")]
    message = await town.say("hello")
    await town.run()
    reply = await town.store.sends.get(await town.answered_by(message))
    assert (reply.outcome, [str(part.state) for part in reply.parts]) == ("partly_sent", ["sent", "refused", "dropped"])


async def test_a_refusal_stays_one_when_the_worker_dies_and_a_person_writes(town):
    town.instagram.script = [answer(GRAPH / "error_551_unreachable/400.json")]
    town.kill_at = "after_record"
    message = await town.say("hello")
    await town.advance(2 * SECOND)
    await town.human("let me see")
    await town.run()
    reply = await town.store.sends.get(await town.answered_by(message))
    assert reply.outcome == "refused"


# --- usage headers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("percent", "regain", "wait"),
    [(0, None, 0), (79.9, None, 0), (80, None, SECOND), (90, None, 30_500), (100, None, MINUTE), (100, 300, 300_000)],
)
async def test_usage_headers_slow_an_account_down_before_meta_does(file, percent, regain, wait):
    async with opened(file) as town:
        town.book.heard(A, Usage(percent=percent, regain_seconds=regain))
        await town.say("hello")
        town.clock.ms += 2 * SECOND
        await town.run(for_ms=max(0, wait - 2 * SECOND - 1))
        assert len(town.got()) == (0 if wait > 2 * SECOND else 1)
        await town.run(for_ms=2 * MINUTE)
        assert len(town.got()) == 1


async def test_an_account_whose_usage_sinks_is_fast_again_and_others_never_were_slow(town):
    town.book.heard(A, Usage(percent=95))
    assert not await town.book.may_work(A)
    assert await town.book.may_work("another")
    town.book.heard(A, Usage(percent=40))
    assert await town.book.may_work(A)
    assert (await town.row(ANNA)) is None
