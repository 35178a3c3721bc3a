"""Connecting an account."""

from datetime import timedelta

import pytest

from services.common.account_state import AccountState
from services.common.errors import NotSetUp, RateLimited, Refused, Unavailable
from services.tokens import connect, disconnect, judge
from services.tokens.accounts import Profile
from services.tokens.subscription import WANTED
from tests.tokens.fakes import A, B, refusal, silence

CALLBACK = "https://bot.example/oauth/callback"


async def test_a_connected_account_has_both_ids_and_a_long_lived_token(here):
    account = await here.connected()
    assert (account.account, account.app_scoped_id, account.username) == (A.account, A.app_scoped_id, A.username)
    assert account.state == AccountState.ACTIVE
    assert account.token.expires_at == here.clock.now() + timedelta(days=60)
    assert here.ports.keys.open(A.account, "token", account.token.sealed).startswith("IGAAlong")


async def test_the_account_is_stored_before_its_webhooks_are_asked_for(here):
    here.meta.owner()
    rows = []
    here.meta.fault_of = lambda call: rows.append(len(here.store.rows)) if call.startswith("subscribe ") else None
    await here.connected()
    assert rows == [1]


async def test_webhooks_are_read_back(here):
    account = await here.connected()
    assert account.subscribed_fields == WANTED
    assert here.meta.calls[-2:] == [f"subscribe {','.join(WANTED)}", "subscribed"]


async def test_fields_that_the_dashboard_does_not_tick_are_reported(here):
    here.meta.owner()
    here.meta.offers -= {"message_edit"}
    made = await connect.connect(here.ports, here.meta.code(), CALLBACK)
    assert made.missing_fields == ("message_edit",)


async def test_a_refused_field_leaves_the_messages(here):
    here.meta.owner()
    here.meta.accepts -= {"message_edit"}
    made = await connect.connect(here.ports, here.meta.code(), CALLBACK)
    assert made.account.subscribed_fields == ("messages",)
    assert "message_edit" in made.missing_fields


async def test_webhooks_that_are_refused_are_all_missing(here):
    here.meta.owner()
    here.meta.fault_of = lambda call: refusal(10, 403) if call.startswith("subscribe ") else None
    made = await connect.connect(here.ports, here.meta.code(), CALLBACK)
    assert made.account.account == A.account
    assert made.missing_fields == WANTED


async def test_webhooks_that_fail_leave_the_account_connected_and_soon_looked_at(here):
    here.meta.owner()
    here.meta.fault_of = lambda call: silence() if call.startswith("subscribe ") else None
    made = await connect.connect(here.ports, here.meta.code(), CALLBACK)
    assert made.account.state == AccountState.ACTIVE
    assert made.missing_fields == ()  # nobody has said that any is: the next look asks again
    assert made.account.plan.subscription_at <= here.clock.now() + timedelta(minutes=10)


async def test_a_missing_messages_permission_at_subscribing_limits_the_account(here):
    here.meta.owner()
    here.meta.fault_of = lambda call: refusal(10, 403) if call.startswith("subscribe ") else None
    made = await connect.connect(here.ports, here.meta.code(), CALLBACK)
    assert made.account.state == AccountState.LIMITED
    assert "every box" in made.account.reason


async def test_a_deselected_scope_is_refused_by_name(here):
    here.meta.owner(scopes=("instagram_business_basic",))
    with pytest.raises(Refused, match="instagram_business_manage_messages was not granted"):
        await here.connected()
    assert here.store.rows == {}


async def test_a_grant_that_lists_no_scopes_is_believed(here):
    here.meta.owner(scopes=None)
    assert (await here.connected()).state == AccountState.ACTIVE


async def test_an_account_without_a_professional_id_is_refused_with_the_reason(here):
    personal = Profile("", "27640000000000009", "just_me")
    here.meta.owner(personal)
    with pytest.raises(Refused, match="professional account"):
        await connect.connect(here.ports, here.meta.code(personal), CALLBACK)
    assert here.store.rows == {}


async def test_connecting_again_updates_the_one_row(here):
    first = await here.connected()
    here.clock.tick(days=1)
    second = await here.connected()
    assert list(here.store.rows) == [A.account]
    assert second.last_version == first.last_version + 1
    assert second.connected_at == here.clock.now()


async def test_connecting_again_heals_a_dead_account(here):
    await here.connected()
    here.kill()
    await judge.settle(here.ports, await here.row())
    assert (await here.row()).state == AccountState.REAUTHORIZE
    here.heal()
    assert (await here.connected()).state == AccountState.ACTIVE


async def test_two_accounts_are_two_rows(here):
    await here.connected(A)
    await here.connected(B)
    assert sorted(here.store.rows) == [A.account, B.account]


async def test_a_new_professional_id_of_the_same_owner_replaces_the_old_row(here):
    await here.connected(A)
    moved = Profile("17841400000000077", A.app_scoped_id, A.username)
    here.meta.owner(moved)
    await connect.connect(here.ports, here.meta.code(moved), CALLBACK)
    assert list(here.store.rows) == [moved.account]


async def test_an_account_knows_the_professional_ids_that_it_had_before_until_it_is_forgotten(here):
    for number in ("17841400000000001", "17841400000000077", "17841400000000078", "17841400000000077"):
        moved = Profile(number, A.app_scoped_id, A.username)
        here.meta.owner(moved)
        await connect.connect(here.ports, here.meta.code(moved), CALLBACK)
    await connect.connect(here.ports, here.meta.code(moved), CALLBACK)
    gone = await disconnect.disconnect(here.ports, A.app_scoped_id, "deletion")
    assert gone
    assert gone.account == moved.account
    assert set(gone.former) == {"17841400000000001", "17841400000000078"}


async def test_a_store_that_fails_between_the_old_row_and_the_new_one_loses_no_former_id(here):
    await here.connected(A)
    moved = Profile("17841400000000077", A.app_scoped_id, A.username)
    here.meta.owner(moved)
    here.store.falls_between = 1
    await connect.connect(here.ports, here.meta.code(moved), CALLBACK)
    assert here.store.rows[moved.account].former == (A.account,)


async def test_a_spent_code_is_refused(here):
    here.meta.owner()
    code = here.meta.code()
    await connect.connect(here.ports, code, CALLBACK)
    with pytest.raises(Refused, match="used already"):
        await connect.connect(here.ports, code, CALLBACK)


async def test_our_wrong_settings_are_the_operators_to_mend(here):
    here.meta.owner()
    here.meta.faults = [refusal(400, of_exchange=True, wrong_app=True)]
    with pytest.raises(NotSetUp, match="REDIRECT_URI"):
        await here.connected()


@pytest.mark.parametrize("call", ["lengthen", "profile"])
async def test_an_account_that_is_no_tester_is_the_operators_to_mend(here, call):
    here.meta.owner()
    fault = refusal(100, unsupported_method=True)
    here.meta.fault_of = lambda name: fault if name == call else None
    with pytest.raises(NotSetUp, match="tester role"):
        await here.connected()


async def test_too_many_exchanges_are_rate_limited(here):
    here.meta.owner()
    here.meta.faults = [refusal(429, 429, of_exchange=True)]
    with pytest.raises(RateLimited):
        await here.connected()


async def test_a_store_that_is_away_costs_no_code(here):
    here.meta.owner()
    here.store.down = True
    code = here.meta.code()
    with pytest.raises(Unavailable):
        await connect.connect(here.ports, code, CALLBACK)
    here.store.down = False
    assert (await connect.connect(here.ports, code, CALLBACK)).account.account == A.account


async def test_a_store_that_goes_away_after_the_code_was_spent_is_waited_for(here):
    here.meta.owner()

    def away(call):
        here.store.down = here.store.down or call == "profile"

    sleep = here.clock.sleep

    async def back(seconds):
        await sleep(seconds)
        here.store.down = len(here.clock.slept) < 5

    here.meta.fault_of = away
    here.clock.sleep = back
    assert (await here.connected()).account == A.account


async def test_a_code_is_not_spent_twice_when_the_answer_was_lost(here):
    here.meta.owner()
    here.meta.faults = [silence(reached=True)]
    with pytest.raises(Unavailable):
        await here.connected()
    assert here.meta.calls == ["exchange"]


async def test_a_connection_that_was_never_made_is_tried_again(here):
    here.meta.owner()
    here.meta.faults = [silence(reached=False)]
    assert (await here.connected()).state == AccountState.ACTIVE


async def test_passing_faults_after_the_exchange_are_tried_again(here):
    here.meta.owner()
    failed = {"exchange"}

    def once(call):
        if call in failed:
            return None
        failed.add(call)
        return refusal(2, 500)

    here.meta.fault_of = once
    assert (await here.connected()).state == AccountState.ACTIVE


async def test_a_token_that_is_long_lived_already_is_refreshed_instead(here):
    owner = here.meta.owner()
    token = here.meta.token(owner)
    here.clock.tick(days=2)
    made = await connect.add(here.ports, token)
    assert here.meta.calls[:3] == ["profile", "lengthen", "refresh"]
    assert made.account.token
    assert made.account.token.expires_at == here.clock.now() + timedelta(days=60)


async def test_a_dashboard_token_that_is_too_young_is_kept_and_refreshed_after_a_day(here):
    token = here.meta.token(here.meta.owner())
    made = await connect.add(here.ports, token)
    assert made.account.token
    assert here.ports.keys.open(A.account, "token", made.account.token.sealed) == token
    assert timedelta(hours=24) < made.account.plan.refresh_at - here.clock.now() < timedelta(hours=25)


async def test_a_token_that_instagram_rejects_is_not_added(here):
    with pytest.raises(Refused, match="190"):
        await connect.add(here.ports, "IGAAnobodys")
    assert here.store.rows == {}


async def test_the_first_refresh_is_planned_around_half_of_the_life(here):
    account = await here.connected()
    assert timedelta(days=12) <= account.plan.refresh_at - here.clock.now() <= timedelta(days=48)
