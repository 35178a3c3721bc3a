"""The sandbox: a pretend Meta and a pretend language model in one server, for demos and tests."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import structlog
import tornado.httpserver
import tornado.web
from prometheus_client import CollectorRegistry

from services.common.life import run, stop_signal
from services.common.listening import listen
from services.common.logs import configure_logs
from services.common.metrics import CommonMetrics
from services.common.ops import Health, OpsServer
from services.common.settings import read
from services.sandbox import control_doors, graph_doors, model_door, oauth_doors, page_doors
from services.sandbox.courier import Courier
from services.sandbox.grants import Grants
from services.sandbox.keeper import Keeper
from services.sandbox.settings import Settings
from services.sandbox.stage import Stage

log = structlog.get_logger(__name__)
FILES = Path(__file__).parent / "static"
VERSION = r"/v\d+\.\d+"


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def fresh(start: str) -> str:
    """An unguessable text that begins so; letters and digits only, like Meta's."""
    return start + secrets.token_hex(24)


def make_stage(settings: Settings) -> Stage:
    """The pretend Instagram of one app."""
    secret = settings.instagram_client_secret.get_secret_value()
    grants = Grants(settings.instagram_client_id, secret, settings.redirect_uri)
    return Stage(grants, now_ms, fresh, edit_noise=settings.edit_noise)


def application(stage: Stage, settings: Settings) -> tornado.web.Application:
    """All doors."""
    on = {"stage": stage}
    gateway = urlsplit(settings.redirect_uri)
    connect = f"{gateway.scheme}://{gateway.netloc}/connect"
    return tornado.web.Application(
        [
            ("/", page_doors.Page, {**on, "connect_url": connect}),
            ("/sandbox/chat", page_doors.Chat, on),
            ("/sandbox/say", control_doors.Say, on),
            ("/sandbox/human", control_doors.Human, on),
            ("/sandbox/meet", control_doors.Meet, on),
            ("/sandbox/unsend", control_doors.Unsend, on),
            ("/sandbox/edit", control_doors.Edit, on),
            ("/sandbox/revoke", control_doors.Revoke, on),
            ("/sandbox/dashboard", control_doors.Dashboard, on),
            ("/sandbox/faults", control_doors.FaultOrder, on),
            ("/sandbox/ledger", control_doors.LedgerPage, on),
            ("/sandbox/reset", control_doors.Reset, on),
            ("/sandbox/.*", control_doors.Nowhere, on),
            ("/oauth/authorize", oauth_doors.Authorize, on),
            ("/oauth/access_token", oauth_doors.AccessToken, on),
            ("/v1/chat/completions", model_door.Completions, {**on, "delay": settings.model_delay_seconds}),
            ("/access_token", graph_doors.LongLived, on),
            ("/refresh_access_token", graph_doors.Refreshed, on),
            (f"{VERSION}/me", graph_doors.Me, on),
            (rf"{VERSION}/(?:me|\d+)/subscribed_apps", graph_doors.Subscribed, on),
            (rf"{VERSION}/(me|\d+)/messages", graph_doors.Messages, on),
            (rf"{VERSION}/(me|\d+)/conversations", graph_doors.Conversations, on),
            (rf"{VERSION}/([A-Za-z0-9_-]+)", graph_doors.Node, on),
        ],
        static_path=str(FILES),
        template_path=str(FILES),
    )


async def serve(settings: Settings) -> None:
    """Serve until told to stop."""
    stopped = stop_signal()
    stage = make_stage(settings)
    keeper = Keeper(stage, settings.folder)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        courier = Courier(
            session, settings.webhook_url, settings.signing_secret, ledger=stage.ledger, faults=stage.faults
        )
        stage.office = courier
        for delivery in keeper.load():
            courier.post(delivery)
        registry = CollectorRegistry()
        ops = OpsServer(settings.ops_address, Health(CommonMetrics(registry, []), []), registry)
        server = tornado.httpserver.HTTPServer(application(stage, settings))
        server.add_sockets(listen(settings.listen_address))
        log.warning(
            "sandbox_started",
            note="a pretend Instagram and a pretend model: never in production",
            address=str(settings.listen_address),
            webhook=list(settings.webhook_url),
        )
        await run_until(stopped, keeper, courier, settings.webhook_verify_token.get_secret_value())
        server.stop()
        ops.close()


async def run_until(stopped: asyncio.Event, keeper: Keeper, courier: Courier, verify_token: str) -> None:
    """Keep the state and greet the webhook in the background; keep once more at the end."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(keeper.run()), group.create_task(greet(courier, verify_token))]
        await stopped.wait()
        for task in tasks:
            task.cancel()
    keeper.keep()
    courier.drop_all()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)


async def greet(courier: Courier, verify_token: str) -> None:
    """Shake hands with the webhook once it answers, as when its address is set in Meta's dashboard."""
    answered = False
    while not answered:
        answered = await courier.shake_hands(verify_token)
        await asyncio.sleep(0 if answered else 2)
    courier.ledger.add("handshake")


def main() -> None:
    """Run the sandbox."""
    settings = read(Settings)
    configure_logs(settings)
    run(serve(settings))
