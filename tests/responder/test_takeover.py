"""Two real responders on one database: what one of them was working on is carried on by the other."""

import asyncio
import json
import signal
import sys
import time
from contextlib import asynccontextmanager, suppress

import grpc
import pytest

from services.common.pb import responder_pb2, responder_pb2_grpc
from tests.responder.outer import Outer, Process, event, served

SLOW_SECONDS = 10.0
# A lease of 6 s and a poll; at once, which is a poll too, and less than a lease; and what this machine does besides.
# The 8 s that are promised are measured by bench/takeover.py.
WITHIN = {signal.SIGKILL: 20.0, signal.SIGTERM: 5.5}


class Thinking(Outer):
    """A model that never answers the first call, and every other one at once."""

    async def model(self, request):
        answer = await super().model(request)
        if self.model_calls == 1:
            await asyncio.sleep(60)
        return answer


class Slow(Outer):
    """An Instagram that takes longer over a message than the responder may take to stop."""

    async def message(self, request):
        answer = await super().message(request)
        if self.arrived:
            await asyncio.sleep(SLOW_SECONDS)
        return answer


async def start(process):
    log = (process.folder / "log").open("ab")
    command = (sys.executable, "-m", "services.cli.main", "responder")
    process.running = await asyncio.create_subprocess_exec(
        *command, env=process.environment, stdout=log, stderr=log, start_new_session=True
    )
    log.close()


@asynccontextmanager
async def replicas(tmp_path, url, outer, **settings):
    """Two responders on the same MongoDB."""
    async with served(outer) as ports:
        both = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            both.append(Process(tmp_path / name, ports, DATABASE_URL=url, LEASE_SECONDS="6", **settings))
        try:
            for process in both:
                await start(process)
            yield both
        finally:
            for process in both:
                if process.running.returncode is None:
                    process.running.kill()
                await process.running.wait()


async def up(process):
    async with asyncio.timeout(30), process.stub(responder_pb2_grpc.ConversationsStub) as stub:
        while True:
            with suppress(grpc.aio.AioRpcError):
                await stub.List(responder_pb2.ListRequest(), timeout=5, wait_for_ready=True)
                return
            await asyncio.sleep(0.1)


async def until(fact, within):
    began = time.monotonic()
    while not fact():
        assert time.monotonic() < began + within
        await asyncio.sleep(0.02)
    return time.monotonic() - began


def troubles(process):
    """The lines of its log that tell of trouble."""
    lines = (process.folder / "log").read_text().splitlines()
    return [line for line in lines if not line.startswith("{") or json.loads(line)["level"] in {"warning", "error"}]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "told to stop"])
async def test_the_conversation_of_a_responder_that_ends_is_carried_on_by_the_other(tmp_path, mongo_url, how):
    outer = Thinking("Yes, until six.")
    async with replicas(tmp_path, mongo_url, outer) as (one, two):
        await up(one)
        await up(two)
        await one.deliver(event("m1", "Do you open on Sunday?"))
        await until(lambda: outer.model_calls == 1, 20)
        one.running.send_signal(how)
        took = await until(lambda: outer.arrived, WITHIN[how])
        assert [text for _, text in outer.arrived] == ["Yes, until six."]
        assert took > (3 if how is signal.SIGKILL else 0), "the other one had it from the beginning"
        code = await asyncio.wait_for(one.running.wait(), 60)
        if how is signal.SIGTERM:
            assert (code, troubles(one)) == (0, [])
        await two.deliver(event("m2", "And on Monday?"))
        await until(lambda: len(outer.arrived) == 2, 20)
        assert troubles(two) == []


async def test_what_takes_longer_than_the_drain_is_let_go_before_the_store_closes(tmp_path, mongo_url):
    outer = Slow("Yes, until six.")
    async with replicas(tmp_path, mongo_url, outer, DRAIN_SECONDS="0.2") as (one, _):
        await up(one)
        await one.deliver(event("m1", "Do you open on Sunday?"))
        await until(lambda: outer.arrived, 20)
        one.running.terminate()
        began = time.monotonic()
        assert await asyncio.wait_for(one.running.wait(), 60) == 0
        assert time.monotonic() - began < SLOW_SECONDS - 1
        assert troubles(one) == []
