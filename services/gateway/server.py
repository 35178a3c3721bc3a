"""The gateway's HTTP server: Tornado's, with limits."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time

import structlog
from tornado.httpserver import HTTPServer, _HTTPRequestContext
from tornado.httputil import HTTPHeaders
from tornado.iostream import IOStream, StreamClosedError

from services.common.listening import listen
from services.common.settings import Address
from services.gateway.connection import LARGEST_HEADER, Connection
from services.gateway.door import Door

log = structlog.get_logger(__name__)

LARGEST_FORM = 64 << 10
READ_CHUNK = 16 << 10  # each read clears so much memory first; nearly all deliveries are far smaller
SWEEP_SECONDS = 1
SPARE_FILES = 128
MOST_CONNECTIONS = 20_000
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Context(_HTTPRequestContext):
    """Who sent a request; of what a proxy says of that, only the last entry of X-Forwarded-For."""

    def _apply_xheaders(self, headers: HTTPHeaders) -> None:
        """Leave out X-Real-Ip: Tornado would prefer it, and proxies pass on the one that a client made up."""
        headers.pop("X-Real-Ip", None)
        super()._apply_xheaders(headers)


class LimitedServer(HTTPServer):
    """Refuses connections beyond a number."""

    most: int
    door: Door

    def handle_stream(self, stream: IOStream, address: tuple[object, ...]) -> None:
        """Serve a connection, or answer it 503 when there are too many."""
        if len(self._connections) < self.most:
            # Tornado switches Nagle's algorithm off and on again for each answer: two system calls. Off is off.
            stream.set_nodelay(True)
            stream.set_nodelay = leave_nodelay  # type: ignore[assignment,method-assign]  # an instance is meant
            self.serve(stream, address)
            return
        with contextlib.suppress(StreamClosedError):
            stream.write(BUSY)
        stream.close()

    def serve(self, stream: IOStream, address: tuple[object, ...]) -> None:
        """Serve a connection as HTTPServer does, on a connection of ours."""
        context = Context(stream, address, self.protocol, self.trusted_downstream)
        connection = Connection(stream, self.conn_params, context, self.door)
        self._connections.add(connection)
        connection.start_serving(self)


class WebServer:
    """The listening port; `port` is the bound one."""

    def __init__(self, address: Address, door: Door, *, trust_proxy: bool, most: int = MOST_CONNECTIONS) -> None:
        """Bind and serve."""
        self.door = door
        self.server = LimitedServer(
            door,
            xheaders=trust_proxy,
            decompress_request=False,
            max_body_size=LARGEST_FORM,
            max_header_size=LARGEST_HEADER,
            chunk_size=READ_CHUNK,
        )
        self.server.door = door
        self.server.conn_params.header_timeout = None  # the door keeps the time, see `Door.sweep`
        self.server.most = min(most, open_files() - SPARE_FILES)
        sockets = listen(address, backlog=1024)
        self.server.add_sockets(sockets)
        self.port = int(sockets[0].getsockname()[1])

    async def keep_time(self) -> None:
        """Close what takes too long, for ever."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.door.sweep(time.monotonic())

    async def close(self, seconds: float) -> None:
        """Stop listening, let requests under way end, close what is idle."""
        self.server.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.door.quiet()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await self.server.close_all_connections()


def leave_nodelay(_value: bool) -> None:  # noqa: FBT001 - in IOStream.set_nodelay's place
    """Leave TCP_NODELAY as it is."""


def open_files() -> int:
    """Raise the limit of open files as far as it goes, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else max(soft, MOST_CONNECTIONS + SPARE_FILES)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
