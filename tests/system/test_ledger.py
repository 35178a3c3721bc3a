"""The promise, with the true times: lost 0, doubled 0, out of order 0, held 0, whatever is killed or frozen when.

LEDGER_SEED and LEDGER_MESSAGES choose another storm.
"""

import os

import pytest

from tests.mongo import mongo_server, program
from tests.system.storm import VICTIMS, in_a_storm
from tests.system.supervisor import TWINS, Supervisor
from tests.system.verdict import tell

SEED = int(os.environ.get("LEDGER_SEED") or 7)


async def storm(machine, *, messages, rate, longest_freeze, victims=VICTIMS):
    messages = int(os.environ.get("LEDGER_MESSAGES") or messages)
    after = await in_a_storm(
        machine, messages=messages, rate=rate, longest_freeze=longest_freeze, seed=SEED, victims=victims
    )
    print(f"\nseed {SEED}: {after}")
    assert after.verdict.said == messages
    assert after.verdict.kept, tell(after.verdict, after.entries)
    assert not after.held
    assert not after.otherwise
    assert not machine.crashes()


SETTINGS = {"QUIET_SECONDS": "1", "QUIET_MAX_SECONDS": "3", "EDIT_NOISE": "true"}


async def test_three_hundred_messages_in_a_storm_of_kills_and_freezes(tmp_path):
    await storm(Supervisor(tmp_path, settings=SETTINGS), messages=300, rate=12, longest_freeze=6)


@pytest.mark.long
async def test_two_thousand_messages_in_a_longer_storm(tmp_path):
    await storm(Supervisor(tmp_path, settings=SETTINGS), messages=2000, rate=12, longest_freeze=20)


@pytest.mark.long
async def test_two_gateways_and_two_responders_share_the_work_in_a_storm(tmp_path):
    with mongo_server(tmp_path / "mongo") as mongo:
        machine = Supervisor(tmp_path / "igbot", mongo.url(), settings=SETTINGS, twins=True)
        await storm(machine, messages=300, rate=8, longest_freeze=20, victims=(*VICTIMS, *TWINS))
        assert all(machine.log(name).count("reply_finished") for name in ("responder", "responder2"))


@pytest.mark.long
async def test_the_same_on_a_mongodb_wire_server(tmp_path):
    with mongo_server(tmp_path / "mongo") as mongo:
        machine = Supervisor(tmp_path / "igbot", mongo.url(), settings=SETTINGS)
        messages = 2000 if "secantusd-rs" in program() else 300  # the Python build is slow where many documents match
        await storm(machine, messages=messages, rate=12, longest_freeze=20)
