"""Words that nobody may guess, and the digests that stores keep of them."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

FORM = re.compile("[A-Za-z0-9_-]{22}")


def new_secret() -> str:
    """Return 128 random bits as text for an address or a cookie."""
    return secrets.token_urlsafe(16)


def is_secret(word: str) -> bool:
    """Whether a word is one that `new_secret` may have made: 22 characters that need no escaping anywhere."""
    return FORM.fullmatch(word) is not None


def digest(word: str) -> str:
    """Return what a store keeps of a secret word; whoever reads the store cannot use it."""
    return hashlib.sha256(word.encode(errors="replace")).hexdigest()


def keyed(key: bytes, *words: str) -> str:
    """Return a mark of something that cannot be found again without the key."""
    return hmac.digest(key, "\0".join(words).encode(errors="replace"), "sha256").hex()


def invite_key(prefix: str, invite: str) -> str:
    """Return the Redis key of an invitation: empty until a browser makes it its own, gone when it is used."""
    return f"{prefix}invite:{digest(invite)}"


def invite_link(public_url: str, invite: str) -> str:
    """Return the link that an owner opens."""
    return f"{public_url}/connect?invite={invite}"
