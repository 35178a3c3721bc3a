"""One account for an invitation, five wrong passwords a minute: also when requests come side by side."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from services.gateway.secret_words import invite_key
from tests.gateway.test_oauth import FAILED, Browser, basic, heading
from tests.gateway.world import TIMES, until

LINK = "/connect?invite=an-invite"


def invite(world, milliseconds=60_000):
    """Make an invitation as the command does; return its key."""
    key = invite_key("", "an-invite")
    world.redis.set(key, "", px=milliseconds)
    return key


@pytest.mark.parametrize("at_once", [False, True])
async def test_an_invitation_opened_three_times_connects_one_account(world, at_once):
    codes = ["one", "two", "three"]
    world.tokens.codes = set(codes)
    world.start(operator_password="right")
    invite(world)
    owner = Browser(world)
    states = [await owner.depart(LINK) for _ in codes]
    returns = [owner.back(state, code) for state, code in zip(states, codes, strict=True)]
    answers = await asyncio.gather(*returns) if at_once else [await one for one in returns]
    assert sorted(answer.status for answer in answers) == [200, 403, 403]
    assert {heading(answer) for answer in answers if answer.status == 403} == {"This invitation is no longer good"}
    assert len(world.tokens.spent) == 1
    assert world.redis.keys("invite:*") == []


async def test_an_invitation_is_nobody_elses_while_its_account_is_being_connected(world):
    world.start(operator_password="right")
    invite(world)
    owner, thief = Browser(world), Browser(world)
    first, second = await owner.depart(LINK), await owner.depart(LINK)
    world.tokens.slow.clear()
    returns = asyncio.create_task(owner.back(first))
    await until(lambda: world.redis.keys("invite-taken:*"))
    assert (await thief.get(LINK)).status == 403
    assert (await owner.back(second)).status == 403
    world.tokens.slow.set()
    assert (await returns).status == 200


async def test_after_a_failure_an_invitation_is_good_for_the_rest_of_its_life_in_the_same_browser(world):
    world.start(operator_password="right")
    key = invite(world)
    owner, thief = Browser(world), Browser(world)
    state = await owner.depart(LINK)
    world.tokens.status, world.tokens.detail = FAILED, "Instagram refuses this app"
    assert (await owner.back(state)).status == 502
    assert 0 < world.redis.pttl(key) < 60_000
    assert (await thief.get(LINK)).status == 403
    world.tokens.status = None
    assert (await owner.back(await owner.depart(LINK))).status == 200


@pytest.mark.parametrize("cut_off_by", ["its deadline", "a stop"])
async def test_an_invitation_stays_taken_while_nobody_knows_what_became_of_its_account(world, cut_off_by):
    gateway = world.start(
        replace(TIMES, connect=0.3 if cut_off_by == "its deadline" else 10.0), operator_password="right"
    )
    key = invite(world)
    owner = Browser(world)
    state = await owner.depart(LINK)
    world.tokens.slow.clear()
    with capture_logs() as lines:
        returns = asyncio.create_task(owner.back(state))
        await until(lambda: world.redis.keys("invite-taken:*"))
        if cut_off_by == "a stop":
            await world.stop(gateway)
            await asyncio.wait([returns])
        else:
            assert (await returns).status == 502
    assert [one["fault"] for one in lines if one["event"] == "account_not_connected"] == ["unfinished"]
    assert not [one for one in lines if one["log_level"] == "error"]
    assert world.redis.exists(key)
    assert world.redis.pttl(key.replace("invite:", "invite-taken:")) > 60_000
    world.tokens.slow.set()


async def test_an_invitation_whose_gateway_died_while_it_connected_is_good_again_in_two_minutes(world):
    world.start(operator_password="right")
    key = invite(world)
    owner = Browser(world)
    state = await owner.depart(LINK)
    taken = key.replace("invite:", "invite-taken:")
    world.redis.set(taken, "1", px=120_000)  # as it leaves it behind
    assert (await owner.back(state)).status == 403
    world.redis.pexpire(taken, 1)
    await until(lambda: not world.redis.exists(taken))
    assert (await owner.back(await owner.depart(LINK))).status == 200
    assert world.redis.keys("invite*") == []


async def test_where_connect_is_open_an_invitation_changes_nothing(world):
    world.tokens.codes = {"one", "two"}
    world.start(connect_open=True)
    owner = Browser(world)
    for code in ("one", "two"):
        assert (await owner.back(await owner.depart(LINK), code)).status == 200


async def test_five_wrong_passwords_a_minute_are_tried_also_when_many_come_at_once(world):
    gateways = world.start(operator_password="right"), world.start(operator_password="right")
    tries = [Browser(world, gateways[n % 2]).get("/connect", **basic(f"guess{n}")) for n in range(60)]
    statuses = Counter(answer.status for answer in await asyncio.gather(*tries))
    assert statuses == {401: 5, 429: 55}


async def test_right_passwords_that_come_at_once_lock_nobody_out(world):
    world.start(operator_password="right")
    asked = [Browser(world).get("/connect", **basic("right")) for _ in range(20)]
    assert {answer.status for answer in await asyncio.gather(*asked)} == {302}
    assert world.redis.keys("wrong:*") == []
