"""What never stands in a log: secrets by the name of their key, by their shape, or known by heart; people's words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from pathlib import PurePath
from typing import Any

from structlog.typing import EventDict, WrappedLogger

MASK = "***"
SECRET_KEYS = frozenset(
    [
        *("token", "secret", "password", "api_key", "code", "state"),
        *("authorization", "proxy-authorization", "cookie", "set-cookie"),
        *("signature", "x-hub-signature-256", "signed_request", "body"),
    ]
)
TEXT_KEYS = frozenset({"text", "message_text", "prompt", "answer"})
NAMES = r"access_token|client_secret|app_secret|signed_request|(?:hub\.)?verify_token|refresh_token|api_key|password"
SHAPES = re.compile(
    # Instagram's tokens (IGAA…, EAA…), also behind a percent escape; an app's token `id|secret`; OpenAI's keys.
    r"(?:(?<![A-Za-z0-9])|(?<=%[0-9A-F]{2}))(?:(?:IG[A-Z]{2}|EAA)[A-Za-z0-9_-]{12,}|\d{6,}(?:\||%7C)[A-Za-z0-9_-]{12,}"
    r"|sk-[A-Za-z0-9_-]{12,})"
    # What follows a secret's name in a URL, a form, JSON or Python.
    rf"|(?i:(?<![A-Za-z])(?:{NAMES}))[\"']?(?:=|%3D|\s*:\s*)[\"']?(?P<named>[^&\s\"',}}]+)"
    # Codes and OAuth states are long and random; an error's code is a number.
    r"|(?<![A-Za-z_])(?:code|state)[\"']?(?:=|%3D|\s*:\s*)[\"']?(?P<code>[A-Za-z0-9_#.-]{16,})"
    r"|(?i:\b(?:bearer|basic|oauth)\s+)(?P<header>[A-Za-z0-9._~+/=-]{8,})"
    r"|sha256=(?P<signature>[0-9a-f]{64})"
    # A payload that Meta signed: signature, dot, base64 of a JSON object.
    r"|(?P<signed>[A-Za-z0-9_-]{43}\.eyJ[A-Za-z0-9_=-]+)"
    # A password in an address, as in redis://:…@host.
    r"|:/{1,2}[^\s/:@]*:(?P<address>[^\s/@]+)(?=@)"
)
# One of these is part of every shape; looking for them costs a tenth of looking for the shapes.
HINTS = ("IG", "EAA", "sk-", "|", "%7C", "=", ":", "%3D", "earer ", "asic ", "uth ", ".eyJ")
HEADS = ("IG", "EAA")
SHORTEST = 8  # shorter secrets are words of a test, and words would be masked all over


class Redactor:
    """A structlog processor that masks secrets, and people's words unless `text` was asked for."""

    def __init__(self, *, secrets: Iterable[str] = (), text: bool = False) -> None:
        """Know these secrets by heart, whatever they look like."""
        self.known = sorted({one for one in secrets if len(one) >= SHORTEST}, key=len, reverse=True)
        self.text = text

    def __call__(self, _logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
        """Mask a line's values."""
        for key, value in event.items():
            event[key] = self.by_key(key, value)
        return event

    def by_key(self, key: str, value: Any) -> Any:
        """Return the value of a key as it may be logged."""
        name = key.lower()
        if name in SECRET_KEYS or name.endswith(("_token", "_secret", "_password")):
            return MASK
        if name in TEXT_KEYS and not self.text:
            return f"<{len(str(value))} characters>"
        return self.masked(value)

    def masked(self, value: Any) -> Any:
        """Return the value with everything that is a secret, or looks like one, replaced."""
        if isinstance(value, str):
            return self.words(value)
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, bytes):
            return f"<{len(value)} bytes>"
        if isinstance(value, dict):
            return {str(key): self.by_key(str(key), item) for key, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.masked(item) for item in value]
        if isinstance(value, (BaseException, PurePath, date)):
            return self.words(str(value))
        # What an object says of itself may be a person's words, as a proto's does.
        return f"<{type(value).__name__}>"

    def words(self, text: str) -> str:
        """Mask what is known by heart, then what has a secret's shape."""
        for secret in self.known:
            if secret in text:
                text = text.replace(secret, MASK)
        if text.isalnum() and not text.startswith(HEADS):
            return text  # an id, nearly always
        for hint in HINTS:
            if hint in text:
                return SHAPES.sub(hidden, text)
        return text


def hidden(found: re.Match[str]) -> str:
    """Return a match with its secret replaced, and the name before it kept."""
    name = found.lastgroup
    if name is None:
        return MASK
    start, end = found.span(name)
    whole = found.group()
    return whole[: start - found.start()] + MASK + whole[end - found.start() :]
