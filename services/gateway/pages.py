"""The doors that browsers and Meta's forms use: home, connect, callback, webhook set-up, deletion."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import structlog
import tornado.web
from structlog.contextvars import bind_contextvars, clear_contextvars

from services.common.errors import BotError, NotAllowed, Unavailable
from services.common.request_id import HEADER, request_ids, well_formed
from services.common.traffic import ending_of_http
from services.gateway.connect import App, Departure, Return, Visitor, handle_connect, handle_oauth_callback
from services.gateway.metrics import ConnectOutcome, GatewayMetrics, PageName
from services.gateway.outcomes import Ending, Page
from services.gateway.ports import Doorkeeper, States, Tasks, Tokens
from services.gateway.requests_of_meta import DEAUTHORIZE, DELETION, look_up, take_request
from services.gateway.times import Times
from services.gateway.webhook import answer_challenge

log = structlog.get_logger(__name__)
new_request = request_ids()

HERE = Path(__file__).parent
CSP = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
# Programs that fetch a link to show a preview of it; an invitation must survive being sent in a chat.
PREVIEWS = re.compile(r"bot|facebookexternalhit|whatsapp|telegram|slack|preview|skype|viber|discord", re.IGNORECASE)
COUNTED = {
    Page.CONNECTED: ConnectOutcome.CONNECTED,
    Page.DECLINED: ConnectOutcome.DECLINED,
    Page.MISSING_SCOPES: ConnectOutcome.MISSING_SCOPES,
    Page.UPSTREAM: ConnectOutcome.UPSTREAM,
    Page.UNFINISHED: ConnectOutcome.UPSTREAM,
    Page.BAD_STATE: ConnectOutcome.BAD_STATE,
}


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


class Home(Door):
    """`GET /`: what this is."""

    def get(self) -> None:
        """Show the button."""
        self.render("home.html")


class Connect(Door):
    """`GET /connect`."""

    async def get(self) -> None:
        """Send a visitor who may connect an account to Instagram."""
        invite = self.get_query_argument("invite", "")
        if self.elsewhere():
            return
        if invite and PREVIEWS.search(self.request.headers.get("User-Agent", "")):
            self.render("home.html")
            return
        browser = self.get_cookie(self.desk.cookie, "") or ""
        visitor = Visitor(str(self.request.remote_ip), browser, self.password(), invite)
        went = await handle_connect(visitor, self.desk.app, self.desk.doorkeeper, self.desk.states)
        if isinstance(went, Departure):
            self.depart(went)
            return
        if went.page is Page.PASSWORD:
            self.set_header("WWW-Authenticate", 'Basic realm="igbot", charset="UTF-8"')
        if went.page is Page.LOCKED_OUT:
            self.set_header("Retry-After", "60")
        self.show(went)

    def elsewhere(self) -> bool:
        """Send a browser that came by another name to PUBLIC_URL's host, once: the cookie must live there."""
        host = urlsplit(self.desk.public_url).netloc
        said = self.request.headers.get("X-Forwarded-Host") if self.desk.trust_proxy else None
        if (said or self.request.host) == host or self.get_query_argument("here", ""):
            return False
        query = "&".join(filter(None, (self.request.query, "here=1")))
        self.redirect(f"{self.desk.public_url}/connect?{query}")
        return True

    def password(self) -> bytes | None:
        """Return the password of HTTP Basic; any user name will do."""
        scheme, _, word = self.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            return base64.b64decode(word.strip(), validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return None

    def depart(self, departure: Departure) -> None:
        """Set the cookie and go. An invitation is the browser's until it ends, so its cookie lives as long."""
        self.set_cookie(
            self.desk.cookie,
            departure.browser,
            path="/",
            httponly=True,
            secure=self.desk.secure,
            samesite="Lax",
            max_age=int(max(self.desk.times.state, departure.invited_seconds)),
        )
        self.redirect(departure.url)


class Callback(Door):
    """`GET /oauth/callback`."""

    async def get(self) -> None:
        """Show what the owner's return came to."""
        desk = self.desk
        word = self.get_query_argument
        browser = self.get_cookie(desk.cookie, "") or ""
        back = Return(browser, word("state", "").removesuffix("#_"), word("code", ""), word("error", ""))
        ending = await handle_oauth_callback(back, desk.states, desk.doorkeeper, desk.tokens, desk.times)
        desk.metrics.connects.labels(COUNTED.get(ending.page, ConnectOutcome.REFUSED)).inc()
        self.show(ending)


class WebhookSetUp(Door):
    """`GET /webhook`: Meta's handshake. The POST never comes here."""

    def get(self) -> None:
        """Answer the challenge as plain text: as a page it would be script in our name."""
        word = self.get_query_argument
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        try:
            given = word("hub.verify_token", "").encode()
            self.write(answer_challenge(word("hub.mode", ""), given, self.desk.verify_token, word("hub.challenge", "")))
        except NotAllowed:
            self.set_status(403)


class Deauthorize(Door):
    """`POST /deauthorize`."""

    async def post(self) -> None:
        """Keep the request."""
        await take_request(DEAUTHORIZE, self.get_argument("signed_request", ""), self.desk.secrets, self.desk.tasks)
        self.write({"success": True})

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer a program in its own words."""
        error = kwargs["exc_info"][1] if "exc_info" in kwargs else None
        self.set_status(error.http if isinstance(error, BotError) else status_code)
        if isinstance(error, Unavailable):
            self.set_header("Retry-After", "5")
        self.finish({"error": type(error).__name__ if isinstance(error, BotError) else "BadRequest"})


class DataDeletion(Deauthorize):
    """`POST /data-deletion`."""

    async def post(self) -> None:
        """Keep the request and say where its status can be seen, in exactly the shape that Meta wants."""
        word = self.get_argument("signed_request", "")
        code = await take_request(DELETION, word, self.desk.secrets, self.desk.tasks)
        self.write({"url": f"{self.desk.public_url}/data-deletion/{code}", "confirmation_code": code})


class DeletionState(Door):
    """`GET /data-deletion/{code}`."""

    async def get(self, code: str) -> None:
        """Show how far a deletion is."""
        status = await look_up(code, self.desk.tasks)
        if status is None:
            raise tornado.web.HTTPError(404)
        asked, done = when(status.at_ms), when(status.done_at_ms)
        self.render("deletion.html", code=code, status=status, asked=asked, finished=done)


class Style(Door):
    """`GET /style.css`: the only thing that a page may load."""

    sheet = (HERE / "templates" / "style.css").read_text()

    def get(self) -> None:
        """Answer the style sheet."""
        self.set_header("Content-Type", "text/css; charset=utf-8")
        self.set_header("Cache-Control", "public, max-age=3600")
        self.write(self.sheet)


class Nowhere(Door):
    """Any other address."""

    def prepare(self) -> None:
        """Answer 404."""
        raise tornado.web.HTTPError(404)

    def on_finish(self) -> None:
        """Count it and log nothing: strangers who look for doors must not fill the log."""
        self.desk.metrics.pages.note(self.page, ending_of_http(self.get_status()), self.request.request_time())


def when(at_ms: int) -> str:
    """Return a moment for people."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%d %B %Y, %H:%M UTC") if at_ms else ""


def application(desk: Desk) -> tornado.web.Application:
    """Return everything but `POST /webhook`."""
    routes: list[tuple[str, Any, PageName]] = [
        ("/", Home, PageName.HOME),
        ("/connect", Connect, PageName.CONNECT),
        ("/oauth/callback", Callback, PageName.CALLBACK),
        ("/webhook", WebhookSetUp, PageName.WEBHOOK_SET_UP),
        ("/deauthorize", Deauthorize, PageName.DEAUTHORIZE),
        ("/data-deletion", DataDeletion, PageName.DATA_DELETION),
        ("/data-deletion/([A-Za-z0-9_-]{1,64})", DeletionState, PageName.DELETION_STATE),
        ("/style.css", Style, PageName.STYLE),
    ]
    return tornado.web.Application(
        [(path, handler, {"desk": desk, "page": page}) for path, handler, page in routes],
        default_handler_class=Nowhere,
        default_handler_args={"desk": desk, "page": PageName.NOWHERE},
        template_path=str(HERE / "templates"),
        autoescape="xhtml_escape",
        log_function=cast("Any", lambda _handler: None),  # the access log prints query strings: codes and states
    )
