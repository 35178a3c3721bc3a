import asyncio
import gzip
import json
import time
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from services.gateway.door import Fork
from tests.gateway.world import NEXT_SECRET, PROMPT, VERIFY_TOKEN, delivery, link, message, sign, until

FIXTURES = Path(__file__).parent.parent / "fixtures" / "webhooks"
CASES = json.loads((FIXTURES.parent / "cases.json").read_text())
LIMIT = 4 << 20


async def raw(world, data, *, wait=2.0):
    """Send bytes as they are and return what comes back before the other side closes or says no more."""
    answer = b""
    async with link(world.gateways[0].web.port) as (reader, writer):
        writer.write(data)
        try:
            async with asyncio.timeout(wait):
                while piece := await reader.read(65536):
                    answer += piece
        except TimeoutError:
            answer += b"<silence>"
        except ConnectionError:
            answer += b"<reset>"
    return answer


def request(body, *headers, path="/webhook"):
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Connection: close", f"X-Hub-Signature-256: {sign(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def test_a_signed_delivery_is_kept_before_it_is_answered(world):
    gateway = world.start()
    gateway.dispatcher.stop()
    body = delivery(message(1))
    assert await world.post(body) == 200
    ((_, fields),) = world.redis.xrange("inbox")
    assert fields[b"body"] == body
    assert abs(int(fields[b"at"]) - time.time() * 1000) < 5000


async def test_each_secret_is_good_while_they_rotate_and_its_place_is_counted(world):
    world.start()
    body = delivery(message(1))
    assert await world.post(body, sign(body, NEXT_SECRET)) == 200
    assert await world.metric("igbot_webhook_signatures_total", secret="1") == 1
    assert await world.metric("igbot_webhook_signatures_total", secret="0") == 0


async def test_a_wrong_or_missing_signature_is_403_with_an_empty_body_and_keeps_nothing(world):
    gateway = world.start()
    gateway.dispatcher.stop()
    for signature in ("sha256=" + "0" * 64, "", "sha1=abc"):
        headers = {"X-Hub-Signature-256": signature}
        async with world.session.post(world.url(), data=b"{}", headers=headers) as answer:
            assert (answer.status, await answer.read()) == (403, b"")
    async with world.session.post(world.url(), data=b"{}") as answer:
        assert (answer.status, await answer.read()) == (403, b"")
    assert world.inbox() == 0
    assert await world.metric("igbot_webhook_deliveries_total", outcome="bad_signature") == 3
    assert await world.metric("igbot_webhook_deliveries_total", outcome="no_signature") == 1


async def test_every_fixture_is_answered_200_and_ends_with_the_responder_or_among_the_dead(world):
    world.start()
    for file in sorted(FIXTURES.iterdir()):
        assert await world.post(file.read_bytes()) == 200, file.name
    await until(lambda: world.inbox() == 0)
    assert sorted(letter["reason"] for letter in world.dead()) == ["no_sender", "not_an_item", "unreadable"]
    senders = {event.sender for event in world.responder.events}
    for case in CASES["cases"]:
        for due in case["expect"]["replies_due"]:
            assert due["igsid"] in senders, case["file"]


async def test_concurrent_deliveries_share_round_trips(world):
    gateway = world.start()
    gateway.dispatcher.stop()
    await until(lambda: gateway.health.ready)
    trips = []
    exchange = gateway.inbox.wire.exchange

    async def counted(commands, seconds):
        trips.append(len(commands))
        return await exchange(commands, seconds)

    gateway.inbox.wire.exchange = counted
    statuses = await asyncio.gather(*(world.post(delivery(message(n))) for n in range(100)))
    assert statuses == [200] * 100
    assert sum(trips) == 100
    assert len(trips) < 60


async def test_a_body_of_4_mib_is_kept_and_one_byte_more_is_413(world):
    gateway = world.start()
    gateway.dispatcher.stop()
    assert await world.post(b"x" * LIMIT) == 200
    assert await world.post(b"x" * (LIMIT + 1)) == 413
    assert world.inbox() == 1
    assert await world.metric("igbot_webhook_deliveries_total", outcome="too_large") == 1


async def test_a_body_without_a_length_is_limited_too(world):
    world.start()

    async def pieces(total):
        for _ in range(total // 65536):
            yield b"x" * 65536
        yield b"y"

    for total, status in ((LIMIT, 413), (131072, 403)):
        async with world.session.post(world.url(), data=pieces(total)) as answer:
            assert answer.status == status


async def test_a_body_that_claims_to_be_huge_is_refused_at_once(world):
    world.start()
    head = b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n"
    assert (await raw(world, head)).startswith(b"HTTP/1.1 413")


async def test_headers_over_16_kib_are_refused(world):
    world.start()
    answer = await raw(world, request(b"{}", "X-Long: " + "x" * (16 << 10)))
    assert not answer.startswith(b"HTTP/1.1 200")
    assert await world.post(delivery(message(1))) == 200


async def test_a_compressed_body_is_kept_as_it_is(world):
    gateway = world.start()
    gateway.dispatcher.stop()
    bomb = gzip.compress(b"0" * (64 << 20))
    headers = {"X-Hub-Signature-256": sign(bomb), "Content-Encoding": "gzip"}
    async with world.session.post(world.url(), data=bomb, headers=headers) as answer:
        assert answer.status == 200
    ((_, fields),) = world.redis.xrange("inbox")
    assert fields[b"body"] == bomb


async def test_pipelined_requests_are_answered_in_order(world):
    world.start()
    good, bad = delivery(message(1)), b"{}"
    first = request(good, f"Content-Length: {len(good)}").replace(b"Connection: close\r\n", b"")
    second = request(bad, f"Content-Length: {len(bad)}").replace(sign(bad).encode(), b"none")
    answer = await raw(world, first + second)
    assert [line for line in answer.split(b"\r\n") if line.startswith(b"HTTP/")] == [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 403 Forbidden",
    ]


@pytest.mark.parametrize(("sent", "limit"), [("nothing", 65), ("header", 65), ("body", 10)])
async def test_a_sender_that_is_slow_with_its_header_or_body_is_cut_off_and_others_are_served(world, sent, limit):
    gateway = world.start()
    door, before = gateway.web.door, time.monotonic()
    head = b"POST /webhook HTTP/1.1\r\nHost: x\r\n"
    slow = {"nothing": b"", "header": head, "body": head + b"Content-Length: 100\r\n\r\nx"}[sent]

    def clocks():
        return [
            one
            for one in door.clocks.values()
            if (isinstance(one, Fork), len(door.reading)) == (sent == "header", sent == "body")
        ]

    async with link(gateway.web.port) as (reader, writer):
        writer.write(slow)
        (clock,) = await until(clocks)
        assert clock.due - before == pytest.approx(limit, abs=5)
        assert await world.post(delivery(message(1))) == 200
        door.sweep(time.monotonic() + limit + 1)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
    await until(lambda: not door.reading)


@pytest.mark.parametrize("connections", [1000, pytest.param(10_000, marks=pytest.mark.long)])
async def test_idle_connections_leave_it_answering(world, connections):
    gateway = world.start()
    wanted = min(connections, gateway.web.server.most // 2 - 200)
    async with AsyncExitStack() as links:
        for _ in range(0, wanted, 200):
            await asyncio.gather(*(links.enter_async_context(link(gateway.web.port)) for _ in range(200)))
        await until(lambda: len(gateway.web.server._connections) >= wanted)
        assert await world.post(delivery(message(1))) == 200


async def test_connections_beyond_the_limit_get_503(world):
    gateway = world.start()
    gateway.web.server.most = 3
    async with AsyncExitStack() as links:
        for _ in range(3):
            await links.enter_async_context(link(gateway.web.port))
        await until(lambda: len(gateway.web.server._connections) == 3)
        answer = await raw(world, request(b"{}"))
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"Retry-After: 1" in answer


async def test_requests_beyond_the_limit_get_503_with_retry_after(world):
    gateway = world.start()
    gateway.web.door.most_requests = 0
    async with world.session.post(world.url(), data=b"{}") as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert await world.metric("igbot_webhook_deliveries_total", outcome="overloaded") == 1


@pytest.mark.parametrize("field", ["Content-Length: 100", "Transfer-Encoding: chunked"])
async def test_who_begins_many_bodies_and_ends_none_keeps_nobody_out(world, field):
    gateway = world.start()
    door = gateway.web.door
    door.most_requests = 5
    begun = f"POST /webhook HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n1".encode()
    async with AsyncExitStack() as links:
        ends = [await links.enter_async_context(link(gateway.web.port)) for _ in range(12)]
        for _, writer in ends:
            writer.write(begun)
        await until(lambda: len(door.reading) == 5)
        assert await world.post(delivery(message(1))) == 200
        async with asyncio.timeout(5):
            for reader, _ in ends[:7]:
                assert await reader.read() == b""  # the oldest were cut off
        assert len(door.reading) == 5
    await until(lambda: (len(door.reading), door.read, door.requests, door.bytes) == (0, 0, 0, 0))


async def test_unfinished_bodies_are_bounded_in_bytes_too(world):
    gateway = world.start()
    door = gateway.web.door
    door.most_bytes = 1_000_000
    large = b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n" + b"x" * 400_000
    async with AsyncExitStack() as links:
        ends = [await links.enter_async_context(link(gateway.web.port)) for _ in range(3)]
        for _, writer in ends:
            writer.write(large)
        await until(lambda: len(door.reading) == 2 and door.read == 800_000)
        assert await world.post(delivery(message(1))) == 200
    await until(lambda: door.read == 0)


async def test_the_challenge_is_answered_as_plain_text(world):
    world.start()
    query = {"hub.mode": "subscribe", "hub.verify_token": VERIFY_TOKEN, "hub.challenge": "<b>1158201444</b>"}
    async with world.session.get(world.url(), params=query) as answer:
        assert (answer.status, await answer.text()) == (200, "<b>1158201444</b>")
        assert answer.content_type == "text/plain"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    for wrong in ({"hub.verify_token": "guess"}, {"hub.verify_token": "é"}, {"hub.mode": "unsubscribe"}):
        async with world.session.get(world.url(), params=query | wrong) as answer:
            assert (answer.status, await answer.read()) == (403, b"")


async def test_redis_refused_is_503_at_once_and_200_again_after(own_world):
    world = own_world
    world.start(times=PROMPT)
    assert await world.deliver(delivery(message(1))) == 200
    world.redis_server.kill()
    waits = []
    for n in range(3):
        began = time.monotonic()
        assert await world.post(delivery(message(n))) == 503
        waits.append(time.monotonic() - began)
    assert min(waits) < 0.3  # the others may have waited for a processor
    world.redis_server.start()
    assert await world.deliver(delivery(message(9))) == 200


async def test_redis_that_swallows_everything_is_503_within_300_ms(own_world):
    world = own_world
    world.start(times=PROMPT)
    assert await world.deliver(delivery(message(1))) == 200
    world.redis_server.pause()

    async def one(n):
        await asyncio.sleep(0.02 * n)
        asked = time.monotonic()
        return await world.post(delivery(message(n))), time.monotonic() - asked

    answers = await asyncio.gather(*(one(n) for n in range(20)))
    world.redis_server.resume()
    assert {status for status, _ in answers} == {503}
    waits = sorted(seconds for _, seconds in answers)
    assert waits[10] < 0.3  # the others may have waited for a processor; test_intake has the rest
    await until(lambda: world.gateways[0].health.checks["redis"] == "ok")
    assert await world.deliver(delivery(message(99))) == 200


async def test_a_full_redis_is_503_and_drains(own_world):
    world = own_world
    gateway = world.start()
    await until(lambda: gateway.dispatcher.tenure.active)
    client = world.redis
    used = client.info("memory")["used_memory"]
    client.config_set("maxmemory", used + (2 << 20))
    filler = delivery(message(1, text="x" * 100_000))
    world.responder.status = lambda _events: grpc.StatusCode.UNAVAILABLE
    statuses = [await world.post(filler) for _ in range(40)]
    assert 200 in statuses
    assert statuses[-1] == 503
    assert await world.metric("igbot_webhook_deliveries_total", outcome="inbox_full") > 0
    world.responder.status = lambda _events: None
    await until(lambda: world.inbox() == 0)
    await until(lambda: not gateway.inbox.full)
    assert await world.post(delivery(message(2))) == 200


async def test_above_nine_tenths_of_maxmemory_new_bodies_wait_outside(own_world):
    world = own_world
    gateway = world.start()
    await until(lambda: gateway.health.ready)
    client = world.redis
    for n in range(400):  # in small pieces: the buffers of a large one would count, and go
        client.set(f"filler:{n}", b"x" * (100 << 10))
    client.config_set("maxmemory", int(client.info("memory")["used_memory"] / 0.93))
    await until(lambda: gateway.inbox.full)
    assert await world.post(delivery(message(1))) == 503
    assert client.xadd("other", {"body": "there is room for what drains the inbox"})
    client.config_set("maxmemory", client.info("memory")["used_memory"] * 2)
    await until(lambda: not gateway.inbox.full)
    assert await world.post(delivery(message(1))) == 200


async def test_a_write_whose_answer_is_lost_is_not_sent_again(own_world):
    world = own_world
    gateway = world.start()
    gateway.dispatcher.stop()
    await until(lambda: gateway.health.ready)
    assert await world.post(delivery(message(1))) == 200
    world.redis_server.pause()
    assert await world.post(delivery(message(2))) == 503
    world.redis_server.resume()
    await until(world.redis.ping)
    assert await world.post(delivery(message(3))) == 200
    assert world.inbox() <= 3


async def test_a_redis_that_may_lose_messages_is_told(own_world):
    world = own_world
    gateway = world.start()
    await until(lambda: gateway.health.checks.get("redis_settings") == "ok")
    assert await world.metric("igbot_redis_safe") == 1
    world.redis.config_set("maxmemory-policy", "allkeys-lru")
    world.redis.config_set("appendonly", "no")
    gateway.monitor.inspected = float("-inf")
    found = await until(lambda: (line := gateway.health.checks["redis_settings"]) != "ok" and line)
    assert "allkeys-lru" in found
    assert "append-only is off" in found
    assert await world.metric("igbot_redis_safe") == 0
    async with world.session.get(f"http://127.0.0.1:{gateway.ops.port}/readyz") as answer:
        assert answer.status == 200
        assert "allkeys-lru" in (await answer.json())["checks"]["redis_settings"]


async def test_names_under_redis_begin_with_the_prefix(world):
    world.start(redis_prefix="shop:")
    await world.post(b"not json")
    await until(lambda: world.redis.xlen("shop:dead") == 1)
    assert all(name.startswith(b"shop:") for name in world.redis.keys("*"))


async def test_readiness_comes_with_redis_and_stays_when_it_goes(own_world):
    world = own_world
    world.redis_server.kill()
    gateway = world.start()
    ready = f"http://127.0.0.1:{gateway.ops.port}/readyz"
    async with world.session.get(ready) as answer:
        assert answer.status == 503
    world.redis_server.start()
    await until(lambda: gateway.health.ready)
    world.redis_server.kill()
    await until(lambda: gateway.health.checks["redis"] != "ok")
    async with world.session.get(ready) as answer:
        assert answer.status == 200
    assert await world.metric("igbot_dependency_up", dependency="redis") == 0
