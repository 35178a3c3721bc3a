"""Days of simulated faults and kills: who was not revoked stays connected, who was is known within the hour."""

from datetime import timedelta

import pytest

from services.common.account_state import AccountState
from tests.tokens.years import Years

pytestmark = pytest.mark.usefixtures("quiet_logs")


async def live(accounts: int, days: int, **how: float) -> Years:
    """Live through the days and hold the end to what is promised."""
    years = Years(accounts, days, **how)
    await years.run()
    print(
        f"{accounts} accounts, {days} days: {years.kills} kills, {years.pauses} pauses, {len(years.revoked)} revoked, "
        f"{years.traded.total()} refreshes, {sum(n > 1 for n in years.traded.values())} of a token twice"
    )
    for account, state in years.states().items():
        if account in years.revoked:
            assert state == AccountState.REAUTHORIZE, account
        else:
            assert state == AccountState.ACTIVE, account
            assert years.works(account)
    for account, rejected in years.first_rejected.items():
        assert years.turned[account] - rejected <= timedelta(hours=1), account
    return years


async def test_a_month_with_ten_accounts():
    years = await live(10, 30)
    assert years.kills
    assert years.traded


async def test_without_kills_no_token_is_ever_traded_twice():
    years = await live(10, 40, kill_odds=0.0, seed=2)
    assert years.kills == 0
    assert max(years.traded.values()) == 1


@pytest.mark.long
async def test_two_hundred_days_with_fifty_accounts():
    years = await live(50, 200)
    assert years.kills > 100
    assert len(years.revoked) > 3
    assert set(years.first_rejected) == years.revoked
