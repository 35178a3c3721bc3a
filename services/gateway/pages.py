"""The doors that browsers and Meta's forms use: home, connect, callback, webhook set-up, deletion."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import tornado.web

from services.common.errors import BotError, NotAllowed, Unavailable
from services.common.traffic import ending_of_http
from services.gateway.connect import Departure, Return, Visitor, handle_connect, handle_oauth_callback
from services.gateway.metrics import ConnectOutcome, PageName
from services.gateway.outcomes import Page
from services.gateway.page_door import Desk, Door
from services.gateway.requests_of_meta import DEAUTHORIZE, DELETION, look_up, take_request
from services.gateway.webhook import answer_challenge

HERE = Path(__file__).parent
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
