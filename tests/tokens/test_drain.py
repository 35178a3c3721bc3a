"""How the token service stops."""

import asyncio
import time

from structlog.testing import capture_logs

from services.common.unfinished import Unfinished
from services.tokens.compose import drain


class SlowServer:
    """A server whose calls take all the grace that they are given."""

    def __init__(self):
        self.grace = 0.0

    async def stop(self, grace):
        self.grace = grace
        await asyncio.sleep(grace)


async def forever() -> None:
    await asyncio.Event().wait()


async def test_calls_and_what_outlives_them_share_one_drain():
    unfinished, server = Unfinished(), SlowServer()
    work = asyncio.ensure_future(unfinished.run(asyncio.Event().wait()))
    sweep = asyncio.ensure_future(forever())
    await asyncio.sleep(0)
    began = time.monotonic()
    with capture_logs() as lines:
        await drain(server, [sweep], unfinished, 2.0)
    took = time.monotonic() - began
    assert 1.9 < took < 3.9  # each its own drain would be 4
    assert server.grace > 1.5
    assert sweep.cancelled()
    assert [(line["event"], line["tasks"]) for line in lines] == [("work_cut_off", 1)]
    work.cancel()


async def test_no_work_is_begun_while_calls_end():
    server, sweep = SlowServer(), asyncio.ensure_future(forever())
    await asyncio.sleep(0)
    stopping = asyncio.ensure_future(drain(server, [sweep], Unfinished(), 0.3))
    await asyncio.sleep(0.05)
    assert sweep.cancelled()
    await stopping
