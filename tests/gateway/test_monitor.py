"""What the gateway sees in Redis, and what it counts and logs of its pages."""

import grpc
import pytest
from structlog.testing import capture_logs

from tests.gateway.test_deletion import ask
from tests.gateway.world import until


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [("appendfsync", "everysec", "appendfsync is everysec"), ("appendonly", "no", "append-only is off")],
)
async def test_a_redis_that_may_lose_a_second_is_told(own_world, name, value, found):
    gateway = own_world.start()
    await until(lambda: gateway.health.checks.get("redis_settings") == "ok")
    own_world.redis.config_set(name, value)
    gateway.monitor.inspected = float("-inf")
    said = await until(lambda: (line := gateway.health.checks["redis_settings"]) != "ok" and line)
    assert found in said
    assert await own_world.metric("igbot_redis_safe") == 0


async def test_a_redis_that_does_not_tell_how_it_syncs_is_believed(own_world):
    own_world.redis.acl_setuser("default", commands=["-config"], enabled=True)
    gateway = own_world.start()
    await until(lambda: gateway.health.checks.get("redis_settings") == "ok")
    assert await own_world.metric("igbot_redis_safe") == 1


async def test_every_gateway_tells_how_many_requests_of_meta_wait(world):
    world.tokens.status = grpc.StatusCode.UNAVAILABLE
    gateways = [world.start(), world.start()]
    await ask(world, "/data-deletion")
    for gateway in gateways:
        await until(lambda gateway=gateway: gateway.metrics.tasks._value.get() == 1)
    world.tokens.status = None
    await until(lambda: world.redis.xlen("tasks") == 0)
    for gateway in gateways:
        await until(lambda gateway=gateway: gateway.metrics.tasks._value.get() == 0)


async def test_strangers_who_look_for_doors_are_counted_and_not_logged(world):
    world.start()
    with capture_logs() as lines:
        async with world.session.get(world.url("/wp-login.php")) as answer:
            assert answer.status == 404
    assert await world.metric("igbot_page_requests_total", **{"page": "nowhere", "class": "refused"}) == 1
    assert "page_served" not in [line["event"] for line in lines]


async def test_a_fault_writes_no_deletions_code_into_the_log(own_world):
    own_world.start()
    own_world.redis_server.kill()
    with capture_logs() as lines:
        async with own_world.session.get(own_world.url("/data-deletion/unguessable-code")) as answer:
            assert answer.status == 503
    (line,) = [line for line in lines if line["event"] == "request_failed"]
    assert line["door"] == "deletion_state"
    assert "unguessable" not in str(lines)
