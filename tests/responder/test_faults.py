"""A dead token, a limit or a permission that is gone is the account's, whichever read shows it, but no sign."""

import itertools

import pytest

from services.responder.account import HoldReason
from tests.responder.fakes import SILENCE, A, B, graph_error
from tests.responder.town import ANNA, BEN, HOUR, MINUTE, SECOND, opened


async def answer(town):
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


CALLS = {"read": look, "first contact": answer, "talks": gaps}
LIMIT = "a limit of the account"
FAULTS = {
    "a dead token": (graph_error(190, 463), HoldReason.TOKEN_DEAD, [(A, 190)]),
    "a login that is over": (graph_error(102), HoldReason.TOKEN_DEAD, [(A, 102)]),
    "a permission that is gone": (graph_error(10), HoldReason.ACCOUNT_LIMITED, [(A, 10)]),
    LIMIT: (graph_error(613), HoldReason.RATE_LIMITED, []),
}
PAIRS = [one for one in itertools.product(CALLS, FAULTS) if one != ("talks", LIMIT)]  # that one: see test_gaps.py


@pytest.mark.parametrize(("call", "fault"), PAIRS)
async def test_a_fault_of_the_account_is_reported_and_holds_it_whichever_read_shows_it(file, call, fault):
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


async def test_the_apps_limit_that_a_read_meets_stops_all_accounts(file):
    async with opened(file, gap_check=True) as town:
        town.instagram.fails = {"read": graph_error(4)}
        await town.say("hello")
        await town.advance(2 * SECOND)
        assert town.book.app_held_until > town.clock.now()
        assert town.got() == []


# --- what an answer does without: "seen", "typing", the person's profile -------------------------------------------


@pytest.mark.parametrize("call", ["act", "username"])
@pytest.mark.parametrize(
    "error", [*(error for error, _, _ in FAULTS.values()), graph_error(3), graph_error(4), graph_error(368)]
)
async def test_a_refused_sign_or_profile_keeps_no_answer_from_going_out(town, call, error):
    town.tokens.after_rejection = "active"
    town.writer.meanwhile = [town.settle]  # the refusal comes before the text
    town.instagram.fails[call] = error
    await town.say("hello")
    await town.advance(2 * SECOND)
    assert town.got() == ["answer 1"]
    assert (await town.store.accounts.get(A)).hold is None
    assert town.book.app_held_until == 0
    assert town.tokens.rejected == [(A, one.code) for one in [error.error] if one.code in {190, 102}]


async def test_a_dead_token_that_a_sign_shows_stops_the_account_once_the_token_service_believes_it(town):
    town.instagram.fails["act"] = graph_error(190)
    await town.say("hello")
    await town.advance(2 * SECOND)
    await town.say("still there?")
    await town.run(for_ms=MINUTE)
    assert town.got() == ["answer 1"]
    assert (await town.store.accounts.get(A)).hold is HoldReason.TOKEN_DEAD


async def shown_to(town, *people, account=A):
    """Answer these people; return whom a sign was shown to."""
    for person in people:
        await town.say("hello", person=person, account=account)
    town.instagram.acts = []
    await town.advance(2 * SECOND)
    return [person for _, person, _ in town.instagram.acts]


async def test_a_refused_sign_is_not_tried_again_for_as_long_as_a_hold_would_run(town):
    town.instagram.fails["act"] = graph_error(613)
    assert await shown_to(town, ANNA, BEN) == [ANNA]
    town.instagram.fails = {}
    town.clock.ms += 57 * SECOND
    assert await shown_to(town, ANNA) == []
    assert await shown_to(town, ANNA) == [ANNA]
    assert len(town.got()) == 3


async def test_a_sign_that_the_apps_limit_refuses_is_shown_for_no_account_meanwhile(file):
    async with opened(file, connected=(A, B)) as town:
        town.instagram.fails["act"] = graph_error(4)
        assert await shown_to(town, ANNA) == [ANNA]
        assert await shown_to(town, ANNA, account=B) == []
        assert town.got(account=B) == ["answer 2"]


async def test_a_refused_profile_is_not_read_again_for_as_long_as_a_hold_would_run_and_signs_go_on(town):
    asked = []

    async def username(lent, person):
        asked.append(person)
        raise graph_error(368)

    town.instagram.username = username
    for _ in range(3):
        assert await shown_to(town, ANNA, BEN) == [ANNA, BEN]
        town.clock.ms += HOUR
    assert asked == [ANNA]
    assert len(town.got(person=BEN)) == 3
