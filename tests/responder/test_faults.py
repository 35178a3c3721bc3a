"""A dead token, a limit or a permission that is gone is the account's, whichever call shows it."""

import pytest

from services.responder.account import HoldReason
from tests.responder.fakes import SILENCE, A, graph_error
from tests.responder.town import MINUTE, SECOND, opened


async def act(town):
    await town.say("hello")
    await town.advance(2 * SECOND)


async def look(town):
    town.instagram.script = [SILENCE]
    await town.say("hello")
    await town.run(for_ms=25 * SECOND)


async def gaps(town):
    await town.say("hello")
    await town.book.mirror()
    assert (await town.gaps.check_all(await town.store.accounts.all())).skipped == 1


CALLS = {"act": act, "username": act, "read": look, "first contact": act, "talks": gaps}
FAULTS = {
    "a dead token": (graph_error(190, 463), HoldReason.TOKEN_DEAD, [(A, 190)]),
    "a login that is over": (graph_error(102), HoldReason.TOKEN_DEAD, [(A, 102)]),
    "a permission that is gone": (graph_error(10), HoldReason.ACCOUNT_LIMITED, [(A, 10)]),
    "a limit of the account": (graph_error(613), HoldReason.RATE_LIMITED, []),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_of_the_account_is_reported_and_holds_it_whichever_call_shows_it(file, call, fault):
    error, hold, rejected = FAULTS[fault]
    async with opened(file, gap_check=call == "first contact") as town:
        town.tokens.after_rejection = "active"
        town.instagram.fails["read" if call == "first contact" else call] = error
        await CALLS[call](town)
        account = await town.store.accounts.get(A)
        assert account.hold is hold
        assert account.hold_until == pytest.approx(town.clock.now() + MINUTE, abs=10 * SECOND)
        assert town.tokens.rejected == rejected
        town.instagram.fails = {}
        asked = await town.say("still there?")
        await town.run(for_ms=10 * MINUTE)
        assert (await town.answered_by(asked)).startswith("reply")
        assert (await town.store.accounts.get(A)).hold is None


@pytest.mark.parametrize("error", [graph_error(1, status=500), graph_error(100, 33), SILENCE, graph_error(2500)])
async def test_a_passing_fault_of_a_read_or_one_of_our_own_holds_nothing(town, error):
    town.instagram.fails = {"act": error, "username": error}
    await town.say("hello")
    await town.run()
    assert len(town.got()) == 1
    assert (await town.store.accounts.get(A)).hold is None
    assert town.tokens.rejected == []


async def test_the_apps_limit_that_a_read_meets_stops_all_accounts(town):
    town.instagram.fails = {"username": graph_error(4)}
    await town.say("hello")
    await town.advance(2 * SECOND)
    assert town.book.app_held_until > town.clock.now()
    assert town.got() == []
