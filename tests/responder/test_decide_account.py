"""What an account's state means for its conversations: dead tokens, limits, pauses, disconnection, budgets."""

from itertools import pairwise

import pytest

from services.common.graph_usage import Usage
from services.common.metrics import CommonMetrics
from services.common.ops import Health
from services.responder.account import HoldReason
from services.responder.upkeep import Upkeep
from tests.responder.fakes import A, B, graph_error
from tests.responder.town import ANNA, BEN, HOUR, MINUTE, SECOND, Outside, opened


async def due(town):
    """The gauge igbot_conversations_due, as any replica would set it."""
    accounts = await town.store.accounts.all()
    return (await town.store.conversations.figures([one.account for one in accounts if town.book.silent(one)])).due


async def test_a_token_that_cannot_be_lent_holds_the_account_with_one_probe_a_minute(town):
    town.tokens.connect(A, "reauthorize")
    for person in (ANNA, BEN):
        await town.say("hello", person=person)
    await town.run(for_ms=10 * SECOND)
    asked = len(town.tokens.asked)
    assert (await town.row()).waiting_for in {"token_dead", "quiet"}
    assert await due(town) == 0
    for minute in range(1, 4):
        await town.run(for_ms=MINUTE)
        assert len(town.tokens.asked) == asked + minute
    town.tokens.connect(A)
    await town.run(for_ms=2 * MINUTE)
    assert len(town.got(ANNA)) == len(town.got(BEN)) == 1
    assert (await town.store.accounts.get(A)).hold is None


async def test_the_gauge_says_why_accounts_are_held_for_as_long_as_they_are(town):
    health = Health(CommonMetrics(town.registry, []), [])
    upkeep = Upkeep(town.store, town.book, town.metrics, health, keep_ms=0)

    async def shown():
        await upkeep.gauges()
        return {
            reason.value: town.registry.get_sample_value("igbot_accounts_held", {"reason": reason})
            for reason in HoldReason
        }

    town.tokens.connect(A)
    town.tokens.connect(B)
    await town.book.mirror()
    await town.book.hold(A, HoldReason.RATE_LIMITED, for_ms=MINUTE)
    await town.book.hold(B, HoldReason.TOKEN_DEAD, for_ms=MINUTE)
    assert await shown() == {"rate_limited": 1, "token_dead": 1, "account_limited": 0}
    await town.advance(2 * MINUTE)
    assert await shown() == {"rate_limited": 0, "token_dead": 1, "account_limited": 0}


async def test_a_token_that_instagram_refuses_is_reported_once_and_holds_the_account(town):
    town.instagram.script = [graph_error(190, 463)]
    message = await town.say("hello")
    await town.run(for_ms=10 * SECOND)
    assert len(town.instagram.posts) == 1
    assert town.tokens.rejected == [(A, 190)]
    assert (await town.row()).waiting_for == "token_dead"
    assert await town.parts() == ["ready"]
    town.tokens.connect(A)
    await town.run(for_ms=2 * MINUTE)
    assert town.got() == ["answer 1"]
    assert (await town.answered_by(message)).startswith("reply")


async def test_a_refused_token_that_is_good_after_all_is_not_hammered(town):
    town.tokens.after_rejection = "active"
    town.instagram.always = graph_error(190)
    await town.say("hello")
    await town.run(for_ms=10 * MINUTE)
    assert 5 <= len(town.instagram.posts) <= 11  # once a minute


async def test_of_two_conversations_that_ask_at_once_one_is_the_probe(town):
    await town.say("hello")
    await town.book.hold(A, HoldReason.TOKEN_DEAD, for_ms=MINUTE)
    town.clock.ms += MINUTE
    assert await town.book.may_work(A)
    assert not await town.book.may_work(A)
    town.clock.ms += MINUTE
    assert await town.book.may_work(A)


async def test_a_limited_account_waits_and_says_so(town):
    town.tokens.connect(A, "limited")
    await town.say("hello")
    await town.run(for_ms=10 * SECOND)
    assert (await town.row()).waiting_for == "account_limited"
    assert await due(town) == 0


async def test_the_token_services_word_that_an_account_is_well_ends_its_hold(town):
    town.tokens.connect(A, "reauthorize")
    await town.book.mirror()
    await town.say("hello")
    await town.run(for_ms=10 * SECOND)
    town.tokens.connect(A)
    await town.book.mirror()
    await town.run(for_ms=5 * SECOND)
    assert town.got() == ["answer 1"]


async def test_a_rate_limit_pauses_the_account_for_a_minute_then_two_then_four_then_five(town):
    town.instagram.always = graph_error(613)
    await town.say("hello")
    times = []
    for _ in range(30 * 6):
        before = len(town.instagram.posts)
        await town.run(for_ms=10 * SECOND)
        if len(town.instagram.posts) > before:
            times.append(town.clock.now())
    gaps = [round((b - a) / MINUTE) for a, b in pairwise(times)]
    assert gaps == [1, 2, 4, 5, 5, 5, 5]
    assert town.tokens.rejected == []


async def test_a_limits_header_tells_how_long(town):
    town.instagram.script = [graph_error(80002, usage=Usage(percent=100, regain_seconds=23 * 60))]
    await town.say("hello")
    await town.run(for_ms=22 * MINUTE)
    assert len(town.instagram.posts) == 1
    assert (await town.row()).waiting_for == "account_limited"
    await town.run(for_ms=2 * MINUTE)
    assert town.got() == ["answer 1"]


async def test_conversations_that_meet_one_limit_together_prolong_it_once(town):
    """32 workers that are told the same thing at once must not be taken for 32 limits in a row."""
    await town.say("hello")
    for _ in range(5):
        await town.book.hold(A, HoldReason.RATE_LIMITED, for_ms=MINUTE)
    account = await town.store.accounts.get(A)
    assert account.hold_step == 1
    assert account.hold_until == town.clock.now() + MINUTE


async def test_a_limit_stops_what_another_conversation_is_about_to_send(town):
    await town.say("hello")

    async def limit():
        await town.book.hold(A, HoldReason.RATE_LIMITED, for_ms=MINUTE)

    town.writer.meanwhile.append(limit)
    await town.run(for_ms=50 * SECOND)
    assert town.instagram.posts == []
    await town.run(for_ms=MINUTE)
    assert len(town.instagram.posts) == 1


async def test_one_accounts_limit_leaves_the_others_alone_but_the_apps_limit_stops_all(file):
    async with opened(file, connected=(A, B)) as town:
        town.instagram.script = [graph_error(17)]
        await town.say("hello")
        await town.advance(2 * SECOND)
        await town.say("hello", account=B)
        await town.run(for_ms=5 * SECOND)
        assert town.got(account=B) != []
        await town.run(for_ms=5 * MINUTE)
        town.instagram.script = [graph_error(4, status=403)]
        await town.say("again")
        await town.advance(2 * SECOND)
        await town.say("again", account=B)
        posts = len(town.instagram.posts)
        await town.run(for_ms=50 * SECOND)
        assert len(town.instagram.posts) == posts
        assert await due(town) == 0
        await town.run(for_ms=2 * MINUTE)
        assert len(town.got(account=B)) == 2
        assert town.tokens.rejected == []


async def test_a_block_for_spam_holds_the_account_for_hours_and_the_send_is_looked_for(town):
    town.instagram.script = [("arrives", graph_error(4, 2207051, status=403))]
    await town.say("hello")
    await town.run(for_ms=3 * HOUR)
    assert len(town.instagram.posts) == 1
    await town.run(for_ms=2 * HOUR)
    assert len(town.instagram.posts) == 1  # found in the conversation
    assert (await town.row()).reply is None


# --- disconnected --------------------------------------------------------------------------------------------


async def test_what_is_due_is_skipped_when_the_account_is_disconnected(town):
    message = await town.say("hello")
    town.tokens.connect(A, "disconnected")
    await town.book.mirror()
    await town.run()
    assert town.got() == []
    assert await town.answered_by(message) == "disconnected"


@pytest.mark.parametrize("how", ["paused", "held", "slowed", "the app is held"])
async def test_what_is_due_in_an_account_that_was_silent_is_skipped_when_it_is_disconnected(town, how):
    message = await town.say("hello")
    if how == "paused":
        await town.people.pause(account=A, person="", until=0)
    elif how == "slowed":
        town.book.heard(A, Usage(percent=100, regain_seconds=24 * 3_600))
    else:
        await town.book.hold(A, HoldReason.RATE_LIMITED, for_ms=24 * HOUR, whole_app=how == "the app is held")
    await town.run(for_ms=MINUTE)
    town.tokens.connect(A, "disconnected")
    await town.book.mirror()
    await town.run(for_ms=MINUTE)
    assert await town.answered_by(message) == "disconnected"
    assert town.instagram.posts == []


async def test_a_conversation_whose_account_was_erased_asks_for_its_token_once_and_is_skipped(town):
    message = await town.say("hello")
    del town.tokens.known[A]
    await town.store.file.write(lambda db: db.execute("DELETE FROM accounts").rowcount)
    town.book.seen.clear()
    asked = len(town.tokens.asked)
    await town.run(for_ms=MINUTE)
    assert len(town.tokens.asked) == asked + 1
    assert await town.answered_by(message) == "disconnected"
    assert (await town.row()).tries == 0
    assert await town.store.accounts.all() == []


async def test_a_skip_is_counted_once_however_often_the_row_is_written_by_others_meanwhile(town):
    message = await town.say("hello")
    save, races = town.store.conversations.save, []

    async def raced(row, *, release=False):
        if release and len(races) < 2:
            races.append(row)
            return None  # somebody else was faster
        return await save(row, release=release)

    town.tokens.connect(A, "disconnected")
    await town.book.mirror()
    town.store.conversations.save = raced
    await town.run(for_ms=MINUTE)
    assert (len(races), await town.answered_by(message)) == (2, "disconnected")
    assert town.metric("igbot_skips_total", reason="disconnected") == 1


async def test_a_disconnection_that_only_the_lending_shows_skips_as_well(town):
    message = await town.say("hello")
    town.tokens.connect(A, "disconnected")
    await town.advance(2 * SECOND)
    assert await town.answered_by(message) == "disconnected"
    assert town.writer.prompts == []


async def test_a_reply_that_is_half_sent_ends_when_the_account_is_disconnected(town):
    town.writer.script = ["a" * 900 + ".\n\n" + "b" * 900]
    town.instagram.script = ["ok", graph_error(190)]
    await town.say("hello")
    town.tokens.after_rejection = "disconnected"
    await town.run(for_ms=2 * MINUTE)
    row = await town.row()
    assert row.reply is None
    assert row.due_at is None
    assert len(town.got()) == 1


# --- budgets -------------------------------------------------------------------------------------------------


async def test_a_person_over_the_hours_budget_waits_for_the_hour_to_end(file):
    async with opened(file, per_hour=2, per_day=0) as town:
        begin = town.clock.now()
        for _ in range(3):
            await town.say("hello")
            await town.run(for_ms=5 * SECOND)
        assert len(town.got()) == 2
        assert (await town.row()).waiting_for == "over_budget"
        await town.run(for_ms=HOUR)
        assert len(town.got()) == 3
        assert town.clock.now() > begin + HOUR


async def test_a_person_over_the_days_budget_waits_and_then_is_stale(file):
    async with opened(file, per_hour=0, per_day=1, stale=6 * HOUR) as town:
        await town.say("hello")
        await town.run(for_ms=5 * SECOND)
        late = await town.say("hello")
        await town.run()
        assert len(town.got()) == 1
        assert await town.answered_by(late) == "stale"


async def test_a_budget_of_zero_is_no_budget(file):
    async with opened(file, per_hour=0, per_day=0) as town:
        for n in range(1, 70):
            await town.say("hello")
            await town.advance(2 * SECOND)
            assert len(town.got()) == n


# --- two bots ------------------------------------------------------------------------------------------------


async def test_a_connected_account_that_writes_to_another_gets_no_reply(file):
    async with opened(file, connected=(A, B)) as town:
        await town.book.mirror()
        town.instagram.usernames[ANNA] = "Lumen_Bikes"
        message = await town.say("hello from a bot")
        await town.run()
        assert town.got() == []
        assert await town.answered_by(message) == "own_account"


async def test_an_account_that_was_disconnected_is_a_customer_like_any_other(file):
    async with opened(file, connected=(A, B)) as town:
        town.tokens.connect(B, "disconnected")
        await town.book.mirror()
        town.instagram.usernames[ANNA] = "lumen_bikes"
        await town.say("hello from a person")
        await town.run()
        assert town.got() == ["answer 1"]


@pytest.mark.parametrize("error", [graph_error(230), graph_error(9010)])
async def test_a_hidden_profile_is_no_reason_not_to_answer(file, error):
    async with opened(file, outside=Outside(file)) as town:

        async def refused(lent, person):
            raise error

        town.instagram.username = refused
        await town.say("hello")
        await town.run()
        assert town.got() == ["answer 1"]
