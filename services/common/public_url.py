"""The installation as browsers and Meta see it: PUBLIC_URL, else what REDIRECT_URI says of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from services.common.settings import require_http, split_url

CALLBACK_PATH = "/oauth/callback"


def require_page(value: str) -> str:
    """Take an absolute http or https address without query or fragment."""
    parts = split_url(require_http(value))
    if parts.query or parts.fragment:
        raise ValueError("must be without ? and #")
    return value


def require_callback(value: str) -> str:
    """Take an absolute address that ends where the gateway answers."""
    if require_page(value).endswith(CALLBACK_PATH):
        return value
    raise ValueError(f"must end in {CALLBACK_PATH}, exactly as the Meta app has it")


PageAddress = Annotated[str, AfterValidator(require_page)]
CallbackAddress = Annotated[str, AfterValidator(require_callback)]


def public_url(given: str, callback: str) -> str:
    """Return PUBLIC_URL without a slash at its end, from REDIRECT_URI where it is empty; empty when neither says."""
    if given:
        return given.rstrip("/")
    try:
        return require_callback(callback).removesuffix(CALLBACK_PATH)
    except ValueError:
        return ""
