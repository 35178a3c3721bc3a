"""What every page of ours has: what its use case is given, its headers, errors as pages, and a count."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import structlog
import tornado.web
from structlog.contextvars import bind_contextvars, clear_contextvars

from services.common.errors import BotError
from services.common.request_id import HEADER, request_ids, well_formed
from services.common.traffic import ending_of_http
from services.gateway.connect import App
from services.gateway.metrics import GatewayMetrics, PageName
from services.gateway.outcomes import Ending, Page
from services.gateway.ports import Doorkeeper, States, Tasks, Tokens
from services.gateway.times import Times

log = structlog.get_logger(__name__)
new_request = request_ids()

CSP = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"


@dataclass(frozen=True, slots=True)
class Desk:
    """What the doors hand to the use cases."""

    app: App
    public_url: str
    trust_proxy: bool
    verify_token: bytes
    secrets: tuple[bytes, ...]
    doorkeeper: Doorkeeper
    states: States
    tasks: Tasks
    tokens: Tokens
    metrics: GatewayMetrics
    times: Times
    visits: set[object] = field(default_factory=set)  # pages under way

    @property
    def cookie(self) -> str:
        """The name of the cookie that binds a state to its browser."""
        return "__Host-igbot_state" if self.secure else "igbot_state"

    @property
    def secure(self) -> bool:
        """Whether browsers reach this gateway by https."""
        return self.public_url.startswith("https://")


class Door(tornado.web.RequestHandler):
    """Headers that every page carries, errors as pages, and a count of both."""

    def initialize(self, desk: Desk, page: PageName) -> None:
        """Keep what the use cases need, and by which name requests are counted."""
        self.desk, self.page = desk, page

    def prepare(self) -> None:
        """Begin the lines, and the calls, of this request with its id."""
        self.desk.visits.add(self)
        given = self.request.headers.get(HEADER, "") if self.desk.trust_proxy else ""
        clear_contextvars()
        bind_contextvars(request=given if well_formed(given) else new_request())

    def on_finish(self) -> None:
        """Log and count what was served; never the address, which holds codes and states."""
        self.desk.visits.discard(self)
        status, took = self.get_status(), self.request.request_time()
        self.desk.metrics.pages.note(self.page, ending_of_http(status), took)
        log.info("page_served", door=self.page, method=self.request.method, status=status, ms=round(took * 1000, 1))

    def set_default_headers(self) -> None:
        """Nothing is stored, framed, sniffed, or told to other sites."""
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Security-Policy", CSP)
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("X-Content-Type-Options", "nosniff")

    def show(self, ending: Ending) -> None:
        """Show a page."""
        self.set_status(ending.status)
        again = f"{self.desk.public_url}/connect"
        self.render("page.html", ending=ending, page=ending.page.value, again=again)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Show an error without a word of what went wrong inside."""
        error = kwargs["exc_info"][1] if "exc_info" in kwargs else None
        if isinstance(error, BotError):
            status_code = error.http
        if status_code == 503:
            self.set_header("Retry-After", "5")
            self.show(Ending(Page.UNAVAILABLE))
            return
        self.set_status(status_code)
        self.render("page.html", ending=Ending(Page.NOT_FOUND), page=f"status_{status_code}", again="")

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log our own errors in one line; others with their traceback, never with the address."""
        if isinstance(value, BotError):
            log.warning("request_failed", door=self.page, error=f"{typ.__name__}: {value}")
        elif not isinstance(value, tornado.web.HTTPError):
            log.error("request_crashed", door=self.page, exc_info=(typ, value, tb))
