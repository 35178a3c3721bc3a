"""Services that are stopped and started at random moments while people write, as new versions are: in peace, always.

STOPS_SEED and STOPS_MESSAGES choose other moments.
"""

import asyncio
import os
import random
from collections import Counter

import pytest

from tests.system.load import Load, not_answered, settled
from tests.system.storm import order_faults
from tests.system.supervisor import Supervisor
from tests.system.town import A, B, running

SEED = int(os.environ.get("STOPS_SEED") or 4)
MESSAGES = int(os.environ.get("STOPS_MESSAGES") or 300)
SETTINGS = {"QUIET_SECONDS": "0.5", "QUIET_MAX_SECONDS": "2", "EDIT_NOISE": "true", "GAP_CHECK": "true"}


async def roll(machine, rng, writing):
    """Stop one service after another, for as long as somebody writes; return how often each ended with which code."""
    codes = Counter()
    while not writing.done() or len(codes) < 3:
        name = rng.choice(("gateway", "responder", "tokens"))
        codes[name, await asyncio.to_thread(machine.stop, name)] += 1
        await machine.restart(name)
        await asyncio.sleep(rng.uniform(0, 0.8))
    return codes


@pytest.mark.long
async def test_a_stop_at_any_moment_loses_nothing_and_leaves_no_traceback(tmp_path):
    machine, rng = Supervisor(tmp_path, settings=SETTINGS), random.Random(SEED)
    async with running(machine, A, B) as town:
        await order_faults(town, MESSAGES)
        writing = asyncio.create_task(Load(town, messages=MESSAGES, rate=10, rng=rng).run())
        codes = await roll(machine, rng, writing)
        await writing
        verdict = await settled(town)
        held, otherwise = await town.held(), await not_answered(town, await town.ledger())
    print(f"\nstops {dict(codes)}: {verdict}; seed {SEED}")
    assert {code for _, code in codes} == {0}
    assert verdict.said == MESSAGES
    assert verdict.kept, verdict
    assert not held
    assert not otherwise
    assert not machine.crashes()
