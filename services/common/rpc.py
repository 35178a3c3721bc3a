"""gRPC as all three services speak it: one server factory, one channel, one place that turns errors into codes.

Messages up to 16 MiB, a deadline on every call, health, round robin over a headless Service's addresses, connections
that age so that new pods get calls, and mutual TLS from GRPC_TLS_DIR, whose files may change while we run.
"""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio
import structlog
from cryptography import x509
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from services.common.errors import BotError, NotAllowed
from services.common.metrics import CommonMetrics
from services.common.rpc_log import followed
from services.common.settings import Address
from services.common.traffic import Ending, Traffic, Watch, counted

log = structlog.get_logger(__name__)

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

Identities = Mapping[str, frozenset[str]]
"""Method name (`GetToken`) to the identities that may call it; a method that is not named is open to all of ours."""

OURS = frozenset({"gateway", "tokens", "responder", "operator"})


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


def identity(context: grpc.aio.ServicerContext[Any, Any]) -> str | None:
    """Return the caller's first SAN DNS label, None when the connection is not authenticated."""
    for name in context.auth_context().get("x509_subject_alternative_name", []):
        return str(name.decode(errors="replace").split(".")[0])
    return None


def guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a servicer's method so that our errors become their status and nothing else leaks.

    The server's interceptor and the tests' adapter to grpcio-testing, which runs no interceptors, both use it.
    """
    if inspect.isasyncgenfunction(method):
        return _guarded_stream(method)

    @functools.wraps(method)
    async def unary(request: Any, context: Any) -> Any:
        try:
            return await method(request, context)
        except BotError as error:
            await context.abort(error.rpc, str(error))

    return unary


def _guarded_stream(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            async for message in method(request, context):
                yield message
        except BotError as error:
            await context.abort(error.rpc, str(error))

    return stream


class Guard(grpc.aio.ServerInterceptor):
    """Checks who calls, and turns our errors into their status."""

    def __init__(self, allowed: Identities | None, *, tls: bool, traffic: Traffic | None = None) -> None:
        """Without TLS nobody can be told apart, so everybody may call; calls are counted in `traffic`."""
        self.allowed = allowed or {}
        self.tls = tls
        self.traffic = traffic
        self.made: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the method that is about to be called, once: its later calls find it wrapped."""
        name = str(details.method)
        if name not in self.made:
            handler = await continuation(details)
            if handler is None:
                return None
            self.made[name] = self._wrapped(name, handler)
        return self.made[name]

    def _wrapped(self, name: str, handler: Any) -> grpc.RpcMethodHandler[Any, Any]:
        method = name.rpartition("/")[2]
        kind = "unary_stream" if handler.response_streaming else "unary_unary"
        inner = getattr(handler, kind)
        if inner is None or name.startswith("/grpc.health."):
            return handler  # type: ignore[no-any-return]  # grpc's handlers are untyped tuples
        stream = handler.response_streaming
        inner = self._checked(method, guarded(counted(self.traffic, method, inner)), stream=stream)
        checked = followed(method, inner, stream=stream)
        return handler._replace(**{kind: checked})  # type: ignore[no-any-return]

    def _checked(self, method: str, inner: Callable[..., Any], *, stream: bool) -> Callable[..., Any]:
        if not self.tls:
            return inner
        allowed = self.allowed.get(method, OURS)

        async def unary(request: Any, context: Any) -> Any:
            await self._require(context, method, allowed)
            return await inner(request, context)

        async def streamed(request: Any, context: Any) -> AsyncIterator[Any]:
            await self._require(context, method, allowed)
            async for message in inner(request, context):
                yield message

        return streamed if stream else unary

    async def _require(self, context: grpc.aio.ServicerContext[Any, Any], method: str, allowed: frozenset[str]) -> None:
        caller = identity(context)
        if caller not in allowed:
            log.warning("rpc_refused", method=method, caller=caller)
            if self.traffic is not None:
                self.traffic.note(method, Ending.REFUSED, 0)
            await context.abort(NotAllowed.rpc, f"{caller or 'an unnamed caller'} may not call {method}")


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
        guard = Guard(allowed, tls=tls is not None, traffic=traffic)
        self.server = grpc.aio.server(interceptors=[guard], options=SERVER_OPTIONS)
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
        """Report not serving, take no new calls, give the running ones `grace` seconds."""
        await self.health.enter_graceful_shutdown()
        await self.server.stop(grace)


Stub = TypeVar("Stub")


class Channel:
    """A channel to one service that survives new certificates: grpc cannot reload a client's, so it is made anew."""

    def __init__(self, address: Address | str, tls: TlsFiles | None = None, watch: Watch = nullcontext) -> None:
        """Connect lazily; nothing is called yet. Callers make their calls in a `watch`."""
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

    async def close(self) -> None:
        """Close every channel that was made."""
        for channel in [*self.retired, *([self.made] if self.made else [])]:
            await channel.close()

    def _make(self) -> grpc.aio.Channel:
        if self.tls:
            return grpc.aio.secure_channel(self.address, self.tls.channel_credentials(), options=CHANNEL_OPTIONS)
        return grpc.aio.insecure_channel(self.address, options=CHANNEL_OPTIONS)
