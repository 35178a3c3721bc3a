"""The model or the token service away for a while, and back: nothing is lost, and nobody is run over."""

import asyncio
import random
import time
from collections import Counter
from itertools import pairwise

import grpc
from aiohttp import web
from purgatory import AsyncCircuitBreakerFactory

from services.common.pb import tokens_pb2_grpc
from services.common.rpc import Channel
from services.common.settings import Address
from services.responder.outside import ModelRefused
from services.responder.rpc_tokens import RpcTokens
from services.responder.times import Times
from tests.ports import free_port
from tests.responder.fakes import REFUSED_CONNECTION, A, B
from tests.responder.outer import Lender
from tests.responder.test_adapters import completion, writer
from tests.responder.test_claim import claiming, until
from tests.responder.town import HOUR, MINUTE, SECOND, Outside, opened

PEOPLE = [str(n + 1) for n in range(60)]


async def test_the_backlog_after_an_outage_is_spread_over_minutes_and_everybody_is_answered_once(town):
    town.worker.jitter = random.Random(7).random
    await town.deliver(*[town.event(text="hello", person=person) for person in PEOPLE])
    town.writer.down = True
    await town.run(for_ms=10 * MINUTE)
    town.writer.down, asked = False, []

    class Watched:
        async def write_reply(self, turns, *, within):
            asked.append(town.clock.now() // SECOND)
            return await town.writer.write_reply(turns, within=within)

    town.composer.writer = Watched()
    back_at = town.clock.now()
    await town.run()
    assert [town.got(person) != [] for person in PEOPLE] == [True] * len(PEOPLE)
    assert len(town.instagram.arrived) == len(PEOPLE)
    assert max(Counter(asked).values()) <= 4
    assert asked[-1] * SECOND - back_at <= 5 * MINUTE


async def test_while_the_breaker_is_open_few_calls_are_made_and_when_it_closes_no_more_than_there_are_workers(file):
    up, calls, at_once, most = False, [], 0, 0

    async def answer(_request):
        nonlocal at_once, most
        calls.append(up)
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.02)
        at_once -= 1
        return completion("Hello!") if up else web.json_response({}, status=503)

    async with writer(answer) as (model, outcome), claiming(file, workers=4, connected=(A,)) as (town, _):
        model.breakers = AsyncCircuitBreakerFactory(default_threshold=8, default_ttl=0.3, exclude=[ModelRefused])
        town.composer.writer, town.worker.times = model, Times().divided(20)
        town.worker.jitter = random.random
        began = time.monotonic()
        await town.deliver(*[town.event(text="hello", person=person) for person in PEOPLE])
        await asyncio.sleep(2)
        while_down = len(calls)
        assert outcome("breaker_open") > while_down
        looks = (time.monotonic() - began) / 0.3 + 1
        assert while_down <= 8 + 4 + looks * 4  # until it opens; then at most every worker once each 0.3 s
        up = True
        await until(lambda: len(town.instagram.arrived) == len(PEOPLE), within=15)
        assert Counter(person for _, person, *_ in town.instagram.arrived) == Counter(PEOPLE)
        assert most <= 4


async def test_an_open_breaker_of_instagram_costs_one_write_a_look_and_the_looks_grow_rare(town):
    town.instagram.script = [REFUSED_CONNECTION]
    await town.say("hello")
    await town.advance(2 * SECOND)
    assert await town.parts() == ["ready"]
    town.instagram.breaker_open = True
    before = await town.row()
    await town.run(for_ms=30 * MINUTE)
    row = await town.row()
    assert (row.waiting_for, row.tries) == ("breaker_open", 0)
    looks = row.fence - before.fence
    assert 9 <= looks <= 20
    assert row.rev - before.rev == 2 * looks  # a claim and a release each
    assert row.reply.parts[0].attempt == before.reply.parts[0].attempt == 1
    town.instagram.breaker_open = False
    await town.run()
    assert (len(town.got()), len(town.writer.prompts)) == (1, 1)


async def test_while_the_breaker_of_instagram_is_open_no_text_is_written(town):
    town.instagram.breaker_open = True
    await town.say("hello")
    await town.run(for_ms=10 * MINUTE)
    assert (town.writer.prompts, (await town.row()).waiting_for) == ([], "breaker_open")
    town.instagram.breaker_open = False
    await town.run()
    assert town.got() == ["answer 1"]


async def test_a_breaker_that_opens_while_the_text_is_written_keeps_the_text(town):
    async def opens():
        town.instagram.breaker_open = True

    town.writer.meanwhile = [opens]
    await town.say("hello")
    await town.run(for_ms=MINUTE)
    assert await town.parts() == ["ready"]
    town.instagram.breaker_open = False
    await town.run()
    assert (town.got(), len(town.writer.prompts)) == (["answer 1"], 1)


async def test_connections_that_are_refused_are_tried_again_after_waits_that_grow_and_differ(file):
    waits = []
    for jitter in (0.0, 1.0):
        path = file.with_name(f"{jitter}.db")
        async with opened(path) as town:
            town.poster.jitter = lambda jitter=jitter: jitter
            town.instagram.script = [REFUSED_CONNECTION] * 4
            await town.say("hello")
            times = []
            for n in range(1, 6):
                while len(town.instagram.posts) < n:
                    await town.advance(SECOND)
                times.append(town.clock.now())
            waits.append([(after - before) // SECOND for before, after in pairwise(times)])
    assert waits == [[1, 1, 1, 1], [2, 4, 8, 16]]


async def tokens_at(port):
    server = grpc.aio.server()
    tokens_pb2_grpc.add_TokensServicer_to_server(Lender(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server


async def test_while_the_token_service_is_away_messages_are_kept_and_when_it_is_back_they_are_answered(file):
    port, outside = free_port(), Outside(file)
    channel = Channel(Address("127.0.0.1", port), None)
    outside.tokens = RpcTokens(channel, outside.clock.monotonic)
    server = await tokens_at(port)
    async with opened(file, outside=outside, connected=()) as town:
        await town.say("hello")
        await town.run()
        await server.stop(0)
        await town.say("a borrowed token is good for a minute")
        await town.run(for_ms=30 * SECOND)
        assert len(town.got()) == 2
        outside.clock.ms += MINUTE
        kept = await town.say("still there?")
        await town.run(for_ms=MINUTE)
        row = await town.row()
        assert (row.waiting_for, row.tries, len(town.got())) == ("back_off", 0, 2)
        server = await tokens_at(port)
        give_up = time.monotonic() + 20  # gRPC's own back-off is by the real clock
        while len(town.got()) < 3 and time.monotonic() < give_up:
            await town.run(for_ms=MINUTE)
            await asyncio.sleep(0.2)
        assert (await town.answered_by(kept)).startswith("reply")
    await channel.close()
    await server.stop(0)


async def test_while_no_token_is_lent_one_conversation_a_second_asks_and_then_all_are_answered_at_once(town):
    await town.deliver(*[town.event(text="hello", person=person) for person in PEOPLE])
    town.tokens.down, asked = True, len(town.tokens.asked)
    await town.run(for_ms=10 * MINUTE)
    assert 500 < len(town.tokens.asked) - asked <= 601  # both ends count
    assert {(row.backed_off, row.retry_at) for row in await town.store.conversations.find(limit=100)} == {(0, 0)}
    town.tokens.down, back_at = False, town.clock.now()
    await town.run()
    assert [len(town.got(person)) for person in PEOPLE] == [1] * len(PEOPLE)
    assert town.clock.now() - back_at <= 3 * SECOND


async def test_what_needs_no_token_is_done_at_once_while_none_is_lent(town):
    said = [town.event(text="hello", person=person) for person in PEOPLE]
    await town.deliver(*said)
    town.tokens.down = True
    await town.run(for_ms=MINUTE)
    town.clock.ms += 13 * HOUR
    await town.run(for_ms=10 * SECOND)
    assert {await town.answered_by(one) for one in said} == {"stale"}


async def test_an_account_whose_token_cannot_be_read_delays_no_other(town):
    town.tokens.connect(B)
    await town.deliver(town.event(text="hello"), town.event(text="hello", account=B))
    town.tokens.without_key.add(A)
    began = town.clock.now()
    while not town.got(account=B):
        await town.advance(SECOND)
    assert town.clock.now() - began <= 3 * SECOND
    assert not town.got()
    town.tokens.without_key.clear()
    await town.run()
    assert town.got() == ["answer 2"]


async def test_a_persons_words_wait_for_the_token_service_in_a_paused_account_too(town):
    await town.say("hello")
    await town.people.pause(account=A, person="", until=0)
    town.tokens.down, asked = True, len(town.tokens.asked)
    saying = await town.speak("I am away")
    await town.run(for_ms=MINUTE)
    assert 50 < len(town.tokens.asked) - asked <= 61  # both ends count
    town.tokens.down = False
    await town.run(for_ms=3 * SECOND)
    assert town.got() == ["I am away"]
    await saying
