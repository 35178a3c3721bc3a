"""One client's connection: a plain delivery is read and answered here, any other request by Tornado's own parser.

Tornado's HTTP/1.1 costs as much as all else that a delivery needs. Nearly all deliveries have one plain shape, so that
shape alone is known here, strictly; a request that differs in anything goes to Tornado, with every byte that has come.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from typing import NamedTuple

import structlog
from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters, HTTP1ServerConnection
from tornado.httputil import HTTPServerConnectionDelegate
from tornado.iostream import IOStream, StreamClosedError, UnsatisfiableReadError

from services.common.errors import BadSignature, Unavailable
from services.common.request_id import HEADER
from services.gateway.door import BODY_SECONDS, IDLE_SECONDS, Door
from services.gateway.metrics import WebhookOutcome
from services.gateway.ports import InboxFull
from services.gateway.webhook import handle_webhook

log = structlog.get_logger(__name__)

READ_BYTES = 64 << 10
LARGEST_HEADER = 16 << 10
SIGNATURE, REQUEST_ID = b"x-hub-signature-256", HEADER.lower().encode()
HEAD = re.compile(
    rb"POST /webhook(?:\?[!-~]*)? HTTP/1\.1\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n)+)\r\n"
)
FIELD = re.compile(rb"([^:]+):([^\r]*)\r\n")
# These change how a request is read or answered. Of the rest, none matters to a delivery.
CHANGING = frozenset({b"transfer-encoding", b"expect", b"connection", b"upgrade", b"trailer", b"te"})


class Plain(NamedTuple):
    """The head of a plain delivery: where its body begins and ends, and its fields by their names in lower case."""

    begins: int
    ends: int
    fields: dict[bytes, bytes]


def plain(data: bytes) -> Plain | None:
    """Read the head of a plain delivery; None when it is not whole, or in any way another kind of request."""
    head = HEAD.match(data)
    if head is None or head.end() > LARGEST_HEADER:
        return None
    found = FIELD.findall(head[1])
    fields = {name.lower(): value.strip(b"\t ") for name, value in found}
    length = fields.get(b"content-length", b"")
    if len(fields) < len(found) or not CHANGING.isdisjoint(fields) or not length.isdigit() or len(length) > 5:
        return None
    return Plain(head.end(), head.end() + int(length), fields)


class Connection(HTTP1ServerConnection):
    """Serves the requests of one client, in their order."""

    def __init__(self, stream: IOStream, params: HTTP1ConnectionParameters, context: object, door: Door) -> None:
        """Wait for `start_serving`."""
        super().__init__(stream, params, context)
        self.door = door
        self.due = math.inf
        self.left = b""

    def hang_up(self) -> None:
        """End the connection: what it was to do took too long."""
        self.stream.close()

    async def _server_request_loop(self, delegate: HTTPServerConnectionDelegate) -> None:
        """Serve until the client leaves. The name is Tornado's: `start_serving` calls it."""
        try:
            while await self.serve(delegate):
                pass
        except (StreamClosedError, UnsatisfiableReadError, asyncio.CancelledError):
            return
        except Exception:  # what nobody foresaw ends this connection alone
            log.exception("connection_failed")
            self.stream.close()
        finally:
            delegate.on_close(self)

    async def serve(self, delegate: HTTPServerConnectionDelegate) -> bool:
        """Serve the next request; say whether there may be another."""
        self.door.clocks[self] = self
        self.due = time.monotonic() + IDLE_SECONDS
        data = self.left or await self.stream.read_bytes(READ_BYTES, partial=True)
        head = plain(data)
        if head is None:
            return await self.leave_to_tornado(data, delegate)
        self.left = await self.deliver(head, data)
        return True

    async def leave_to_tornado(self, data: bytes, delegate: HTTPServerConnectionDelegate) -> bool:
        """Have Tornado read a request anew, from its first byte."""
        self.left = b""
        give_back(self.stream, data)
        request = HTTP1Connection(self.stream, is_client=False, params=self.params, context=self.context)
        more = await request.read_response(delegate.start_request(self, request))
        await asyncio.sleep(0)
        return more and not self.stream.closed()  # Tornado would go on with what it has already read

    async def deliver(self, head: Plain, data: bytes) -> bytes:
        """Read the rest of a delivery and answer it; return what came after it."""
        if head.ends > len(data):
            data += await self.rest(head, len(data))
        self.due, began = math.inf, time.monotonic()
        body = data[head.begins : head.ends]
        if self.door.begin(len(body)):
            try:
                outcome = await self.take_in(body, head.fields)
            finally:
                self.door.end(len(body))
        else:
            outcome = WebhookOutcome.OVERLOADED
        self.due = time.monotonic() + IDLE_SECONDS
        await self.stream.write(self.door.answer(outcome, self.due - IDLE_SECONDS - began))
        if outcome is not WebhookOutcome.KEPT:
            await asyncio.sleep(0)  # it waited for nobody, and many may lie in the buffer
        return data[head.ends :]

    async def rest(self, head: Plain, come: int) -> bytes:
        """Return what is missing of a body of which so many bytes, with its head, have come."""
        self.due = time.monotonic() + BODY_SECONDS
        self.door.reads(self, head.ends - head.begins)
        try:
            return await self.stream.read_bytes(head.ends - come)
        finally:
            self.door.has_read(self)

    async def take_in(self, body: bytes, fields: dict[bytes, bytes]) -> WebhookOutcome:
        """Verify and keep a body."""
        door, signature = self.door, fields.get(SIGNATURE)
        try:
            request = door.request_id(fields.get(REQUEST_ID, b"").decode("latin-1"))
            given = (signature or b"").decode("latin-1")
            index, kept = handle_webhook(body, given, door.secrets, door.inbox, request)
            door.by_secret[index].inc()
            await kept
        except BadSignature:
            return WebhookOutcome.NO_SIGNATURE if signature is None else WebhookOutcome.BAD_SIGNATURE
        except InboxFull:
            return WebhookOutcome.INBOX_FULL
        except Unavailable:
            return WebhookOutcome.INBOX_DOWN
        return WebhookOutcome.KEPT


def give_back(stream: IOStream, data: bytes) -> None:
    """Put bytes back in front of what a stream has to give; Tornado has no public word for that."""
    stream._read_buffer[:0] = data  # noqa: SLF001
    stream._read_buffer_size += len(data)  # noqa: SLF001
