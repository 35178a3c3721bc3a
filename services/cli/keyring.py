"""The folder of encryption keys: one file a key, its name the key's id, its content base64 of 32 bytes.

The lexicographically last name encrypts, so new names are the time they were made at.
"""

from __future__ import annotations

import base64
import os
from datetime import datetime
from pathlib import Path

KEY_BYTES = 32


def key_names(folder: Path) -> list[str]:
    """The ids of all keys, oldest first; dot-files are not keys."""
    return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith(".") and entry.is_file())


def new_key(folder: Path, *, now: datetime, entropy: bytes) -> str:
    """Write one more key, which encrypts from now on, and return its id. Only its owner may read it.

    Raises FileExistsError when a key that sorts after the new one is there, for then that one would go on encrypting.
    """
    name = now.strftime("%Y%m%dT%H%M%SZ")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    later = [old for old in key_names(folder) if old >= name]
    if later:
        raise FileExistsError(f"the key {later[-1]} in {folder} sorts after {name}, so a new one would not be used")
    _write_whole(folder, name, base64.b64encode(entropy) + b"\n")
    return name


def _write_whole(folder: Path, name: str, content: bytes) -> None:
    """A reader sees the whole key or none: written under a dot-name, then renamed, both on disk."""
    draft = folder / f".{name}.new"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(folder / name)
    parent = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
