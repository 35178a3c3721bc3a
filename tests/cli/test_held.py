import json

import pytest

from services.common.pb import responder_pb2 as pb

SENT = pb.Part(n=0, text="first", state="sent")
HELD = pb.Part(n=1, text="second", state="held", sending_at_ms=1_790_000_000_000)


def test_only_held_parts_are_listed(igbot, conversations):
    reply = pb.Reply(id="r1", account="1", person="9", parts=[SENT, HELD])
    conversations.answers["ListHeld"] = pb.ListHeldResponse(replies=[reply])
    (line,) = igbot("held", "list", "--json").out.splitlines()
    row = json.loads(line)
    assert (row["reply"], row["n"], row["text"], row["person"]) == ("r1", 1, "second", "9")


def test_nothing_held_is_exit_code_one(igbot):
    ran = igbot("held", "list")
    assert ran.code == 1
    assert "nothing is held" in ran.err


@pytest.mark.parametrize("decision", ["resend", "drop"])
def test_a_person_decides(igbot, conversations, decision):
    assert igbot("held", decision, "r1", "1", "--yes").code == 0
    assert conversations.asked == [pb.ResolveHeldRequest(reply="r1", part=1, decision=decision)]


@pytest.mark.parametrize("decision", ["resend", "drop"])
def test_a_person_is_asked_first(igbot, conversations, decision):
    assert igbot("held", decision, "r1", "1", typed="n\n").code == 1
    assert conversations.asked == []
