"""Whatever goes wrong around a send, its customer reads the reply once. Real processes, the ledger's times divided."""

import asyncio
from dataclasses import dataclass, field

import pytest

from tests.system.load import idle
from tests.system.supervisor import Supervisor
from tests.system.town import A, B, running, until

LIMITED = "an account limit"  # of the other account, for it holds up everybody there

# What goes wrong with the POST of a reply; `after` means that Instagram had sent it all the same.
FAULTS: dict[str, dict] = {
    "an error of Meta's own, sent": {"kind": "status", "status": 500, "code": 2, "after": True},
    "an error of Meta's own, not sent": {"kind": "status", "status": 500, "code": 2},
    "sent but error returned": {"kind": "status", "status": 400, "code": 1, "subcode": 1357046, "after": True},
    "a reset, sent": {"kind": "reset", "after": True},
    "a reset, not sent": {"kind": "reset"},
    "a time-out, sent": {"kind": "timeout", "seconds": 3, "after": True},
    "a time-out, not sent": {"kind": "timeout", "seconds": 3},
    "a proxy's error": {"kind": "status", "status": 503, "code": -1},
    "no echo": {"kind": "no_echo"},
    "a late echo": {"kind": "late_echo", "seconds": 2},
    LIMITED: {"kind": "status", "status": 400, "code": 613},
}
# These two at once: the outcome is unknown, and no echo tells.
SILENT: dict[str, dict] = {"a reset, sent, and no echo": {"kind": "reset", "after": True}}
PEOPLE = {name: str(6_930_000_000_000_000 + n) for n, name in enumerate([*FAULTS, *SILENT, "model", "webhook"])}


def account_of(name):
    return B if name == LIMITED else A


@dataclass
class Seen:
    faults: list = field(default_factory=list)
    sends: dict = field(default_factory=dict)
    stories: dict = field(default_factory=dict)
    crashes: dict = field(default_factory=dict)


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    return asyncio.run(play(tmp_path_factory.mktemp("faults")))


async def play(folder):
    found = Seen()
    machine = Supervisor(folder, settings={"IGBOT_TEST_TIME_DIVISOR": "20"})
    async with running(machine, A, B) as town:
        for name, fault in {**FAULTS, **SILENT}.items():
            await town.control("faults", target="graph", times=1, match=f'"text": "“{PEOPLE[name]}', **fault)
        await order_the_rest(town)
        for name, person in PEOPLE.items():
            await town.say(person, f"{person}: {name}?", account_of(name))
        await until(lambda: all_answered(town), 60, lambda: f"{town.missing}")
        await until(lambda: idle(town), 30, "not idle")
        found.faults = await town.entries("fault")
        entries = await town.entries("send")
        for name, person in PEOPLE.items():
            found.sends[name] = [one for one in entries if one["person"] == person and one["accepted"]]
            found.stories[name] = await town.conversation(account_of(name), person)
    found.crashes = machine.crashes()
    return found


async def order_the_rest(town):
    person = PEOPLE["a reset, sent, and no echo"]
    await town.control("faults", target="graph", kind="no_echo", match=f"“{person}")
    await town.control("faults", target="model", kind="status", status=500, times=2, match=PEOPLE["model"])
    for kind in ("timeout", "status", "reset"):
        await town.control("faults", target="webhook", kind=kind, after=True, match=f'{PEOPLE["webhook"]}"')


async def all_answered(town):
    sent = {one["person"] for one in await town.entries("send") if one["accepted"]}
    town.missing = [name for name, person in PEOPLE.items() if person not in sent]
    return not town.missing


def test_everything_went_wrong_as_ordered(seen):
    assert len([one for one in seen.faults if one["target"] == "graph"]) == len(FAULTS) + len(SILENT) + 1
    assert len([one for one in seen.faults if one["target"] == "model"]) == 2


@pytest.mark.parametrize("name", PEOPLE)
def test_the_customer_reads_the_reply_once(seen, name):
    assert len(seen.sends[name]) == 1


@pytest.mark.parametrize("name", PEOPLE)
def test_the_reply_is_known_to_be_sent_and_nobody_paused(seen, name):
    story = seen.stories[name]
    (reply,) = story.replies
    assert [part.state for part in reply.parts] == ["sent"]
    assert [part.mid for part in reply.parts] == [seen.sends[name][0]["mid"]]
    assert story.conversation.paused_until_ms == 0
    assert [one.author for one in story.messages] == ["customer", "bot"]


def test_no_service_printed_a_traceback(seen):
    assert seen.crashes == {}
