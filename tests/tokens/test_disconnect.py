"""An owner who leaves, and comes back while that is being done: the newest wish counts."""

import pytest

from services.common.account_state import AccountState
from services.tokens import disconnect, keep_alive
from services.tokens.metrics import RefreshOutcome, SubscriptionOutcome
from tests.tokens.fakes import A


def meanwhile(here, work):
    """While Instagram is asked for no more webhooks, something else is done."""
    unsubscribe = here.meta.unsubscribe

    async def slowly(token):
        await unsubscribe(token)
        here.clock.tick(seconds=3)
        await work()

    here.meta.unsubscribe = slowly


@pytest.mark.parametrize("by_meta", [True, False])
async def test_a_connection_made_while_the_old_one_is_dropped_stays(here, by_meta):
    await here.connected()
    here.clock.tick(hours=1)
    asked = here.clock.now() if by_meta else None
    meanwhile(here, here.connected)
    kept = await disconnect.disconnect(here.ports, A.app_scoped_id, "deletion", unless_since=asked)
    row = await here.row()
    assert kept == row
    assert (row.state, row.last_version) == (AccountState.ACTIVE, 2)
    assert row.token is not None


async def test_the_webhooks_of_a_connection_that_stays_are_asked_for_again_at_once(here):
    await here.connected()
    here.clock.tick(hours=1)

    async def connected_before_the_webhooks_go():
        await here.connected()
        here.meta.owners[A.account].subscribed = ()

    meanwhile(here, connected_before_the_webhooks_go)
    await disconnect.disconnect(here.ports, A.account, "")
    assert await keep_alive.watch_next(here.ports, here.alerts) == (SubscriptionOutcome.REPAIRED,)


async def test_a_refresh_meanwhile_saves_no_account_from_being_dropped(here):
    await here.connected()
    here.clock.tick(days=2)

    async def refreshed():
        assert await keep_alive.refresh_now(here.ports, A.account) == RefreshOutcome.REFRESHED

    meanwhile(here, refreshed)
    await disconnect.disconnect(here.ports, A.account, "")
    row = await here.row()
    assert (row.state, row.token, row.last_version) == (AccountState.DISCONNECTED, None, 2)


async def test_a_connection_made_while_the_row_is_looked_up_is_not_forgotten(here):
    await here.connected()
    await disconnect.disconnect(here.ports, A.app_scoped_id, "deletion")
    find = here.store.find

    async def slowly(account):
        found = await find(account)
        here.store.find = find
        await here.connected()
        return found

    here.store.find = slowly
    await disconnect.forget(here.ports, A.app_scoped_id)
    assert (await here.row()).state == AccountState.ACTIVE
