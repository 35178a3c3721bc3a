"""The keys that tokens are encrypted with at rest: one file a key in TOKEN_KEYS_DIR.

AES-256-GCM with a random 96-bit nonce (NIST SP 800-38D). The account's id, the field's name and the key's id are
authenticated with the text, so a ciphertext that was moved to another row or altered does not open.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from pathlib import Path

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.tokens.accounts import Sealed
from services.tokens.ports import KeyUnavailable, Unreadable

log = structlog.get_logger(__name__)

KEY_BYTES = 32
NONCE_BYTES = 12


def load_keys(folder: Path) -> dict[str, bytes]:
    """Read every key of the folder; a ValueError says in plain words what is wrong with it."""
    if not folder.is_dir():
        raise ValueError("must be a folder with one file a key; `igbot keys new` makes the first")
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith(".") and path.is_file())
    if not names:
        raise ValueError("the folder holds no key; `igbot keys new` makes one")
    return {name: _read_key(folder / name) for name in names}


def _read_key(path: Path) -> bytes:
    try:
        key = base64.b64decode(path.read_bytes().strip(), validate=True)
    except OSError as error:
        raise ValueError(f"the key {path.name} cannot be read: {error.strerror}") from None
    except binascii.Error:
        raise ValueError(f"the key {path.name} is not base64") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"the key {path.name} must be base64 of {KEY_BYTES} bytes")
    return key


class Keyring:
    """Seals with the last key by name and opens with whichever key is named."""

    def __init__(self, folder: Path) -> None:
        """Read the folder; a ValueError when it holds no usable keyring."""
        self.folder = folder
        self.keys = load_keys(folder)

    @property
    def current(self) -> str:
        """The id of the key that encrypts."""
        return max(self.keys)

    @property
    def key_ids(self) -> frozenset[str]:
        """The ids of all keys."""
        return frozenset(self.keys)

    def reload(self) -> bool:
        """Read the folder again, keep what we have if it is broken now; say whether it could be read."""
        try:
            self.keys = load_keys(self.folder)
        except (ValueError, OSError) as error:
            log.warning("keyring_unreadable", why=str(error))
            return False
        return True

    def seal(self, account: str, field: str, text: str) -> Sealed:
        """Encrypt one field of one account with the current key."""
        key_id, nonce = self.current, os.urandom(NONCE_BYTES)
        cipher = AESGCM(self.keys[key_id])
        return Sealed(key_id, nonce + cipher.encrypt(nonce, text.encode(), bound_to(account, field, key_id)))

    def open(self, account: str, field: str, sealed: Sealed) -> str:
        """Decrypt; KeyUnavailable without the key, Unreadable when the text is not what was sealed here."""
        if sealed.key_id not in self.keys:
            self.reload()
        if sealed.key_id not in self.keys:
            raise KeyUnavailable(f"the key {sealed.key_id!r} is not in TOKEN_KEYS_DIR")
        nonce, text = sealed.blob[:NONCE_BYTES], sealed.blob[NONCE_BYTES:]
        try:
            cipher = AESGCM(self.keys[sealed.key_id])
            return cipher.decrypt(nonce, text, bound_to(account, field, sealed.key_id)).decode()
        except (InvalidTag, ValueError):
            raise Unreadable("a stored token does not open: it was altered or belongs to another account") from None


def bound_to(account: str, field: str, key_id: str) -> bytes:
    """Return the associated data; as JSON, so that no two triples write the same bytes."""
    return json.dumps([account, field, key_id]).encode()
