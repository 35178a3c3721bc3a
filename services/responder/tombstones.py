"""What stays of somebody who was erased: a hash that only this store can make, and a time. Rules only."""

from __future__ import annotations

import hmac

KEY_BYTES = 32
"""How long a store's own secret is; it is made at random once and never leaves the store."""


def hash_of(secret: bytes, account: str, person: str) -> str:
    """Return a person's mark, or with an empty person the account's; nobody without the secret can make it."""
    return hmac.digest(secret, f"{account}\0{person}".encode(), "sha256").hex()
