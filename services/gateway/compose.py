"""Puts the gateway together: the only place that opens connections and reads settings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from services.common import life
from services.common.logs import configure_logs
from services.common.metrics import CommonMetrics, Dependency
from services.common.ops import Health, OpsServer
from services.common.rpc import Channel, show_expiry, tls_files
from services.common.settings import read
from services.common.traffic import Target
from services.gateway import redis_clients
from services.gateway.connect import App
from services.gateway.dispatcher import Dispatcher
from services.gateway.door import Door
from services.gateway.events import Nothing, Reason
from services.gateway.gaps import Gaps
from services.gateway.grpc_responder import GrpcResponder
from services.gateway.grpc_tokens import GrpcTokens
from services.gateway.metrics import DEPENDENCIES, GatewayMetrics
from services.gateway.monitor import Monitor
from services.gateway.page_door import Desk
from services.gateway.pages import application
from services.gateway.redis_dead import RedisDeadLetters
from services.gateway.redis_inbox import RedisInbox
from services.gateway.redis_lease import RedisLease
from services.gateway.redis_oauth import RedisDoorkeeper, RedisStates
from services.gateway.redis_question import RedisQuestion
from services.gateway.redis_stream import RedisStream
from services.gateway.redis_tasks import RedisTasks
from services.gateway.requests_of_meta import Clerk
from services.gateway.server import WebServer
from services.gateway.settings import Settings
from services.gateway.tidy import Tidy
from services.gateway.times import Times

log = structlog.get_logger(__name__)

FOR_THE_REST = 4.0  # seconds of a drain to flush the inbox, end the calls under way and give the lease up

# Load balancers learn from /readyz that we go; until then they still send requests.
NOTICE_SECONDS = 3.0


def main() -> None:
    """Run the gateway until it is told to stop."""
    settings = read(Settings)
    configure_logs(settings)
    life.run(serve(settings))


def now_ms() -> int:
    """Return the time as the inbox keeps it."""
    return time.time_ns() // 1_000_000


async def serve(settings: Settings, times: Times | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    stopped = life.stop_signal()
    gateway = Gateway(settings, times or Times())
    gateway.start()
    log.info("gateway_started", port=gateway.web.port, ops_port=gateway.ops.port, public_url=settings.public_url)
    life.settle_memory()
    told = asyncio.create_task(stopped.wait())
    ended, _ = await asyncio.wait([told, *gateway.tasks], return_when=asyncio.FIRST_COMPLETED)
    log.info("gateway_stopping")
    await gateway.stop()
    log.info("gateway_stopped")
    if told not in ended:
        crashed(ended)


def declare(registry: CollectorRegistry, *, secrets: int = 1) -> tuple[CommonMetrics, GatewayMetrics]:
    """Declare every metric of the service, for so many app secrets; docs/metrics.md is made from this."""
    return CommonMetrics(registry, DEPENDENCIES), GatewayMetrics(
        registry, secrets=secrets, ignored=Nothing, dead=Reason
    )


@dataclass(slots=True)
class Redises:
    """The clients of one Redis, each for one use, so that none waits for another."""

    oauth: Redis
    watch: Redis
    work: Redis


class Gateway:
    """All parts of one gateway process."""

    def __init__(self, settings: Settings, times: Times) -> None:
        """Make the parts and bind the ports; nothing runs yet."""
        self.settings = settings
        self.times = times
        self.registry = CollectorRegistry()
        common, self.metrics = declare(self.registry, secrets=len(settings.secrets))
        self.health = Health(common, [Dependency.REDIS])
        self.health.listen(self.metrics.calls)
        self.ops = OpsServer(settings.ops_address, self.health, self.registry)
        tls = tls_files(settings.grpc_tls_dir)
        show_expiry(self.health.metrics, tls)
        timed = self.metrics.calls.timed
        self.channels = [
            Channel(settings.tokens_address, tls, partial(timed, Target.TOKENS)),
            Channel(settings.responder_address, tls, partial(timed, Target.RESPONDER)),
        ]
        tokens = GrpcTokens(self.channels[0], settings.redirect_uri, times.connect)
        responder = GrpcResponder(self.channels[1], times.deliver, times.gaps)
        self.connect_redis()
        prefix = settings.redis_prefix
        self.gaps = Gaps(responder, RedisQuestion(self.redis.work, prefix), self.metrics, times)
        dead = RedisDeadLetters(self.redis.work, prefix)
        self.dispatcher = Dispatcher(
            stream=RedisStream(self.wires[1], self.wires[2], prefix, times.answer),
            dead=dead,
            lease=RedisLease(self.redis.watch, prefix, times.lease),
            responder=responder,
            gaps=self.gaps,
            metrics=self.metrics,
            health=self.health,
            times=times,
        )
        self.dispatcher.give_way(self.inbox.quiet)
        tasks = RedisTasks(self.redis.oauth, prefix, times, now_ms)
        tenure = self.dispatcher.tenure
        self.clerk = Clerk(tasks, tokens, responder, dead, tenure, times)
        self.tidy = Tidy(dead, tenure, settings.dead_letter_days, times)
        clients = (self.redis.watch, self.redis.work, self.redis.oauth)
        self.monitor = Monitor(clients, prefix, self.inbox, self.gaps, self.metrics, self.health, times, now_ms)
        proxy = settings.trust_proxy
        desk = self.desk(tasks, tokens)
        inbox, secrets = self.inbox, settings.secrets
        door = Door(application(desk), inbox, secrets, self.metrics, trust_proxy=proxy, visits=desk.visits)
        self.web = WebServer(settings.listen_address, door, trust_proxy=proxy)
        self.tasks: list[asyncio.Task[None]] = []

    def connect_redis(self) -> None:
        """Make the clients and the inbox; they connect when they are used."""
        url, times = self.settings.redis_url.get_secret_value(), self.times
        self.redis = Redises(
            oauth=redis_clients.client(url, times.answer, 16),
            watch=redis_clients.client(url, times.answer / 2, 2),
            work=redis_clients.client(url, times.answer, 2),
        )
        self.wires = [redis_clients.wire(url) for _ in range(3)]
        self.inbox = RedisInbox(self.wires[0], f"{self.settings.redis_prefix}inbox", times, now_ms)

    def desk(self, tasks: RedisTasks, tokens: GrpcTokens) -> Desk:
        """Return what the pages need."""
        settings = self.settings
        word = settings.operator_password
        return Desk(
            app=App(
                settings.instagram_client_id,
                settings.redirect_uri,
                settings.instagram_authorize_url,
                word.get_secret_value().encode() if word else None,
                open=settings.connect_open,
            ),
            public_url=settings.public_url.rstrip("/"),
            trust_proxy=settings.trust_proxy,
            verify_token=settings.webhook_verify_token.get_secret_value().encode(),
            secrets=settings.secrets,
            doorkeeper=RedisDoorkeeper(self.redis.oauth, settings.redis_prefix, self.times),
            states=RedisStates(self.redis.oauth, settings.redis_prefix, self.times),
            tasks=tasks,
            tokens=tokens,
            metrics=self.metrics,
            times=self.times,
        )

    def start(self) -> None:
        """Begin to serve and to dispatch."""
        self.inbox.start()
        live = self.dispatcher.live
        parts = (live(self.monitor.run), self.dispatcher.run(), live(self.clerk.run), live(self.tidy.run))
        self.sweeper = asyncio.create_task(self.web.keep_time())
        self.tasks = [asyncio.create_task(part) for part in parts]

    async def stop(self) -> None:
        """Drain: not ready, wait, stop listening, finish requests, flush, give the lease up."""
        began = time.monotonic()
        budget = self.settings.drain_seconds
        self.health.stopping = True
        self.web.door.closing = True  # each answer now asks its connection to go elsewhere
        await asyncio.sleep(min(NOTICE_SECONDS, budget / 5))
        # An owner's callback may wait for the token service, and the code in it is good once: it gets most of the time.
        await self.web.close(max(budget / 3, budget - FOR_THE_REST - (time.monotonic() - began)))
        await self.inbox.close()
        self.dispatcher.stop()
        self.monitor.stop()
        left = max(0.5, budget - 1 - (time.monotonic() - began))
        _, late = await asyncio.wait(self.tasks, timeout=left)
        for task in late:  # its call takes longer: what it was to deliver stays in the inbox, and the lease is given up
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=1.0)
        self.sweeper.cancel()
        self.ops.close()
        for channel in self.channels:
            await channel.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):  # a page whose call that ended still writes down what came of it
                await self.web.door.quiet()
        for client in (self.redis.oauth, self.redis.watch, self.redis.work):
            await client.aclose(close_connection_pool=True)
        for wire in self.wires:
            await wire.disconnect()


def crashed(ended: Iterable[asyncio.Task[Any]]) -> None:
    """End the process: half a gateway would look healthy and not do its work."""
    for task in ended:
        log.critical("gateway_crashed", exc_info=task.exception())
    raise SystemExit(1)
