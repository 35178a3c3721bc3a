"""Encrypts every token with the newest key, account by account: it may be stopped at any point and run again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import structlog

from services.common.errors import Unavailable, UnknownAccount
from services.tokens import state
from services.tokens.accounts import TOKEN_FIELD, Account
from services.tokens.ports import Keys, KeyUnavailable, Ports, Unreadable

log = structlog.get_logger(__name__)


class Ring(Keys, Protocol):
    """A keyring whose keys can be listed and read again."""

    def reload(self) -> bool:
        """Read the keys again; False when that cannot be done now."""

    @property
    def key_ids(self) -> frozenset[str]:
        """The ids of all keys."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How many tokens the newest key encrypts by now. `unused` is filled in the last one only."""

    done: int
    total: int
    key_id: str
    unused: tuple[str, ...] = ()


async def rotate(ports: Ports, ring: Ring) -> AsyncIterator[Progress]:
    """Re-encrypt what another key encrypted; the last message names the keys that nothing needs any more.

    A token that does not open is left as it is and is not counted as done.
    """
    if not ring.reload():
        raise Unavailable("TOKEN_KEYS_DIR cannot be read now")
    accounts = [account for account in await ports.accounts.all() if account.token]
    done = 0
    for account in accounts:
        try:
            await reseal(ports, account)
            done += 1
        except (KeyUnavailable, Unreadable) as error:
            log.warning("token_not_rotated", account=account.account, why=str(error))
        if account is not accounts[-1]:
            yield Progress(done, len(accounts), ring.current)
    yield Progress(done, len(accounts), ring.current, await unused(ports, ring))


async def reseal(ports: Ports, account: Account) -> None:
    """Encrypt one account's token with the current key, unless it changed meanwhile: then it is new already, or gone.

    Raises KeyUnavailable and Unreadable.
    """
    if account.token is None or account.token.sealed.key_id == ports.keys.current:
        return
    text = ports.keys.open(account.account, TOKEN_FIELD, account.token.sealed)
    sealed = ports.keys.seal(account.account, TOKEN_FIELD, text)
    with suppress(UnknownAccount):
        await ports.accounts.change(account.account, lambda found: state.resealed(found, account.last_version, sealed))


async def unused(ports: Ports, ring: Ring) -> tuple[str, ...]:
    """Return the ids of the keys that encrypt nothing and will encrypt nothing."""
    used = {account.token.sealed.key_id for account in await ports.accounts.all() if account.token}
    return tuple(sorted(ring.key_ids - used - {ring.current}))
