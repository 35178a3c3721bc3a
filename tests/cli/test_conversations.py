import json

import pytest

from services.common.pb import responder_pb2 as pb

FAILED = pb.Conversation(account="1", person="9", state="failed", tries=8, last_error="the model refused")


def test_conversations_in_a_state_are_listed(igbot, conversations):
    conversations.answers["List"] = pb.ListResponse(conversations=[FAILED])
    ran = igbot("conversations", "list", "--state", "failed")
    assert ran.code == 0
    assert conversations.asked == [pb.ListRequest(state="failed", limit=100)]
    assert "the model refused" in ran.out


def test_an_unknown_state_is_a_usage_error(igbot, conversations):
    ran = igbot("conversations", "list", "--state", "sleepy")
    assert ran.code == 2
    assert conversations.asked == []


def test_no_conversation_is_exit_code_one(igbot):
    assert igbot("conversations", "list", "--state", "held").code == 1


def test_one_conversation_is_told_whole(igbot, conversations):
    message = pb.Message(mid="m1", author="customer", at_ms=1_790_000_000_000, text="hello", answered_by="r1")
    reply = pb.Reply(id="r1", parts=[pb.Part(n=0, text="hi there", state="sent", mid="m2")])
    conversations.answers["Get"] = pb.GetResponse(conversation=FAILED, messages=[message], replies=[reply])
    ran = igbot("conversations", "show", "1", "9")
    assert ran.code == 0
    for word in ("failed", "hello", "hi there", "r1", "sent"):
        assert word in ran.out


def test_one_conversation_is_one_object_for_programs(igbot, conversations):
    conversations.answers["Get"] = pb.GetResponse(conversation=FAILED)
    (line,) = igbot("conversations", "show", "1", "9", "--json").out.splitlines()
    assert json.loads(line)["conversation"]["state"] == "failed"


def test_one_conversation_is_tried_again(igbot, conversations):
    assert igbot("conversations", "retry", "1", "9").code == 0
    assert conversations.asked == [pb.RetryRequest(account="1", person="9")]


def test_all_failed_conversations_are_tried_again(igbot, conversations):
    conversations.answers["List"] = pb.ListResponse(conversations=[FAILED])
    assert igbot("conversations", "retry", "--all").code == 0
    assert conversations.asked[-1] == pb.RetryRequest(account="1", person="9")


@pytest.mark.parametrize("words", [(), ("1",), ("1", "9", "--all")])
def test_a_retry_without_one_clear_target_is_a_usage_error(igbot, conversations, words):
    assert igbot("conversations", "retry", *words).code == 2
    assert conversations.asked == []


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (("--all",), pb.PauseRequest()),
        (("--account", "1"), pb.PauseRequest(account="1")),
        (("--account", "1", "--person", "9"), pb.PauseRequest(account="1", person="9")),
    ],
)
def test_a_pause_reaches_what_is_named(igbot, conversations, words, asked):
    conversations.answers["Pause"] = pb.PauseResponse(paused=3)
    ran = igbot("pause", *words)
    assert (ran.code, ran.out) == (0, "paused: 3\n")
    assert conversations.asked == [asked]


@pytest.mark.parametrize("command", ["pause", "resume"])
@pytest.mark.parametrize("words", [(), ("--all", "--account", "1"), ("--person", "9"), ("--all", "--person", "9")])
def test_a_pause_without_one_clear_target_is_a_usage_error(igbot, conversations, command, words):
    assert igbot(command, *words).code == 2
    assert conversations.asked == []


def test_a_pause_may_end_by_itself(igbot, conversations):
    assert igbot("pause", "--all", "--hours", "2").code == 0
    assert conversations.asked[0].until_ms > 0


def test_resuming_may_answer_what_waits(igbot, conversations):
    conversations.answers["Resume"] = pb.ResumeResponse(resumed=1)
    ran = igbot("resume", "--account", "1", "--person", "9", "--answer-pending")
    assert (ran.code, ran.out) == (0, "resumed: 1\n")
    assert conversations.asked == [pb.ResumeRequest(account="1", person="9", answer_pending=True)]
