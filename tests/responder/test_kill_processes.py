"""A real responder is killed at each named step of a send, whatever Instagram does and whenever the echo comes.

The ledger's times are divided by 20. test_kill_points.py has the same table inside one process, and all of it.
"""

import asyncio
import itertools
import signal
import time

import grpc
import pytest

from tests.responder.outer import DIVISOR, PATIENCE, Outer, Process, event, served
from tests.responder.test_kill_points import ANSWERS, ECHOES, STEPS

FIRST, SECOND_PART = "a" * 900 + ".", "b" * 900
AT_ONCE = 6


async def one_case(folder, step, answer, echo):
    """Kill at the step; say what the customer saw, how the conversation ended, and how the process did each time."""
    folder.mkdir()
    outer = Outer(text=f"{FIRST}\n\n{SECOND_PART}", script=[answer])
    async with served(outer) as ports:
        process = Process(folder, ports)
        echoes = set()

        async def on_arrival(mid, text):
            if echo == "early":
                await process.deliver(event(mid, text, echo=True))
            elif echo == "late":
                echoes.add(asyncio.create_task(late(mid, text)))

        async def late(mid, text):
            await asyncio.sleep(30 / DIVISOR)
            await process.deliver(event(mid, text, echo=True))

        outer.on_arrival = on_arrival
        keeping = asyncio.create_task(process.keep(step))
        try:
            outer.show("question", "6900000000000001", "hello")
            await process.deliver(event("question", "hello"))
            story = await ended(process, outer)
            await asyncio.gather(*echoes)
        finally:
            await process.stop(keeping)
    texts = [text for _, text in outer.arrived]
    return texts, str(story.conversation.state), process.exits


async def ended(process, outer):
    """Wait until nothing is left to do; return the story."""
    give_up = time.monotonic() + PATIENCE
    story = None
    while time.monotonic() < give_up:
        try:
            story = await process.story()
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0.1)
            continue
        if story.conversation.state == "idle" and story.replies and process.exits:
            return story
        await asyncio.sleep(0.1)
    raise AssertionError(f"not over: {story}, exits {process.exits}, arrived {len(outer.arrived)}")


async def check(tmp_path, cases):
    """Try the cases, a few at a time; report all that went wrong."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def tried(n, case):
        async with gate:
            return case, await one_case(tmp_path / str(n), *case)

    found = await asyncio.gather(*(tried(n, case) for n, case in enumerate(cases)))
    wanted = ([FIRST, SECOND_PART], "idle", [-signal.SIGKILL])
    wrong = [(case, [text[0] for text in texts], rest) for case, (texts, *rest) in found if (texts, *rest) != wanted]
    assert wrong == []


async def test_a_killed_process_is_carried_on_without_a_word_lost_or_doubled(tmp_path):
    await check(tmp_path, [("after_post", "sent_but_500", "early"), ("before_post", "timeout", "none")])


@pytest.mark.long
@pytest.mark.parametrize("step", STEPS)
async def test_a_process_killed_at_this_step_is_carried_on(tmp_path, step):
    await check(tmp_path, list(itertools.product([step], ANSWERS, ECHOES)))
