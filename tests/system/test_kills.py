"""Two hundred messages and more while all is killed, one after another: nothing is lost, nothing is sent twice."""

import asyncio
import random
from collections import Counter

import pytest

from tests.mongo import mongo_server
from tests.system.load import Load, not_answered, settled
from tests.system.storm import Storm
from tests.system.supervisor import Supervisor
from tests.system.town import A, running

WAVE = ("responder", "gateway", "valkey", "tokens", "send", "gateway", "responder")
PLAN = (*WAVE, *WAVE)
SEED = 20261001
# Of the ledger's times: a send of unknown outcome is settled in seconds. `test_ledger` runs with the true ones.
DIVISOR = "10"


async def storm_of_kills(machine, plan):
    rng = random.Random(SEED)
    async with running(machine, A) as town:
        over = asyncio.Event()  # until then somebody writes: a kill in the middle of a send needs one
        load, storm = Load(town, messages=200, rate=20, rng=rng, enough=over.is_set), Storm(town, rng, every=0.9)
        writing = asyncio.create_task(load.run())
        await storm.follow(plan)
        await storm.over()
        over.set()
        await writing
        verdict = await settled(town)
        held, otherwise = await town.held(), await not_answered(town, await town.ledger())
    killed = Counter(name for name, how, _ in machine.kills if how == "SIGKILL")
    print(f"\nkills {dict(killed)}: {verdict}, held {len(held)}; seed {SEED}")
    assert sum(killed.values()) >= 10
    assert set(killed) == {"gateway", "tokens", "responder", "valkey"}
    assert verdict.said == load.said >= 200
    # Order is not promised here: the divided times give a reply of unknown outcome up before a killed service is back.
    assert not [*verdict.lost, *verdict.doubled, *verdict.unexplained], verdict
    assert not held
    assert not otherwise
    assert not machine.crashes()


async def test_nothing_acked_is_lost_or_sent_twice_while_every_process_is_killed(tmp_path):
    await storm_of_kills(Supervisor(tmp_path, settings={"IGBOT_TEST_TIME_DIVISOR": DIVISOR}), PLAN)


@pytest.mark.long
async def test_the_same_holds_on_a_mongodb_wire_server(tmp_path):
    with mongo_server(tmp_path / "mongo") as mongo:
        settings = {"IGBOT_TEST_TIME_DIVISOR": DIVISOR}
        machine = Supervisor(tmp_path / "igbot", mongo.url(), settings=settings)
        await storm_of_kills(machine, PLAN)
