"""The HTTP port: `POST /webhook` at full speed, everything else through the Tornado application.

A RequestHandler costs as much as all else that a delivery needs, so deliveries pass in front of the application, on
the delegates that Tornado offers for that: https://www.tornadoweb.org/en/stable/httputil.html
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, Protocol, cast

import structlog
import tornado.web
from tornado.http1connection import HTTP1Connection
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
)

from services.common.errors import BadSignature
from services.common.request_id import HEADER, request_ids, well_formed
from services.gateway.metrics import GatewayMetrics, WebhookOutcome
from services.gateway.ports import Inbox, InboxFull
from services.gateway.webhook import handle_webhook

log = structlog.get_logger(__name__)

IDLE_SECONDS = 65  # longer than a load balancer's minute, so that it closes first
BODY_SECONDS = 10
LARGEST_BODY = 4 << 20
# A body that is too large is read and thrown away up to here, so that the sender gets to read the 413.
LARGEST_DISCARDED = 16 << 20
# Each connection's answer is one of these; making headers anew costs more than checking the signature.
ANSWERS = {
    200: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
    403: b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n",
    413: b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n",
    503: b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n",
}
OUTCOMES = {
    WebhookOutcome.KEPT: 200,
    WebhookOutcome.BAD_SIGNATURE: 403,
    WebhookOutcome.NO_SIGNATURE: 403,
    WebhookOutcome.TOO_LARGE: 413,
    WebhookOutcome.INBOX_DOWN: 503,
    WebhookOutcome.INBOX_FULL: 503,
    WebhookOutcome.OVERLOADED: 503,
}


class Clocked(Protocol):
    """What a client may not draw out."""

    due: float

    def hang_up(self) -> None:
        """End the connection."""


class Door(HTTPServerConnectionDelegate):
    """Sends deliveries one way and all other requests the other, and counts what is under way."""

    def __init__(
        self,
        application: tornado.web.Application,
        inbox: Inbox,
        secrets: Sequence[bytes],
        metrics: GatewayMetrics,
        *,
        trust_proxy: bool = False,
        most_requests: int = 1024,
        most_bytes: int = 128 << 20,
        visits: Collection[object] = (),
    ) -> None:
        """Refuse deliveries beyond `most_requests` or `most_bytes` that wait for Redis; `visits` are pages under way.

        No more than that is read at once either, but there the oldest is cut off: what Instagram sends is whole within
        milliseconds, and who begins a thousand bodies and ends none must not keep it out.
        """
        self.application = application
        self.inbox = inbox
        self.secrets = secrets
        self.metrics = metrics
        self.trust_proxy = trust_proxy
        self.new_request = request_ids()
        self.most_requests = most_requests
        self.most_bytes = most_bytes
        self.visits = visits
        self.requests = 0
        self.bytes = 0
        self.reading: dict[Clocked, int] = {}  # bodies that are not whole, the oldest first, with the bytes so far
        self.read = 0
        self.closing = False
        self.clocks: dict[object, Clocked] = {}
        self.refused: Counter[WebhookOutcome] = Counter()
        self.counters = {outcome: metrics.deliveries.labels(outcome) for outcome in WebhookOutcome}
        self.seconds = metrics.webhook_seconds
        self.by_secret = [metrics.signatures.labels(str(index)) for index in range(len(secrets))]

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Return what reads the next request of a connection."""
        fork = Fork(self, server_conn, cast("HTTP1Connection", request_conn))
        self.clocks[server_conn] = fork
        return fork

    def on_close(self, server_conn: object) -> None:
        """Forget a connection."""
        self.clocks.pop(server_conn, None)

    def sweep(self, now: float) -> None:
        """Close connections whose headers or body take too long. One look a second costs less than two timers each.

        What was refused is told here as well: strangers who try must not fill the log.
        """
        if self.refused:
            log.warning("deliveries_refused", **{str(outcome): times for outcome, times in self.refused.items()})
            self.refused.clear()
        for late in [one for one in self.clocks.values() if one.due <= now]:
            late.hang_up()

    async def quiet(self) -> None:
        """Wait until nothing is under way."""
        while self.requests or self.reading or self.visits:  # noqa: ASYNC110 - three counts, asked once in a life
            await asyncio.sleep(0.01)

    def reads(self, one: Clocked, size: int) -> None:
        """Note how much of an unfinished body has come; cut off the oldest ones when there are too many."""
        self.read += size - self.reading.get(one, 0)
        self.reading[one] = size
        while len(self.reading) > self.most_requests or self.read > self.most_bytes:
            oldest = next(iter(self.reading))
            self.has_read(oldest)
            oldest.hang_up()

    def has_read(self, one: Clocked) -> None:
        """Note that a body is whole, or will never be."""
        self.read -= self.reading.pop(one, 0)

    def begin(self, size: int) -> bool:
        """Let a whole delivery wait for Redis; False when too many do. Each that may is ended by `end`."""
        if self.requests >= self.most_requests or self.bytes >= self.most_bytes:
            return False
        self.requests += 1
        self.bytes += size
        return True

    def end(self, size: int) -> None:
        """Note that a delivery waits no more."""
        self.requests -= 1
        self.bytes -= size

    def request_id(self, given: str) -> str:
        """Return the id that follows a delivery: a trusted proxy's, or a new one."""
        return given if self.trust_proxy and well_formed(given) else self.new_request()

    def answer(self, outcome: WebhookOutcome, seconds: float) -> bytes:
        """Count an outcome and return the answer that goes with it."""
        self.counters[outcome].inc()
        if outcome is not WebhookOutcome.KEPT:
            self.refused[outcome] += 1
        self.seconds.observe(max(0.0, seconds))
        return ANSWERS[OUTCOMES[outcome]] + (b"Connection: close\r\n\r\n" if self.closing else b"\r\n")


class Fork(HTTPMessageDelegate):
    """Reads a delivery itself, and hands any other request to the application."""

    __slots__ = (
        "answered", "began", "chunks", "connection", "door", "due", "given", "server", "signature", "size", "waiting",
        "way",
    )  # fmt: skip

    def __init__(self, door: Door, server: object, connection: HTTP1Connection) -> None:
        """Wait for the headers."""
        self.door = door
        self.server = server
        self.connection = connection
        self.way: HTTPMessageDelegate | None = None
        self.due = time.monotonic() + IDLE_SECONDS
        self.chunks: list[bytes] = []
        self.size = 0
        self.signature: str | None = None
        self.given = ""
        self.answered = False
        self.waiting = False
        self.began = math.inf

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> Any:
        """Choose the way."""
        self.due = time.monotonic() + BODY_SECONDS
        line = cast("RequestStartLine", start_line)
        if line.method == "POST" and (line.path == "/webhook" or line.path.startswith("/webhook?")):
            self.begin(headers)
            return None
        self.way = self.door.application.start_request(self.server, self.connection)
        return self.way.headers_received(start_line, headers)

    def begin(self, headers: HTTPHeaders) -> None:
        """Note the signature; refuse at once what could not be read in any reasonable time."""
        self.door.reads(self, 0)
        self.signature = headers.get("X-Hub-Signature-256")
        self.given = headers.get(HEADER, "")
        # Tornado answers a body over its own limit with 400; ours is 413, so the limit is kept here.
        self.connection.set_max_body_size(1 << 62)
        length = headers.get("Content-Length", "")
        if length.isascii() and length.isdigit() and int(length[:20]) > LARGEST_DISCARDED:
            self.answer(WebhookOutcome.TOO_LARGE)

    def data_received(self, chunk: bytes) -> Any:
        """Gather the body; what is beyond the limit is only counted."""
        if self.way:
            return self.way.data_received(chunk)
        self.size += len(chunk)
        if self.size > LARGEST_DISCARDED:
            self.answer(WebhookOutcome.TOO_LARGE)
        elif self.size > LARGEST_BODY:
            self.chunks.clear()
            self.door.reads(self, 0)
        else:
            self.chunks.append(chunk)
            self.door.reads(self, self.size)
        return None

    def finish(self) -> None:
        """Verify and keep the body; the answer follows when it is safe."""
        self.due = math.inf
        if self.way:
            self.way.finish()
            return
        self.began = time.monotonic()
        self.door.has_read(self)
        if self.size > LARGEST_BODY:
            self.answer(WebhookOutcome.TOO_LARGE)
            return
        self.waiting = self.door.begin(self.size)
        if not self.waiting:
            self.answer(WebhookOutcome.OVERLOADED)
            return
        body = self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)
        try:
            door, request = self.door, self.door.request_id(self.given)
            index, kept = handle_webhook(body, self.signature or "", door.secrets, door.inbox, request)
        except BadSignature:
            self.answer(WebhookOutcome.NO_SIGNATURE if self.signature is None else WebhookOutcome.BAD_SIGNATURE)
            return
        self.door.by_secret[index].inc()
        kept.add_done_callback(self.answer_kept)

    def answer_kept(self, kept: asyncio.Future[None]) -> None:
        """Answer by what became of the body."""
        error = kept.exception()
        if error is None:
            self.answer(WebhookOutcome.KEPT)
        elif isinstance(error, InboxFull):
            self.answer(WebhookOutcome.INBOX_FULL)
        else:
            self.answer(WebhookOutcome.INBOX_DOWN)

    def answer(self, outcome: WebhookOutcome) -> None:
        """Answer with an empty body and count it, once."""
        if self.answered:
            return
        self.answered = True
        self.let_go()
        self.connection.write(self.door.answer(outcome, time.monotonic() - self.began))
        self.connection.finish()

    def on_connection_close(self) -> None:
        """Forget a request whose sender has gone."""
        if self.way:
            self.way.on_connection_close()
            return
        self.answered = True
        self.let_go()

    def hang_up(self) -> None:
        """End the connection: its sender takes too long."""
        self.connection.close()

    def let_go(self) -> None:
        """Give back what the request occupied."""
        self.door.has_read(self)
        if self.waiting:
            self.waiting = False
            self.door.end(self.size)
        self.chunks.clear()
