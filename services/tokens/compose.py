"""Composition of the token service: the only file here that reads settings, opens connections and picks adapters."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from random import SystemRandom

import structlog
from prometheus_client import CollectorRegistry

from services.common import graph, life
from services.common.database_url import SqliteFolder
from services.common.errors import Unavailable
from services.common.logs import configure_logs
from services.common.metrics import CommonMetrics, Dependency
from services.common.ops import Health, OpsServer
from services.common.pb import tokens_pb2, tokens_pb2_grpc
from services.common.rpc import RpcServer, show_expiry, tls_files
from services.common.settings import read
from services.common.traffic import Target, Traffic
from services.common.unfinished import Unfinished
from services.tokens.alerts import NoAlerts, WebAlerts
from services.tokens.instagram import App, GraphInstagram
from services.tokens.keyring import Keyring
from services.tokens.metrics import DEPENDENCIES, TokensMetrics
from services.tokens.mongo_accounts import MongoAccounts
from services.tokens.ports import Alerts, Ports
from services.tokens.servicer import ALLOWED, METHODS, TokensServicer
from services.tokens.settings import Settings
from services.tokens.sqlite_accounts import SqliteAccounts
from services.tokens.sweep import Sweep

log = structlog.get_logger(__name__)

GRAPH_SECONDS = 10.0
OPEN_PAUSE = 1.0


class SystemClock:
    """The port Clock of this machine."""

    def now(self) -> datetime:
        """Return the time of day, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


def main() -> None:
    """Run `igbot tokens`."""
    settings = read(Settings)
    configure_logs(settings)
    life.run(serve(settings))


async def serve(settings: Settings) -> None:
    """Serve until a signal, then finish what was begun."""
    stopped = life.stop_signal()
    registry = CollectorRegistry()
    common, metrics = declare(registry)
    health = Health(common, [Dependency.DATABASE, Dependency.KEYRING])
    health.listen(metrics.calls)
    async with AsyncExitStack() as stack:
        ops = OpsServer(settings.ops_address, health, registry)
        stack.callback(ops.close)
        store = open_store(settings)
        stack.push_async_callback(store.close)
        session = await stack.enter_async_context(graph.session(settings.graph_url))
        keyring = Keyring(settings.token_keys_dir)
        client = graph.GraphClient(session, settings.graph_url, GRAPH_SECONDS, metrics.calls.timed)
        ports = make_ports(settings, store, keyring, client)
        alerts = await make_alerts(settings, stack, metrics.calls)
        unfinished = Unfinished()
        servicer = TokensServicer(ports, keyring, metrics, settings.redirect_uri, unfinished)
        server = await start_server(settings, servicer, health.metrics, metrics.rpcs)
        sweep = Sweep(ports, alerts, unfinished, gauges=(metrics, health), seconds=settings.sweep_seconds)
        tasks = [asyncio.ensure_future(run_sweeps(store, sweep, keyring, health))]
        log.info("tokens_started", address=str(settings.listen_address), port=server.port)
        try:
            await until(stopped, tasks)
        finally:
            health.stopping = True
            await drain(server, tasks, unfinished, settings.drain_seconds)


def declare(registry: CollectorRegistry) -> tuple[CommonMetrics, TokensMetrics]:
    """Declare every metric of the service; docs/metrics.md is made from this."""
    return CommonMetrics(registry, DEPENDENCIES), TokensMetrics(registry, methods=METHODS)


def open_store(settings: Settings) -> SqliteAccounts | MongoAccounts:
    """Pick the adapter; nothing is opened yet."""
    url = settings.database_url
    return SqliteAccounts(url.path) if isinstance(url, SqliteFolder) else MongoAccounts(url)


def make_ports(
    settings: Settings, store: SqliteAccounts | MongoAccounts, keyring: Keyring, client: graph.GraphClient
) -> Ports:
    """Put the adapters in one hand."""
    app = App(
        settings.instagram_client_id,
        settings.instagram_client_secret,
        settings.instagram_token_url,
        settings.graph_version,
    )
    instagram = GraphInstagram(client, app)
    return Ports(store, store, keyring, instagram, instagram, SystemClock(), SystemRandom())


async def make_alerts(settings: Settings, stack: AsyncExitStack, calls: Traffic) -> Alerts:
    """Pick who is told of changes."""
    if settings.account_alert_url is None or settings.alert_secret is None:
        return NoAlerts()
    session = await stack.enter_async_context(graph.session(settings.account_alert_url))
    watch = partial(calls.timed, Target.ALERT_URL)
    return WebAlerts(session, settings.account_alert_url, settings.alert_secret, settings.connect_url, watch)


async def start_server(
    settings: Settings, servicer: TokensServicer, metrics: CommonMetrics, rpcs: Traffic
) -> RpcServer:
    """Serve the RPCs at once: until the store is open they answer UNAVAILABLE."""
    tls = tls_files(settings.grpc_tls_dir)
    show_expiry(metrics, tls)
    server = RpcServer(settings.listen_address, tls, ALLOWED, rpcs)
    tokens_pb2_grpc.add_TokensServicer_to_server(servicer, server.server)  # type: ignore[no-untyped-call]  # generated
    if tls is None and not settings.listen_address.is_loopback:
        log.warning("tokens_are_lent_without_tls", address=str(settings.listen_address))
    await server.start(tokens_pb2.DESCRIPTOR.services_by_name["Tokens"].full_name)
    return server


async def run_sweeps(store: SqliteAccounts | MongoAccounts, sweep: Sweep, keyring: Keyring, health: Health) -> None:
    """Open the store, however long that takes, then keep accounts alive."""
    while True:
        try:
            await store.open()
            break
        except Unavailable as error:
            log.warning("database_unavailable", why=str(error))
            health.report(Dependency.DATABASE, up=False, why=str(error))
        await asyncio.sleep(OPEN_PAUSE)
    life.settle_memory()
    tasks = sweep.tasks(keyring)
    try:
        await asyncio.gather(*tasks)
    finally:
        await life.cancel(tasks)


async def until(stopped: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    """Return on a signal; raise what ended a task, for it should not have ended."""
    signal = asyncio.ensure_future(stopped.wait())
    done, _ = await asyncio.wait([signal, *tasks], return_when=asyncio.FIRST_COMPLETED)
    signal.cancel()
    for task in done - {signal}:
        task.result()


async def drain(server: RpcServer, tasks: list[asyncio.Task[None]], unfinished: Unfinished, seconds: float) -> None:
    """Begin nothing more, and let the calls and what outlives their callers end, in one span of seconds for all."""
    ends = time.monotonic() + seconds
    await life.cancel(tasks)
    await server.stop(seconds)
    await unfinished.finish(max(0.0, ends - time.monotonic()))
    if unfinished.tasks:
        log.warning("work_cut_off", tasks=len(unfinished.tasks), advice="DRAIN_SECONDS is too short for it")
