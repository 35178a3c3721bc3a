"""Composition of the responder: the only file here that reads settings, opens connections and picks adapters."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import time
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from importlib import resources

import structlog
from aiolimiter import AsyncLimiter
from prometheus_client import CollectorRegistry

from services.common import graph, life
from services.common.database_url import SqliteFolder
from services.common.errors import Unavailable
from services.common.graph_errors import LIMITS
from services.common.logs import configure_logs
from services.common.metrics import CommonMetrics, Dependency
from services.common.ops import Health, OpsServer
from services.common.pb import responder_pb2_grpc as rpc
from services.common.rpc import Channel, RpcServer, show_expiry, tls_files
from services.common.settings import read
from services.common.signed_notes import SignedNotes
from services.common.traffic import Target, Traffic
from services.responder.book import AccountBook
from services.responder.compose_reply import Composer
from services.responder.deliver import Deliver
from services.responder.examine import Examiner
from services.responder.faults import Faults, HeededInstagram
from services.responder.gaps import Gaps
from services.responder.graph_instagram import GraphInstagram
from services.responder.handover import Handovers
from services.responder.loops import Alarm, Claimer, every
from services.responder.metrics import DEPENDENCIES, ResponderMetrics
from services.responder.mongo_store import MongoStore
from services.responder.openai_writer import OpenAIWriter, openai_client
from services.responder.people import People
from services.responder.ports import Store
from services.responder.post import Poster
from services.responder.rpc_tokens import RpcTokens
from services.responder.servicer import ALLOWED, METHODS, ConversationsServicer, ResponderServicer
from services.responder.settings import Settings
from services.responder.sqlite_store import SqliteStore
from services.responder.times import DAY, Times
from services.responder.upkeep import Upkeep
from services.responder.work import Worker

log = structlog.get_logger(__name__)

GRAPH_TIMEOUT = 10.0
OPEN_AGAIN = 0.5
MIRROR_EVERY, GAUGES_EVERY, PING_EVERY, GAPS_EVERY, RETENTION_EVERY = 30.0, 5.0, 2.0, 60.0, 3600.0


def main() -> None:
    """Run `igbot responder`."""
    settings = read(Settings)
    configure_logs(settings)
    life.run(serve(settings))


@dataclass(frozen=True)
class Parts:
    """What the responder is made of."""

    deliver: Deliver
    people: People
    gaps: Gaps
    claimer: Claimer
    upkeep: Upkeep
    examiner: Examiner
    handovers: Handovers


async def serve(settings: Settings) -> None:
    """Serve until a signal; then release what is not being sent, finish what is."""
    stopped = life.stop_signal()
    registry = CollectorRegistry()
    common, metrics = declare(registry)
    health = Health(common, [Dependency.DATABASE])
    health.listen(metrics.calls)
    async with AsyncExitStack() as stack:
        ops = OpsServer(settings.ops_address, health, registry)
        stack.callback(ops.close)
        store = make_store(settings)
        parts = await make_parts(settings, store, metrics, health, stopped, stack)
        stack.push_async_callback(store.close)  # after the server, which answers until it is stopped
        tls = tls_files(settings.grpc_tls_dir)
        show_expiry(health.metrics, tls)
        server = RpcServer(settings.listen_address, tls, ALLOWED, metrics.rpcs)
        rpc.add_ResponderServicer_to_server(ResponderServicer(parts.deliver), server.server)  # type: ignore[no-untyped-call]  # generated
        conversations = ConversationsServicer(parts.people, parts.gaps, store.clock.now, parts.examiner)
        rpc.add_ConversationsServicer_to_server(conversations, server.server)  # type: ignore[no-untyped-call]  # generated
        await server.start("igbot.responder.v1.Responder", "igbot.responder.v1.Conversations")
        stack.push_async_callback(server.stop, min(1.0, settings.drain_seconds))
        if await opened(store, stopped, health):
            life.settle_memory()
            await run_loops(settings, parts, stopped, health)
        health.stopping = True


def declare(registry: CollectorRegistry) -> tuple[CommonMetrics, ResponderMetrics]:
    """Declare every metric of the service; docs/metrics.md is made from this."""
    return CommonMetrics(registry, DEPENDENCIES), ResponderMetrics(registry, methods=METHODS)


def make_store(settings: Settings) -> Store:
    """Pick the store that DATABASE_URL names."""
    where = settings.database_url
    if isinstance(where, SqliteFolder):
        return SqliteStore(where.path / "responder.db")
    return MongoStore(where.address.get_secret_value(), settings.workers + 8)


async def make_parts(
    settings: Settings,
    store: Store,
    metrics: ResponderMetrics,
    health: Health,
    stopped: asyncio.Event,
    stack: AsyncExitStack,
) -> Parts:
    """Put the use cases together."""
    times = Times().divided(settings.igbot_test_time_divisor) if settings.igbot_test_time_divisor != 1 else Times()
    calls = metrics.calls
    channel = Channel(settings.tokens_address, tls_files(settings.grpc_tls_dir), partial(calls.timed, Target.TOKENS))
    stack.push_async_callback(channel.close)
    session = await stack.enter_async_context(graph.session(settings.graph_url))
    tokens = RpcTokens(channel, time.monotonic)
    base = f"{settings.graph_url}/{settings.graph_version}"
    book = AccountBook(store.accounts, tokens, store.clock, times)
    instagram = GraphInstagram(graph.GraphClient(session, base, GRAPH_TIMEOUT, calls.timed), heard=book.heard)
    reading = HeededInstagram(instagram, Faults(book, tokens, times))
    client = openai_client(settings.openai_api_key.get_secret_value(), settings.openai_base_url)
    stack.push_async_callback(client.close)
    writer = OpenAIWriter(client, settings.openai_model, settings.model_timeout_seconds, settings.model_stream, metrics)
    alarm = Alarm(store.clock.now)
    composer = Composer(
        store, book, reading, writer, settings.policy, system_prompt(settings), new_id, settings.gap_check
    )
    poster = Poster(
        store,
        book,
        tokens,
        instagram,
        metrics,
        settings.policy,
        times,
        Pace(settings.sends_per_second).wait,
        time.monotonic,
        killer(settings.igbot_test_kill_at),
        random.random,
    )
    lease_ms = int(settings.lease_seconds * 1000)
    handovers = Handovers(await make_notes(settings, stack, calls), metrics, store.clock.now, store.conversations)
    worker = Worker(
        store,
        book,
        tokens,
        reading,
        composer,
        poster,
        metrics,
        settings.policy,
        times,
        lease_ms,
        random.random,
        stopped,
        handovers.tell,
    )
    owner = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    claimer = Claimer(store, book, worker, alarm, owner, lease_ms, settings.workers, stopped)
    deliver = Deliver(
        store, book, settings.policy, alarm.wake, skipped=lambda why: metrics.skips.labels(why).inc(), times=times
    )
    people = People(store, book, settings.policy, times, alarm.wake, new_id)
    unhurried = HeededInstagram(instagram.unhurried(), reading.faults, spared=LIMITS)
    gaps = Gaps(store, book, tokens, unhurried, deliver, metrics, settings.policy)
    upkeep = Upkeep(store, book, metrics, health, settings.retention_days * DAY)
    examiner = Examiner(store, writer, lambda: handovers.suspected)
    return Parts(deliver, people, gaps, claimer, upkeep, examiner, handovers)


async def make_notes(settings: Settings, stack: AsyncExitStack, calls: Traffic) -> SignedNotes | None:
    """Pick who is told of conversations that need a person, if anybody wants to be."""
    if settings.handover_url is None or settings.alert_secret is None:
        return None
    session = await stack.enter_async_context(graph.session(settings.handover_url))
    watch = partial(calls.timed, Target.HANDOVER_URL)
    return SignedNotes(session, settings.handover_url, settings.alert_secret, "HANDOVER_URL", watch)


async def opened(store: Store, stopped: asyncio.Event, health: Health) -> bool:
    """Open the store, again and again until it works; False when told to stop first."""
    while not stopped.is_set():
        try:
            await store.open()
        except Unavailable as error:
            health.report(Dependency.DATABASE, up=False, why=str(error))
            log.warning("store_not_open", error=str(error))
            try:
                async with asyncio.timeout(OPEN_AGAIN):
                    await stopped.wait()
            except TimeoutError:
                continue
        else:
            health.report(Dependency.DATABASE, up=True)
            return True
    return False


async def run_loops(settings: Settings, parts: Parts, stopped: asyncio.Event, health: Health) -> None:
    """Run everything that runs by itself until the signal, and then let the workers finish."""
    rounds = [
        every(MIRROR_EVERY, parts.upkeep.mirror, stopped, name="mirror"),
        every(GAUGES_EVERY, parts.upkeep.gauges, stopped, name="gauges"),
        every(PING_EVERY, parts.upkeep.ping, stopped, name="ping"),
        every(RETENTION_EVERY, parts.upkeep.retention, stopped, name="retention"),
    ]
    if settings.gap_check:
        rounds.append(every(GAPS_EVERY, lambda: parts.upkeep.gaps(parts.gaps), stopped, name="gaps"))
    tasks = [asyncio.create_task(one) for one in rounds]
    claiming = asyncio.create_task(parts.claimer.run())
    told = asyncio.create_task(stopped.wait())
    await asyncio.wait({told, claiming, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    health.stopping = True
    stopped.set()  # a loop that ends by itself takes the process with it: one without it would only look alive
    log.info("stopping", conversations=len(parts.claimer.running))
    await asyncio.wait({claiming}, timeout=settings.drain_seconds)
    loops = (claiming, *tasks)
    await life.cancel((*loops, *parts.claimer.running))
    await parts.handovers.close()  # the store closes next
    for task in loops:
        if not task.cancelled():
            task.result()


def system_prompt(settings: Settings) -> str:
    """Return the owner's instructions to the model, or the bundled ones."""
    if settings.system_prompt_file:
        return settings.system_prompt_file.read_text()
    return resources.files("services.responder").joinpath("system_prompt.txt").read_text()


def new_id() -> str:
    """Return an id that nobody has."""
    return uuid.uuid4().hex


class Pace:
    """Lets each account send so many messages a second."""

    def __init__(self, per_second: int) -> None:
        """Set the pace of every account."""
        self.per_second = per_second
        self.limiters: dict[str, AsyncLimiter] = {}

    async def wait(self, account: str) -> None:
        """Wait for the account's turn."""
        if account not in self.limiters:
            self.limiters[account] = AsyncLimiter(self.per_second, 1)
        await self.limiters[account].acquire()


def killer(step: str) -> Callable[[str], None]:
    """Return what is called at each named step of a send; tests name one at which the process dies."""

    def reached(name: str) -> None:
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return reached
