"""An owner leaves: no more webhooks, no token; and, when asked for, no trace."""

from __future__ import annotations

from datetime import datetime

import structlog

from services.common.account_state import AccountState
from services.common.errors import Unavailable
from services.tokens import state
from services.tokens.accounts import TOKEN_FIELD, Account
from services.tokens.ports import Ports

log = structlog.get_logger(__name__)


async def disconnect(
    ports: Ports, account_id: str, reason: str, *, unless_since: datetime | None = None
) -> Account | None:
    """Unsubscribe the account's webhooks as far as Instagram lets us, drop its token, keep its row.

    One that was connected after `unless_since`, or while this was under way, stays: its owner's mind changed since.
    """
    account = await ports.accounts.find(account_id)
    if account is None or account.state == AccountState.DISCONNECTED:
        return account
    if unless_since is not None and account.connected_at > unless_since:
        return skipped(account)
    await unsubscribe(ports, account)
    since, now = account.connected_at, ports.clock.now()
    gone = await ports.accounts.change(account.account, lambda found: state.left(found, since, reason, now))
    if gone.state != AccountState.DISCONNECTED:
        return skipped(gone)
    log.info("account_disconnected", account=gone.account)
    return gone


def skipped(account: Account) -> Account:
    """Return an account that stays as it is, and say so."""
    log.warning("disconnect_skipped", account=account.account, why="connected again")
    return account


async def unsubscribe(ports: Ports, account: Account) -> None:
    """Ask for no more webhooks; a dead token cannot, and Instagram may answer anything."""
    if account.token is None:
        return
    try:
        token = ports.keys.open(account.account, TOKEN_FIELD, account.token.sealed)
        await ports.instagram.unsubscribe(token)
    except Unavailable as error:
        log.info("unsubscribe_failed", account=account.account, why=str(error))


async def forget(ports: Ports, app_scoped_id: str) -> None:
    """Erase a disconnected account's row. One that was connected again since is its owner's newest wish, and stays."""
    account = await ports.accounts.find(app_scoped_id)
    if account is None:
        # A try before this one may have ended between its erasure and the emptying of the store's log.
        await ports.accounts.forget(app_scoped_id, when=lambda _: False)
        return
    version = account.last_version
    gone = await ports.accounts.forget(
        account.account, when=lambda found: found.state == AccountState.DISCONNECTED and found.last_version == version
    )
    if gone:
        log.info("account_forgotten")
    else:
        log.warning("forget_skipped", account=account.account, why="connected again")
