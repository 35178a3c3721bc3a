"""What holds an account: how long, who may end it, and what people see of it."""

import pytest

from services.responder.account import HoldReason
from services.responder.servicer import conversation
from tests.responder.fakes import A, graph_error
from tests.responder.town import ANNA, BEN, HOUR, MINUTE, SECOND, Outside, opened

DEAD, LIMITED, SLOW = HoldReason.TOKEN_DEAD, HoldReason.ACCOUNT_LIMITED, HoldReason.RATE_LIMITED
SHOWN = {DEAD: "token_dead", LIMITED: "account_limited", SLOW: "account_limited"}


async def hold(town, reason, for_ms):
    await town.book.hold(A, reason, for_ms=for_ms)


async def shown(town):
    account = await town.store.accounts.get(A)
    one = conversation(await town.row(), account, town.clock.now())
    return one.state, one.waiting_for


@pytest.mark.parametrize("reason", SHOWN)
async def test_people_see_what_holds_the_account_of_a_conversation(town, reason):
    await town.say("hello")
    await hold(town, reason, HOUR)
    assert await shown(town) == ("waiting", SHOWN[reason])
    town.clock.ms += 10 * SECOND
    assert await shown(town) == ("waiting", SHOWN[reason])
    assert [one.person for one in await town.people.find(account=A, state="waiting", limit=9)] == [ANNA]
    assert await town.people.find(account=A, state="due", limit=9) == []


async def test_a_pause_is_seen_before_a_hold_and_what_waits_for_nothing_is_idle(town):
    await town.say("hello")
    await hold(town, DEAD, MINUTE)
    await town.people.pause(account=A, person=ANNA, until=0)
    assert (await shown(town))[0] == "paused"
    await town.people.resume(account=A, person=ANNA, answer_pending=True)
    await town.people.pause(account=A, person="", until=0)
    assert await shown(town) == ("paused", "paused")
    await town.people.resume(account=A, person="", answer_pending=True)
    await town.run(for_ms=HOUR)
    await hold(town, DEAD, MINUTE)
    assert await shown(town) == ("idle", "")


async def test_a_limit_that_has_run_out_is_seen_no_more(town):
    await town.say("hello")
    await hold(town, SLOW, SECOND)
    assert await shown(town) == ("waiting", "account_limited")
    town.clock.ms += 2 * SECOND
    assert await shown(town) == ("due", "quiet")


async def test_a_success_here_does_not_end_what_another_replica_met_a_moment_ago(file):
    outside = Outside(file)
    async with opened(file, outside=outside) as one, opened(file, outside=outside, owner="two") as two:
        await one.say("hello")
        await hold(one, SLOW, SECOND)
        outside.clock.ms += 2 * SECOND
        await one.book.current(A, fresh=True)
        await hold(two, SLOW, 4 * HOUR)
        await one.book.release(A)
        account = await one.store.accounts.get(A)
        assert (account.hold, account.hold_until) == (SLOW, outside.clock.now() + 4 * HOUR)


async def test_a_probe_that_succeeds_does_not_end_what_another_replica_met_meanwhile(file):
    outside = Outside(file)
    async with opened(file, outside=outside) as one, opened(file, outside=outside, owner="two") as two:
        await one.say("hello")
        await hold(one, LIMITED, MINUTE)
        outside.clock.ms += MINUTE
        assert await one.book.may_work(A)
        await hold(two, SLOW, 4 * HOUR)
        await one.book.release(A)
        assert (await one.store.accounts.get(A)).hold_until == outside.clock.now() + 4 * HOUR
        assert one.book.holds(await one.store.accounts.get(A))


async def test_a_probe_that_succeeds_ends_what_it_probed(town):
    await town.say("hello")
    await hold(town, LIMITED, MINUTE)
    town.clock.ms += MINUTE
    assert await town.book.may_work(A)
    await town.book.release(A)
    assert (await town.store.accounts.get(A)).hold is None
    assert town.book.probing == {}


async def held_with(town, how, others):
    """Hold the account with so many conversations due that need no message after all, and let Instagram heal."""
    town.tokens.after_rejection = "active"
    people = [f"{6_900_000_000_000_100 + n}" for n in range(others)]
    town.instagram.always = graph_error(10)
    for person in people:
        await town.say("hello", person=person)
    await town.run(for_ms=5 * SECOND)
    if how == "stale":
        town.clock.ms += 13 * HOUR
    else:
        for person in people:
            await town.people.pause(account=A, person=person, until=0)
    town.instagram.always = None
    town.clock.ms += MINUTE
    return people


@pytest.mark.parametrize("how", ["stale", "paused"])
async def test_a_conversation_that_needs_no_message_spends_no_probe(town, how):
    people = await held_with(town, how, 20)
    await town.say("and now?")
    await town.run(for_ms=5 * SECOND)
    assert len(town.got()) == 1
    assert all(not town.got(person) for person in people)
    assert (await town.store.accounts.get(A)).hold is None
    assert town.book.probing == {}


async def test_a_probe_that_meets_the_fault_again_is_spent(town):
    await hold(town, LIMITED, MINUTE)
    town.tokens.after_rejection = "active"
    town.instagram.always = graph_error(10)
    for person in (ANNA, BEN):
        await town.say("hello", person=person)
    await town.run(for_ms=5 * MINUTE)
    assert len(town.instagram.posts) == 5


async def test_a_conversation_that_was_under_way_before_the_probe_gives_none_back(town):
    await town.say("hello")
    await town.advance(SECOND)
    town.clock.ms += SECOND
    under_way = await town.claim()
    await town.people.pause(account=A, person=ANNA, until=0)
    await hold(town, LIMITED, MINUTE)
    town.clock.ms += MINUTE
    carry_out = town.worker.carry_out

    async def slowly(row):
        town.worker.carry_out = carry_out
        assert await town.book.may_work(A)
        return await carry_out(row)

    town.worker.carry_out = slowly
    await town.pass_over(under_way)
    assert (await town.store.accounts.get(A)).hold_until == town.clock.now() + MINUTE
    assert not await town.book.may_work(A)


async def test_a_probe_for_which_there_was_no_conversation_after_all_is_given_back(town):
    await town.say("hello")
    await town.run()
    await hold(town, LIMITED, MINUTE)
    town.clock.ms += MINUTE
    assert await town.claimer.claim(A) is None
    assert await town.book.may_work(A)


@pytest.mark.parametrize("later", [DEAD, LIMITED, SLOW])
async def test_no_other_answer_shortens_a_hold_that_lasts_longer(town, later):
    await town.say("hello")
    await hold(town, SLOW, 4 * HOUR)
    until = (await town.store.accounts.get(A)).hold_until
    await hold(town, later, MINUTE)
    account = await town.store.accounts.get(A)
    assert (account.hold, account.hold_until) == (SLOW, until)
