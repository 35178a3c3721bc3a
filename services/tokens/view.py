"""Accounts as RPCs say them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from services.common.graph_errors import GraphError
from services.common.pb import tokens_pb2 as pb
from services.tokens.accounts import Account
from services.tokens.documents import milliseconds


def to_proto(account: Account) -> pb.Account:
    """Return the account without its token."""
    token = account.token
    return pb.Account(
        account=account.account,
        app_scoped_id=account.app_scoped_id,
        username=account.username,
        state=account.state,
        reason=account.reason,
        token_version=account.last_version,
        connected_at_ms=milliseconds(account.connected_at),
        expires_at_ms=_ms(token.expires_at if token else None),
        refreshed_at_ms=_ms(token.issued_at if token else None),
        next_refresh_at_ms=_ms(account.plan.refresh_at),
        scopes=account.scopes,
        subscribed_fields=account.subscribed_fields,
        subscription_checked_at_ms=_ms(account.subscription_checked_at),
    )


async def listed(accounts: Sequence[Account]) -> pb.ListAccountsResponse:
    """Return all these accounts, letting other calls in between."""
    answer = pb.ListAccountsResponse()
    for number, account in enumerate(accounts, start=1):
        answer.accounts.append(to_proto(account))
        if number % 100 == 0:
            await asyncio.sleep(0)
    return answer


def reported(error: pb.GraphError) -> GraphError:
    """Return an error that a borrower got from Instagram."""
    return GraphError(error.http_status, error.code, error.subcode or None, error.type)


def _ms(value: datetime | None) -> int:
    return milliseconds(value) if value else 0
