"""Tells the operator's ACCOUNT_ALERT_URL of each account that needs its owner, and of each that is well again.

One signed JSON POST a change, see services/common/signed_notes.py; `id` is the same when a try is repeated.
"""

from __future__ import annotations

from contextlib import nullcontext

import aiohttp
import structlog
from pydantic import SecretStr

from services.common.signed_notes import SignedNotes
from services.common.traffic import Watch
from services.tokens.accounts import Account, Alert
from services.tokens.documents import milliseconds

log = structlog.get_logger(__name__)


class WebAlerts:
    """The port Alerts over HTTP."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, secret: SecretStr, connect_url: str, watch: Watch = nullcontext
    ) -> None:
        """Post to `url`; owners connect again at `connect_url`."""
        self.notes = SignedNotes(session, url, secret, "ACCOUNT_ALERT_URL", watch)
        self.connect_url = connect_url

    async def tell(self, account: Account, alert: Alert) -> None:
        """Post the alert; anything but a 2xx is Unavailable."""
        await self.notes.post(content(account, alert, self.connect_url))


class NoAlerts:
    """The port Alerts where nobody wants to be told: the log has it."""

    async def tell(self, account: Account, alert: Alert) -> None:
        """Log the change."""
        log.warning("account_changed", account=account.account, now=alert.state, why=alert.reason)


def content(account: Account, alert: Alert, connect_url: str) -> dict[str, object]:
    """Return what is posted."""
    return {
        "event": "account_state_changed",
        "id": alert.id,
        "account": account.account,
        "app_scoped_id": account.app_scoped_id,
        "username": account.username,
        "state": str(alert.state),
        "reason": alert.reason,
        "at_ms": milliseconds(alert.at),
        "connect_url": connect_url,
    }
