"""No secret, and nothing that a person wrote, is in what the suite's processes print: the worlds use canaries.

Looked through are the output of every test, of the children that inherit it, and every log file below the tests'
folders. One hit, and the run is red at its end. Commands that show texts to an operator write into pipes of the tests.
"""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from services.common.redact import Redactor

SECRET = "canary-app-secret"  # part of every app secret, password, verify token and key of a test world
WORDS = "canary words"  # part of what customers of a test world write
CANARIES = re.compile(
    r"(?i:canary)"
    r"|IGAA[A-Za-z0-9_-]{8}"  # every token that a test world hands out begins like Instagram's
    r"|\bsk-[A-Za-z0-9_-]{12}|(?i:bearer) [A-Za-z0-9]|sha256=[0-9a-f]{64}|(?:signed_request|client_secret)=\w"
    r"|\b(?:Question|question) \d{6}"  # the customers of the storms
)
LOGS = re.compile(r"(?:.*\.)?log(?:\.\d+)?|stderr|stdout")
SHOWN = 60


class Watch:
    """What was found so far."""

    def __init__(self) -> None:
        self.hits: dict[str, None] = {}  # a test's teardown shows once more what its call printed

    def look(self, text: str, where: str) -> None:
        """Remember the first canary of a text, a little of what stands before it, and none of the secret."""
        found = CANARIES.search(text)
        if found:
            before = text[max(0, found.start() - SHOWN) : found.start()].rpartition("\n")[2]
            self.hits[f"{where}: {before}{found.group()[:4]}…"] = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Look through what a test printed."""
        for title, text in report.sections:
            self.look(text, f"{report.nodeid} ({title})")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Look through the log files, and end red on a hit."""
        for path in log_files(session.config):
            self.look(path.read_text(errors="replace"), str(path))
        if self.hits:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say where."""
        for hit in self.hits:
            terminalreporter.write_line(f"A canary was printed: {hit}", red=True)


def log_files(config: pytest.Config) -> Iterator[Path]:
    """Every log below the folders of this run's tests, those of the workers of xdist included."""
    factory = getattr(config, "_tmp_path_factory", None)  # there is no public way to ask where the folders are
    base = factory.getbasetemp() if factory else None
    for path in sorted(base.rglob("*")) if base else ():
        if LOGS.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            yield path


def pytest_configure(config: pytest.Config) -> None:
    """Print in tests as services do, and watch it in the process that sees all reports."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            Redactor(secrets=[SECRET]),
            structlog.processors.JSONRenderer(),
        ]
    )
    logging.getLogger("tornado.access").setLevel(logging.CRITICAL)  # as in every service: it prints query strings
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Watch(), "canary-watch")
