"""gRPC as all three services speak it: one server factory, one channel.

Messages up to 16 MiB, a deadline on every call, health, round robin over a headless Service's addresses, connections
that age so that new pods get calls, and mutual TLS from GRPC_TLS_DIR, whose files may change while we run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar

import grpc
import grpc.aio
import structlog
from cryptography import x509
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from services.common.errors import Unavailable
from services.common.metrics import CommonMetrics
from services.common.rpc_guard import Guard, Identities
from services.common.settings import Address
from services.common.traffic import Traffic, Watch

log = structlog.get_logger(__name__)

CLEARING_SECONDS = 1.0
"""What a cancelled call has to put things in order."""
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
MESSAGE_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
]
SERVER_OPTIONS = [
    *MESSAGE_OPTIONS,
    # Two processes on one port must be an error, not a coin toss.
    ("grpc.so_reuseport", 0),
    ("grpc.max_connection_age_ms", 300_000),
    ("grpc.max_connection_age_grace_ms", 30_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
]
CHANNEL_OPTIONS = [
    *MESSAGE_OPTIONS,
    ("grpc.lb_policy_name", "round_robin"),
    # The defaults wait up to two minutes before a restarted service is called again.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.enable_retries", 0),
]


class TlsFiles:
    """The three files of GRPC_TLS_DIR, read again when one of them changes. Servers and channels may share one."""

    def __init__(self, folder: Path) -> None:
        """Read them now: a missing file is an error at start."""
        self.folder = folder
        self.paths = [folder / name for name in ("tls.key", "tls.crt", "ca.crt")]
        self.stamp: tuple[int, ...] = ()
        self.pems: tuple[bytes, bytes, bytes] = (b"", b"", b"")
        self._read()

    def newest(self) -> tuple[int, ...]:
        """Read the files again if any is newer, keep what we have if that fails now; return which ones we have."""
        try:
            self._read()
        except OSError as error:
            log.warning("certificates_unreadable", folder=str(self.folder), why=error.strerror)
        return self.stamp

    def _read(self) -> None:
        stamp = tuple(path.stat().st_mtime_ns for path in self.paths)
        if stamp != self.stamp:
            key, certificate, authority = (path.read_bytes() for path in self.paths)
            self.pems, self.stamp = (key, certificate, authority), stamp

    def seconds_left(self, now: float) -> float:
        """Return how long, from `now` on (seconds since 1970), the certificate and its authority are good."""
        self.newest()
        own, *_ = x509.load_pem_x509_certificates(self.pems[1])
        authorities = x509.load_pem_x509_certificates(self.pems[2])
        ends = min(own.not_valid_after_utc, max(one.not_valid_after_utc for one in authorities))
        return ends.timestamp() - now

    def server_credentials(self) -> grpc.ServerCredentials:
        """Make credentials that ask for the files at each handshake."""
        given = [self.newest()]

        def current() -> grpc.ServerCertificateConfiguration:
            key, certificate, authority = self.pems
            return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=authority)

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            before, given[0] = given[0], self.newest()
            return current() if given[0] != before else None

        return grpc.dynamic_ssl_server_credentials(
            current(),
            fetch,  # type: ignore[arg-type]  # None means unchanged: grpc documents it, its stubs do not
            require_client_authentication=True,
        )

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Make credentials from the files as they are now."""
        key, certificate, authority = self.pems
        return grpc.ssl_channel_credentials(authority, key, certificate)


def tls_files(folder: Path | None) -> TlsFiles | None:
    """Return the TLS files of a folder, None when TLS is off."""
    return TlsFiles(folder) if folder else None


def show_expiry(metrics: CommonMetrics, files: TlsFiles | None) -> None:
    """Let the metric tell at each scrape how long the certificates are good; without TLS it stays as it is."""
    if files is not None:
        metrics.certificate_expiry.set_function(lambda: files.seconds_left(time.time()))


class RpcServer:
    """A gRPC server with health; `port` is the bound one."""

    def __init__(
        self,
        address: Address,
        tls: TlsFiles | None = None,
        allowed: Identities | None = None,
        traffic: Traffic | None = None,
    ) -> None:
        """Bind the port; a port in use is an OSError that names it."""
        self.guard = Guard(allowed, tls=tls is not None, traffic=traffic)
        self.server = grpc.aio.server(interceptors=[self.guard], options=SERVER_OPTIONS)
        self.health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self.server)
        try:
            if tls:
                self.port = self.server.add_secure_port(str(address), tls.server_credentials())
            else:
                self.port = self.server.add_insecure_port(str(address))
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: the port is in use or the address is not ours") from error

    async def start(self, *services: str) -> None:
        """Serve, and report each named service and the whole as serving."""
        await self.server.start()
        for name in ("", *services):
            await self.health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, grace: float) -> None:
        """Report not serving, take no new calls, give the running ones `grace` seconds and one more to clear up.

        To grpc a call that was cancelled has ended, but its method may still be putting things in order, and needs the
        store for that, which its owner closes next.
        """
        await self.health.enter_graceful_shutdown()
        await self.server.stop(grace)
        if not await self.guard.ended(CLEARING_SECONDS):
            log.warning("calls_did_not_end", within_seconds=CLEARING_SECONDS)


Stub = TypeVar("Stub")


class Channel:
    """A channel to one service that survives new certificates: grpc cannot reload a client's, so it is made anew."""

    def __init__(self, address: Address | str, tls: TlsFiles | None = None, watch: Watch = nullcontext) -> None:
        """Connect lazily; nothing is called yet. `watch` is what each call is made in, so that it is counted."""
        self.address = str(address)
        self.tls = tls
        self.watch = watch
        self.made: grpc.aio.Channel | None = None
        self.stamp: tuple[int, ...] = ()
        self.retired: list[grpc.aio.Channel] = []

    def channel(self) -> grpc.aio.Channel:
        """Return the channel, a new one when the certificates changed."""
        stamp = self.tls.newest() if self.tls else ()
        if self.made is None or stamp != self.stamp:
            self.stamp = stamp
            if self.made is not None:
                self.retired.append(self.made)  # its calls may still run; closed with the rest
            self.made = self._make()
        return self.made

    def stub(self, make: Callable[[grpc.aio.Channel], Stub]) -> Stub:
        """Return a stub of the given generated class on today's channel."""
        return make(self.channel())

    @contextmanager
    def call(self) -> Iterator[None]:
        """Make one call in this; Unavailable when the channel is closed under it.

        grpc raises CancelledError then, which would end its caller as if that had been cancelled.
        """
        try:
            with self.watch():
                yield
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise Unavailable("the call was given up, since this process stops") from None

    async def close(self) -> None:
        """Close every channel that was made; calls that still run are Unavailable."""
        for channel in [*self.retired, *([self.made] if self.made else [])]:
            await channel.close()

    def _make(self) -> grpc.aio.Channel:
        if self.tls:
            return grpc.aio.secure_channel(self.address, self.tls.channel_credentials(), options=CHANNEL_OPTIONS)
        return grpc.aio.insecure_channel(self.address, options=CHANNEL_OPTIONS)
