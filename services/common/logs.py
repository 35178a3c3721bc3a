"""One log for everything: structlog and the libraries' records, one JSON object (or coloured line) each, on stdout.

Secrets and people's words are taken out on the way, at every level, tracebacks included.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from types import TracebackType

import structlog
from pydantic import SecretStr
from structlog.typing import Processor, WrappedLogger

from services.common.redact import Redactor
from services.common.settings import ServiceSettings


class Line:
    """Writes finished lines to stdout; it has the name that `add_logger_name` asks for."""

    def __init__(self, name: str = "") -> None:
        """Carry a logger's name."""
        self.name = name

    def msg(self, line: str) -> None:
        """Write a line. A full disk or a reader that is gone must not stop a reply half-way."""
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    debug = info = warning = error = critical = exception = msg


def configure_logs(settings: ServiceSettings) -> None:
    """Send every record of the process to stdout; JSON unless stdout is a terminal.

    Our own lines go straight there: the standard library's records cost twice as much as all else in a line. Libraries
    are heard from `warning` on, whatever LOG_LEVEL says: at debug they tell URLs with tokens, bodies and arguments.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        Redactor(secrets=secrets_of(settings), text=settings.log_text),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last = renderer(settings.log_format)
    structlog.configure(
        processors=[*shared, last],
        logger_factory=Line,
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    # Tornado's access log prints query strings; the doors write their own line.
    logging.getLogger("tornado.access").setLevel(logging.CRITICAL)
    logging.captureWarnings(capture=True)
    sys.excepthook = crashed


def secrets_of(settings: ServiceSettings) -> list[str]:
    """Return every secret that the settings hold: known by heart, they are masked wherever they turn up."""
    values = [getattr(settings, name) for name in type(settings).model_fields]
    ones = [one for value in values for one in (value if isinstance(value, tuple) else (value,))]
    return [one.get_secret_value() for one in ones if isinstance(one, SecretStr)]


def crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Log what ends the process: Python would print it past the redactor."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    log: WrappedLogger = structlog.get_logger(__name__)
    log.critical("crashed", exc_info=(kind, error, trace))


def renderer(log_format: str | None) -> Processor:
    """Return JSON for machines, colours for a person at a terminal."""
    if log_format == "console" or (log_format is None and sys.stdout.isatty()):
        return structlog.dev.ConsoleRenderer()
    return structlog.processors.JSONRenderer()
