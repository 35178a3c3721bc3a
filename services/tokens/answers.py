"""What Instagram's OAuth, profile and subscription answers hold. Rules only.

The docs show answers wrapped in `data`, real ones come flat; ids come as numbers beyond 2^53 or as text; permissions
as a list or as one text. https://developers.facebook.com/docs/instagram-platform/instagram-api-with-instagram-login
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.common.graph_errors import GraphFailure
from services.tokens.accounts import Fresh, Grant, Profile

SIXTY_DAYS = 60 * 86_400.0
DEFAULT_LIFE = SIXTY_DAYS


def grant(body: Mapping[str, Any]) -> Grant:
    """Read the answer to a code exchange."""
    found = unwrapped(body)
    return Grant(token_text(found), words(found.get("permissions")), identifier(found.get("user_id")))


def fresh(body: Mapping[str, Any]) -> Fresh:
    """Read the answer of the long-lived exchange or of a refresh."""
    found = unwrapped(body)
    lives = found.get("expires_in")
    known = isinstance(lives, (int, float)) and not isinstance(lives, bool) and lives > 0
    return Fresh(token_text(found), float(lives) if known and lives else DEFAULT_LIFE)


def profile(body: Mapping[str, Any]) -> Profile:
    """Read `/me`: `user_id` is the professional id that webhooks use, `id` the app-scoped one."""
    found = unwrapped(body)
    username = found.get("username")
    return Profile(
        account=identifier(found.get("user_id")),
        app_scoped_id=identifier(found.get("id")),
        username=username if isinstance(username, str) else "",
    )


def fields(body: Mapping[str, Any], app_id: str) -> tuple[str, ...]:
    """Read the webhook fields of our app; of all apps listed when none of them is called as we are."""
    rows = body.get("data")
    apps = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    mine = [app for app in apps if identifier(app.get("id")) == app_id] or apps
    return tuple(dict.fromkeys(name for app in mine for name in words(app.get("subscribed_fields")) or ()))


def unwrapped(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the object itself, in or out of its `data` list."""
    data = body.get("data")
    if isinstance(data, list):
        return data[0] if data and isinstance(data[0], dict) else {}
    return data if isinstance(data, dict) else body


def token_text(found: Mapping[str, Any]) -> str:
    """Return the token's text, or fail as a call without an answer does."""
    text = found.get("access_token")
    if not isinstance(text, str) or not text:
        raise GraphFailure("an answer without a token", reached=True)
    return text


def identifier(value: object) -> str:
    """Return an id as text, exactly; empty when it is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value.isascii() and value.isdigit() else ""


def words(value: object) -> tuple[str, ...] | None:
    """Return a list of words that came as a list or as one text; None when it is neither."""
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    if isinstance(value, list):
        return tuple(word for word in value if isinstance(word, str))
    return None
