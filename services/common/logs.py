"""One log for everything: structlog and the libraries' records, one JSON object (or coloured line) each, on stdout.

Secrets and people's words are taken out on the way, at every level, tracebacks included.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

SECRET_KEYS = frozenset(
    [
        "token",
        "access_token",
        "short_token",
        "long_token",
        "code",
        "state",
        "authorization",
        "client_secret",
        "app_secret",
        "secret",
        "password",
        "signed_request",
        "signature",
        "api_key",
        "body",
        "cookie",
    ]
)
TEXT_KEYS = frozenset({"text", "message_text", "prompt", "answer"})
# Instagram's tokens (IGAA…, EAA…), OpenAI's keys, and whatever follows a secret's name in a URL, form or header.
SECRET_SHAPES = re.compile(
    r"\b(?:IG[A-Z]{2}|EAA)[A-Za-z0-9_-]{12,}"
    r"|\bsk-[A-Za-z0-9_-]{12,}"
    r"|(?<=Bearer )[A-Za-z0-9._~+/=-]+"
    r"|(?<=access_token=)[^&\s\"']+"
    r"|(?<=client_secret=)[^&\s\"']+"
    r"|(?<=signed_request=)[^&\s\"']+"
    r"|(?<=[?&]code=)[^&\s\"']+"
    r"|(?<=[?&]state=)[^&\s\"']+",
)
MASK = "***"


def masked(value: Any) -> Any:
    """Return the value with everything that looks like a secret replaced."""
    if isinstance(value, str):
        return SECRET_SHAPES.sub(MASK, value)
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, dict):
        return {key: MASK if str(key).lower() in SECRET_KEYS else masked(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [masked(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return SECRET_SHAPES.sub(MASK, str(value))


def redactor(*, text: bool) -> Processor:
    """Make the processor that masks secrets, and people's words unless `text` was asked for."""

    def redact(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
        for key, value in event.items():
            if key.lower() in SECRET_KEYS:
                event[key] = MASK
            elif key.lower() in TEXT_KEYS and not text:
                event[key] = f"<{len(str(value))} characters>"
            else:
                event[key] = masked(value)
        return event

    return redact


def configure_logs(level: str = "info", log_format: str | None = None, *, text: bool = False) -> None:
    """Send every record of the process to stdout; JSON unless stdout is a terminal."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redactor(text=text),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                renderer(log_format),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    quieten_libraries()


def renderer(log_format: str | None) -> Processor:
    """Return JSON for machines, colours for a person at a terminal."""
    if log_format == "console" or (log_format is None and sys.stdout.isatty()):
        return structlog.dev.ConsoleRenderer()
    return structlog.processors.JSONRenderer()


def quieten_libraries() -> None:
    """Keep libraries from logging what they were given: URLs with tokens, request bodies, command arguments."""
    for name in (
        "aiohttp",
        "httpx",
        "httpx2",
        "httpcore",
        "openai",
        "pymongo",
        "motor",
        "redis",
        "asyncio",
        "grpc",
        "tornado",
    ):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Tornado's access log prints query strings; the doors write their own line.
    logging.getLogger("tornado.access").setLevel(logging.CRITICAL)
