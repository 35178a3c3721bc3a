"""The id that follows a message: made at the webhook, kept in the inbox, told in every call, part of every log line."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from itertools import count
from typing import Any

from structlog.contextvars import bound_contextvars, get_contextvars

HEADER = "X-Request-ID"
METADATA = HEADER.lower()
WELL_FORMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")
MOST = 16
"""A call on behalf of more than so many deliveries tells no id of its own; its events carry theirs."""


def request_ids() -> Callable[[], str]:
    """Return a maker of ids: this process's own random part, then a number. A UUID each would cost ten times that."""
    mine, numbers = secrets.token_hex(5), count()
    return lambda: f"{mine}{next(numbers):06x}"


def well_formed(given: str) -> bool:
    """Whether an id from outside may stand in our logs."""
    return WELL_FORMED.fullmatch(given) is not None


def bound(requests: Iterable[str], **ids: str) -> AbstractContextManager[Any]:
    """Put the ids into every line and every call from inside the block: `request`, or `requests` when many."""
    found = list(dict.fromkeys(one for one in requests if one))
    if len(found) > MOST:
        return bound_contextvars(**ids)
    if len(found) == 1:
        return bound_contextvars(request=found[0], **ids)
    return bound_contextvars(requests=found, **ids) if found else bound_contextvars(**ids)


def outgoing() -> tuple[tuple[str, str], ...]:
    """Return the bound ids as a call's metadata."""
    context = get_contextvars()
    found = [context["request"]] if "request" in context else context.get("requests", [])
    return tuple((METADATA, str(one)) for one in found)


def incoming(metadata: Iterable[tuple[str, Any]] | None) -> list[str]:
    """Return the ids of a call that came in."""
    given = [value for name, value in metadata or () if name == METADATA]
    return [one for one in given if isinstance(one, str) and well_formed(one)][:MOST]
