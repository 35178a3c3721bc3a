"""The installation as browsers and Meta see it: PUBLIC_URL, else what REDIRECT_URI says of it."""

from __future__ import annotations

from urllib.parse import urlsplit

CALLBACK_PATH = "/oauth/callback"


def public_url(given: str, callback: str) -> str:
    """Return PUBLIC_URL without a slash at its end, from REDIRECT_URI where it is empty; empty when neither says."""
    if given:
        return given.rstrip("/")
    try:
        parts = urlsplit(callback)
        known = parts.scheme in {"http", "https"} and parts.hostname and callback.endswith(CALLBACK_PATH)
    except ValueError:
        return ""
    return callback.removesuffix(CALLBACK_PATH) if known else ""
