"""Lending tokens, taking leave, looking, and changing the keys."""

from dataclasses import replace
from datetime import timedelta

import pytest

from services.common.account_state import AccountState
from services.common.errors import NotConnected, Unavailable, UnknownAccount
from services.common.unfinished import Unfinished
from services.tokens import check, connect, disconnect, judge, rotate, subscription
from services.tokens.judge import Reports
from services.tokens.keyring import Keyring
from services.tokens.lend import Lender
from tests.tokens.fakes import A, B, profile
from tests.tokens.test_judge import EXPIRED
from tests.tokens.test_keyring import new_key


@pytest.fixture
def lender(here):
    return Lender(here.ports.accounts, here.ports.keys, here.clock)


@pytest.mark.parametrize("account_id", [A.account, A.app_scoped_id])
async def test_either_id_lends_the_token_with_the_professional_id(here, lender, account_id):
    row = await here.connected()
    loan = await lender.lend(account_id)
    assert loan.account.account == A.account
    assert (loan.token.version, loan.token.expires_at) == (row.last_version, row.token.expires_at)
    assert loan.text in here.meta.owners[A.account].tokens


async def test_a_token_is_lent_from_memory_for_ten_seconds_at_most(here, lender):
    first = await here.connected()
    await lender.lend(A.account)
    await here.connected()
    here.clock.tick(seconds=9.9)
    assert (await lender.lend(A.account)).token.version == first.last_version
    here.clock.tick(seconds=0.1)
    assert (await lender.lend(A.account)).token.version == first.last_version + 1


async def test_what_another_replica_disconnected_is_soon_lent_no_more(here, lender):
    await here.connected()
    await lender.lend(A.account)
    await disconnect.disconnect(here.ports, A.account, "by another replica")
    here.clock.tick(seconds=10)
    with pytest.raises(NotConnected, match=r"^disconnected$"):
        await lender.lend(A.account)
    here.store.down = True
    with pytest.raises(Unavailable):
        await lender.lend(A.account)  # nor from memory, now that it is known


async def test_memory_lends_while_the_store_is_away_for_a_minute(here, lender):
    await here.connected()
    await lender.lend(A.account)
    here.store.down = True
    here.clock.tick(seconds=59.9)
    assert (await lender.lend(A.app_scoped_id)).account.account == A.account
    here.clock.tick(seconds=0.1)
    with pytest.raises(Unavailable):
        await lender.lend(A.account)


async def test_memory_lets_go_of_what_nobody_borrows_any_more(here, lender):
    await here.connected(A)
    await here.connected(B)
    await lender.lend(A.account)
    here.clock.tick(seconds=61)
    await lender.lend(B.account)
    assert set(lender.loans) == {B.account, B.app_scoped_id}


async def test_an_unknown_account_is_looked_up_each_time(here, lender):
    with pytest.raises(UnknownAccount):
        await lender.lend(A.account)
    await here.connected()
    assert await lender.lend(A.account)


async def test_what_cannot_be_lent_says_its_state(here, lender):
    row = await here.connected()
    here.kill()
    await Reports(here.ports, Unfinished()).rejected(A.account, row.last_version, EXPIRED)
    with pytest.raises(NotConnected, match=r"^reauthorize$"):
        await lender.lend(A.account)
    await disconnect.disconnect(here.ports, A.account, "")
    with pytest.raises(NotConnected, match=r"^disconnected$"):
        await lender.lend(A.account)


async def test_a_loans_repr_holds_no_token(here, lender):
    await here.connected()
    assert "IGAA" not in repr(await lender.lend(A.account))


async def test_a_disconnected_account_has_no_webhooks_and_no_token(here):
    await here.connected()
    gone = await disconnect.disconnect(here.ports, A.app_scoped_id, "asked for")
    assert gone
    assert (gone.account, gone.state, gone.token, gone.reason) == (
        A.account,
        AccountState.DISCONNECTED,
        None,
        "asked for",
    )
    assert here.meta.owners[A.account].subscribed == ()


async def test_a_dead_token_does_not_keep_an_account_connected(here):
    await here.connected()
    here.kill()
    await disconnect.disconnect(here.ports, A.account, "")
    assert (await here.row()).state == AccountState.DISCONNECTED


async def test_disconnecting_a_stranger_is_no_error(here):
    assert await disconnect.disconnect(here.ports, "1", "") is None


async def test_disconnecting_twice_is_once(here):
    await here.connected()
    first = await disconnect.disconnect(here.ports, A.account, "first")
    assert await disconnect.disconnect(here.ports, A.account, "second") == first


async def test_a_forgotten_account_is_erased(here):
    await here.connected()
    await disconnect.disconnect(here.ports, A.account, "")
    await disconnect.forget(here.ports, A.app_scoped_id)
    assert here.store.rows == {}
    await disconnect.forget(here.ports, A.app_scoped_id)


async def test_an_account_that_was_connected_again_is_not_forgotten(here):
    await here.connected()
    await disconnect.forget(here.ports, A.app_scoped_id)
    assert A.account in here.store.rows


async def test_a_reconnected_account_is_active_again(here):
    await here.connected()
    await disconnect.disconnect(here.ports, A.account, "")
    again = await here.connected()
    assert (again.state, again.reason, again.last_version) == (AccountState.ACTIVE, "", 2)


async def test_a_healthy_account_passes_every_check(here):
    await here.connected()
    _, findings = await check.check(here.ports, A.account)
    assert [one.check for one in findings] == ["state", "token", "expiry", "scopes", "subscription"]
    assert all(one.ok and not one.advice for one in findings)


async def test_each_fault_comes_with_what_to_do(here):
    await here.connected()
    here.kill(subcode=460)
    here.clock.tick(days=55)
    found = {one.check: one for one in (await check.check(here.ports, A.account))[1]}
    assert "password changed" in found["token"].advice
    assert "igbot accounts refresh" in found["expiry"].advice
    assert not found["subscription"].ok


async def test_a_rejection_is_doubted_only_while_the_brake_holds_the_account(here):
    await here.connected()
    here.kill()
    await judge.settle(here.ports, await here.row())
    turned = check.in_state(await here.row())
    assert (turned.ok, turned.found) == (False, "reauthorize")
    held = check.in_state(replace(await here.row(), state=AccountState.ACTIVE))
    assert not held.ok
    assert "too many at once" in held.found


async def test_missing_webhook_fields_are_named(here):
    here.meta.owner()
    here.meta.offers = {"messages"}
    await connect.connect(here.ports, here.meta.code(), "https://bot.example/oauth/callback")
    found = {one.check: one for one in (await check.check(here.ports, A.account))[1]}
    assert "messaging_postbacks" in found["subscription"].advice


async def test_a_repair_asks_for_the_fields_that_the_dashboard_ticks_by_now(here):
    here.meta.owner()
    here.meta.offers = {"message_edit"}
    await connect.connect(here.ports, here.meta.code(), "https://bot.example/oauth/callback")
    here.meta.offers = set(subscription.WANTED)
    found = {one.check: one.ok for one in (await check.check(here.ports, A.account))[1]}
    assert not found["subscription"]
    account, findings = await check.check(here.ports, A.account, repair=True)
    assert all(one.ok for one in findings)
    assert set(account.subscribed_fields) == set(subscription.WANTED)


async def test_an_account_that_was_connected_again_since_stays_connected(here):
    await here.connected()
    asked = here.clock.now()
    here.clock.tick(seconds=1)
    await here.connected()
    kept = await disconnect.disconnect(here.ports, A.app_scoped_id, "deauthorize", unless_since=asked)
    assert kept
    assert (kept.account, kept.state) == (A.account, AccountState.ACTIVE)
    gone = await disconnect.disconnect(here.ports, A.app_scoped_id, "deauthorize", unless_since=here.clock.now())
    assert gone
    assert gone.state == AccountState.DISCONNECTED


async def test_a_disconnected_account_is_told_to_connect(here):
    await here.connected()
    await disconnect.disconnect(here.ports, A.account, "the owner removed the app")
    findings = (await check.check(here.ports, A.account))[1]
    assert not findings[0].ok
    assert "removed the app" in findings[0].advice


async def test_checking_changes_nothing(here):
    await here.connected()
    here.kill()
    before = await here.row()
    await check.check(here.ports, A.account)
    assert await here.row() == before


@pytest.fixture
def ringed(here, tmp_path):
    """The world with a real keyring of one key."""
    new_key(tmp_path, "2026-01")
    ring = Keyring(tmp_path)
    here.ports = replace(here.ports, keys=ring)
    return ring


async def test_rotation_encrypts_every_token_with_the_newest_key(here, ringed, tmp_path):
    for number in range(5):
        await here.connected(profile(number))
    new_key(tmp_path, "2026-02")
    steps = [step async for step in rotate.rotate(here.ports, ringed)]
    assert [(step.done, step.total) for step in steps] == [(n, 5) for n in range(1, 6)]
    assert steps[-1].unused == ("2026-01",)
    assert {row.token.sealed.key_id for row in await here.store.all()} == {"2026-02"}
    (tmp_path / "2026-01").unlink()
    lender = Lender(here.ports.accounts, Keyring(tmp_path), here.clock)
    assert (await lender.lend(profile(3).account)).text in here.meta.owners[profile(3).account].tokens


async def test_a_stopped_rotation_goes_on_where_it_was(here, ringed, tmp_path):
    for number in range(4):
        await here.connected(profile(number))
    new_key(tmp_path, "2026-02")
    async for step in rotate.rotate(here.ports, ringed):
        if step.done == 2:
            break
    assert sum(row.token.sealed.key_id == "2026-02" for row in await here.store.all()) == 2
    steps = [step async for step in rotate.rotate(here.ports, ringed)]
    assert steps[-1].unused == ("2026-01",)


async def test_a_key_that_still_encrypts_something_is_not_called_unused(here, ringed, tmp_path):
    await here.connected()
    steps = [step async for step in rotate.rotate(here.ports, ringed)]
    assert steps[-1].unused == ()


async def test_a_token_that_does_not_open_is_left_out_and_the_others_are_rotated(here, ringed, tmp_path):
    new_key(tmp_path, "2026-02")
    for number in range(4):
        new_key(tmp_path, f"2026-0{number + 3}")
        ringed.reload()
        await here.connected(profile(number))
    (tmp_path / "2026-03").unlink()  # the first account's: lost
    spoiled = profile(1).account
    await here.store.change(
        spoiled, lambda row: replace(row, token=replace(row.token, sealed=replace(row.token.sealed, blob=b"x" * 40)))
    )
    new_key(tmp_path, "2026-09")
    steps = [step async for step in rotate.rotate(here.ports, ringed)]
    assert [(step.done, step.total) for step in steps] == [(0, 4), (0, 4), (1, 4), (2, 4)]
    assert steps[-1].unused == ("2026-01", "2026-02", "2026-05", "2026-06")  # not 2026-04, that may open the second yet
    assert [row.token.sealed.key_id for row in await here.store.all()] == ["2026-03", "2026-04", "2026-09", "2026-09"]


async def test_an_account_that_is_forgotten_during_a_rotation_does_not_end_it(here, ringed, tmp_path):
    for number in range(2):
        await here.connected(profile(number))
    new_key(tmp_path, "2026-02")
    seal, gone = ringed.seal, profile(0).account

    def forgetful(account, field, text):
        here.store.rows.pop(gone, None)
        return seal(account, field, text)

    ringed.seal = forgetful
    steps = [step async for step in rotate.rotate(here.ports, ringed)]
    assert (steps[-1].done, steps[-1].total) == (2, 2)


async def test_a_store_that_fails_ends_a_rotation(here, ringed, tmp_path):
    await here.connected()
    new_key(tmp_path, "2026-02")
    seal = ringed.seal

    def late(account, field, text):
        here.store.down = True
        return seal(account, field, text)

    ringed.seal = late
    with pytest.raises(Unavailable, match="store"):
        _ = [step async for step in rotate.rotate(here.ports, ringed)]


async def test_rotating_nothing_says_so(here, ringed):
    steps = [step async for step in rotate.rotate(here.ports, ringed)]
    assert [(step.done, step.total, step.key_id) for step in steps] == [(0, 0, "2026-01")]


async def test_a_rotation_that_meets_a_new_token_leaves_it(here, ringed, tmp_path):
    await here.connected()
    stale = await here.row()
    here.clock.tick(seconds=1)
    new = await here.connected()
    new_key(tmp_path, "2026-02")
    ringed.reload()
    await rotate.reseal(here.ports, stale)
    assert (await here.row()).token == new.token


async def test_a_swapped_ciphertext_is_refused_and_the_accounts_stay(here, ringed, lender):
    first, second = await here.connected(A), await here.connected(B)
    await here.store.change(
        A.account, lambda found: replace(found, token=replace(found.token, sealed=second.token.sealed))
    )
    with pytest.raises(Unavailable):
        await Lender(here.ports.accounts, ringed, here.clock).lend(A.account)
    assert (await here.row(A)).state == first.state
    assert timedelta(0) < (await here.row(A)).plan.refresh_at - here.clock.now()
