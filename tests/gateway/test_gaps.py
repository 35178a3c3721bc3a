"""What the inbox may have lost is asked about until there is an answer, whatever happens to the gateway that asks."""

import asyncio

import pytest

from services.common.errors import Unavailable
from tests.gateway.world import delivery, message, until


class Unanswered:
    """A responder that answers Deliver, and CheckGaps never."""

    def __init__(self, gateway):
        self.asked = 0
        gateway.gaps.responder = self

    async def check_gaps(self):
        self.asked += 1
        raise Unavailable("down")


def lose_the_answer(gateway):
    """Have the group made by a command whose answer never comes, once."""
    stream = gateway.dispatcher.stream
    create, lost = stream.create, []

    async def create_once():
        made = await create()
        if made and not lost:
            lost.append(made)
            raise Unavailable("Redis does not answer")
        return made

    stream.create = create_once
    return lost


async def test_an_answered_question_is_not_asked_again_by_the_next_gateway(world):
    first = world.start()
    await until(lambda: world.responder.gaps == 1)
    await until(lambda: not world.redis.exists("gaps-wanted"))
    await world.stop(first)
    world.start()
    assert await world.post(delivery(message(1))) == 200
    await until(lambda: world.inbox() == 0)
    assert world.responder.gaps == 1


async def test_a_group_made_by_a_command_whose_answer_was_lost_is_counted_and_asked_about(world):
    gateway = world.start()
    await until(lambda: world.responder.gaps == 1)
    await until(lambda: not world.redis.exists("gaps-wanted"))
    lost = lose_the_answer(gateway)
    world.redis.flushall()
    world.redis.xadd("inbox", {"body": delivery(message(1))})
    await until(lambda: world.responder.mids == ["m1"])
    assert lost
    await until(lambda: world.responder.gaps == 2)
    assert await world.metric("igbot_inbox_lost_total", what="group") == 1
    await until(lambda: not world.redis.exists("gaps-wanted"))


async def test_a_first_group_made_by_a_command_whose_answer_was_lost_is_asked_about(world):
    gateway = world.start()
    assert lose_the_answer(gateway) == []
    await until(lambda: world.responder.gaps == 1)
    assert await world.metric("igbot_inbox_lost_total", what="group") == 0


@pytest.mark.parametrize("loss", ["group", "entries"])
async def test_a_question_that_a_gateway_leaves_open_is_asked_by_the_next(world, loss):
    first = world.start()
    await until(lambda: world.responder.gaps == 1)
    await until(lambda: not world.redis.exists("gaps-wanted"))
    responder = Unanswered(first)
    if loss == "group":
        world.redis.flushall()
    else:
        first.inbox.last_id = "9999999999999-0"  # as if this had been written before a fail-over
    await until(lambda: responder.asked)
    await until(lambda: world.redis.exists("gaps-wanted"))
    await world.stop(first)
    assert world.responder.gaps == 1
    world.start()
    await until(lambda: world.responder.gaps == 2)
    await until(lambda: not world.redis.exists("gaps-wanted"))


async def test_a_question_that_another_gateway_leaves_open_is_asked_by_the_active_one(world):
    active = world.start()
    await until(lambda: world.responder.gaps == 1)
    await until(lambda: not world.redis.exists("gaps-wanted"))
    second = world.start()
    responder = Unanswered(second)
    second.inbox.last_id = "9999999999999-0"  # its own, lost in a fail-over that hid no other's
    await until(lambda: responder.asked)
    await world.stop(second)
    assert active.dispatcher.tenure.active
    await until(lambda: world.responder.gaps == 2)
    await until(lambda: not world.redis.exists("gaps-wanted"))


async def test_a_question_is_asked_also_while_redis_cannot_keep_it(own_world):
    world = own_world
    gateway = world.start()
    await until(lambda: world.responder.gaps == 1)
    world.redis_server.kill()
    gateway.gaps.ask()
    await until(lambda: world.responder.gaps == 2)
    await asyncio.wait([gateway.gaps.task])


async def test_a_loss_that_comes_while_the_responder_looks_is_asked_about_as_well(world):
    gateway = world.start()
    await until(lambda: world.responder.gaps == 1)
    await until(lambda: not gateway.gaps.asking)
    looks, go_on = gateway.gaps.responder.check_gaps, asyncio.Event()

    async def slow():
        found = await looks()
        await go_on.wait()
        return found

    gateway.gaps.responder.check_gaps = slow
    gateway.gaps.ask()
    await until(lambda: world.responder.gaps == 2)
    gateway.gaps.ask()
    go_on.set()
    await until(lambda: not gateway.gaps.asking)
    assert world.responder.gaps == 3
    assert not world.redis.exists("gaps-wanted")
