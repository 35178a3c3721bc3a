"""What three real processes log of one message: every line findable by its id, and no word of what was said."""

import json

from tests.system.supervisor import SECRET, Supervisor
from tests.system.town import A, running, until

PERSON, WORDS = "6900000000000777", "where is my parcel, I live at 7 Quay Street"
SERVICES = ("gateway", "responder", "tokens")


def lines_of(machine, name):
    whole = machine.log(name).rpartition("\n")[0]  # the last line may be half written
    return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]


def about(machine, request):
    """Every service's lines that carry an id."""
    return {
        name: [line for line in lines_of(machine, name) if request in (line.get("request"), *line.get("requests", ()))]
        for name in SERVICES
    }


def finished(machine, mid):
    """The line that tells of the reply to a message."""
    ends = [line for line in lines_of(machine, "responder") if line["event"] == "reply_finished"]
    return next((line for line in ends if mid in line["mids"]), None)


async def test_one_message_is_followed_through_three_processes_by_its_id(tmp_path):
    machine = Supervisor(tmp_path)
    async with running(machine, A) as town:
        mid = (await town.say(PERSON, WORDS))["mid"]

        async def answered():
            return finished(machine, mid)

        end = await until(answered, 30, lambda: machine.log("responder")[-3000:])
        found = about(machine, end["request"])
    events = {name: [line["event"] for line in lines] for name, lines in found.items()}
    assert "event_handed_on" in events["gateway"]
    assert events["responder"][0] == "event_recorded", events
    assert "reply_finished" in events["responder"]
    assert "rpc_answered" in events["tokens"]
    assert {line["method"] for line in found["tokens"]} <= {"GetToken", "ListAccounts"}
    handed, recorded = found["gateway"][0], found["responder"][0]
    assert handed["mid"] == recorded["mid"] == mid
    assert (recorded["account"], recorded["person"], recorded["outcome"]) == (A, PERSON, "stored")
    assert (end["account"], end["person"], end["outcome"]) == (A, PERSON, "sent")
    for name in SERVICES:
        assert WORDS not in machine.log(name)
        assert SECRET not in machine.log(name)


async def test_text_is_logged_when_it_is_asked_for(tmp_path):
    machine = Supervisor(tmp_path, settings={"LOG_TEXT": "true"})
    async with running(machine, A) as town:
        mid = (await town.say(PERSON, WORDS))["mid"]

        async def answered():
            return finished(machine, mid)

        await until(answered, 30, lambda: machine.log("responder")[-3000:])
    about_it = [line for line in lines_of(machine, "responder") if line.get("mid") == mid]
    (recorded,) = [line for line in about_it if line.get("outcome") == "stored"]  # it may have been delivered twice
    assert recorded["text"] == WORDS
    assert SECRET not in machine.log("responder")
