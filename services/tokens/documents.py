"""An account as both stores keep it: one flat document of texts, numbers and lists. Times are milliseconds.

Documents only grow: a reader ignores keys that it does not know and has a default for those that are missing.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from services.common.account_state import AccountState
from services.tokens.accounts import Account, Alert, Plan, Sealed, Token

SCHEMA = 1
"""The newest form of a document that this igbot knows; a store that holds a newer one is left alone."""

Document = dict[str, Any]


def to_document(account: Account) -> Document:
    """Write an account down."""
    token, plan = account.token, account.plan
    return {
        "schema": SCHEMA,
        "account": account.account,
        "app_scoped_id": account.app_scoped_id,
        "username": account.username,
        "state": str(account.state),
        "reason": account.reason,
        "connected_at": _ms(account.connected_at),
        "state_at": _ms(account.state_at),
        "key_id": token.sealed.key_id if token else None,
        "token": base64.b64encode(token.sealed.blob).decode() if token else None,
        "issued_at": _ms(token.issued_at) if token else None,
        "expires_at": _ms(token.expires_at) if token else None,
        "version": account.last_version,
        "scopes": list(account.scopes),
        "refresh_at": _ms(plan.refresh_at),
        "watch_at": _ms(plan.watch_at),
        "probe_at": _ms(plan.probe_at),
        "subscription_at": _ms(plan.subscription_at),
        "alert_at": _ms(plan.alert_at),
        "subscribed_fields": list(account.subscribed_fields),
        "subscription_checked_at": _ms(account.subscription_checked_at),
        "rejected_at": _ms(account.rejected_at),
        "probed_at": _ms(account.probed_at),
        "probes": account.probes,
        "failures": account.failures,
        "lease_until": _ms(account.lease_until),
        "fence": account.fence,
        "alerts": [_alert_document(alert) for alert in account.alerts],
        "former": list(account.former),
    }


def from_document(found: Mapping[str, Any]) -> Account:
    """Read an account back."""
    return Account(
        account=str(found["account"]),
        app_scoped_id=str(found["app_scoped_id"]),
        username=str(found["username"]),
        connected_at=_at(found["connected_at"]),
        state=AccountState(found["state"]),
        reason=str(found.get("reason", "")),
        state_at=_time(found.get("state_at")),
        token=_token(found),
        last_version=int(found.get("version", 0)),
        scopes=tuple(found.get("scopes", ())),
        plan=_plan(found),
        subscribed_fields=tuple(found.get("subscribed_fields", ())),
        subscription_checked_at=_time(found.get("subscription_checked_at")),
        rejected_at=_time(found.get("rejected_at")),
        probed_at=_time(found.get("probed_at")),
        probes=int(found.get("probes", 0)),
        failures=int(found.get("failures", 0)),
        lease_until=_time(found.get("lease_until")),
        fence=int(found.get("fence", 0)),
        alerts=tuple(_alert(one) for one in found.get("alerts", ())),
        former=tuple(found.get("former", ())),
    )


def _token(found: Mapping[str, Any]) -> Token | None:
    if not found.get("token"):
        return None
    sealed = Sealed(str(found["key_id"]), base64.b64decode(found["token"]))
    return Token(sealed, int(found["version"]), _at(found["issued_at"]), _at(found["expires_at"]))


def _plan(found: Mapping[str, Any]) -> Plan:
    names = ("refresh_at", "probe_at", "subscription_at", "alert_at")
    return Plan(**{name: _time(found.get(name)) for name in names})


def _alert_document(alert: Alert) -> Document:
    return {
        "id": alert.id,
        "state": str(alert.state),
        "reason": alert.reason,
        "at": _ms(alert.at),
        "tries": alert.tries,
    }


def _alert(found: Mapping[str, Any]) -> Alert:
    return Alert(
        id=str(found["id"]),
        state=AccountState(found["state"]),
        reason=str(found["reason"]),
        at=_at(found["at"]),
        tries=int(found["tries"]),
    )


def milliseconds(moment: datetime) -> int:
    """Return a moment as the stores and the RPCs write it."""
    return round(moment.timestamp() * 1000)


def moment(milliseconds: float) -> datetime:
    """Return the moment that was written so."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _ms(value: datetime | None) -> int | None:
    return None if value is None else milliseconds(value)


def _at(value: float) -> datetime:
    return moment(value)


def _time(value: float | None) -> datetime | None:
    return None if value is None else moment(value)
