"""Meta over HTTP, as the token service calls it: the fake of the other tests behind real requests and real shapes."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from aiohttp import web

from services.common.graph_errors import GraphFailure
from tests.tokens.fakes import FakeClock, FakeMeta


class WallClock(FakeClock):
    """The real time of day."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class MetaServer:
    """One address for OAuth and Graph; `meta` is its memory, `seen` each request's method and path."""

    def __init__(self) -> None:
        self.meta = FakeMeta(WallClock())
        self.seen: list[str] = []
        self.redirect_uris: list[str] = []
        self.alerts: list[tuple[str, bytes]] = []
        self.url = ""

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self.errors])
        app.router.add_post("/oauth/access_token", self.exchange)
        app.router.add_get("/access_token", self.lengthen)
        app.router.add_get("/refresh_access_token", self.refresh)
        app.router.add_get("/v25.0/me", self.me)
        app.router.add_get("/v25.0/me/conversations", self.conversations)
        app.router.add_route("*", "/v25.0/me/subscribed_apps", self.subscribed_apps)
        app.router.add_post("/alerts", self.alert)
        return app

    @web.middleware
    async def errors(self, request, handler):
        self.seen.append(f"{request.method} {request.path}")
        try:
            return await handler(request)
        except GraphFailure as failure:
            return failed(failure)

    async def exchange(self, request):
        form = await request.post()
        self.redirect_uris.append(str(form["redirect_uri"]))
        assert form["grant_type"] == "authorization_code"
        try:
            grant = await self.meta.exchange(str(form["code"]), str(form["redirect_uri"]))
        except GraphFailure:
            shape = {"error_type": "OAuthException", "code": 400, "error_message": "Matching code was not found"}
            return web.json_response(shape, status=400)
        body = {
            "access_token": grant.text,
            "user_id": int(grant.app_scoped_id),
            "permissions": list(grant.scopes or ()),
        }
        return web.json_response(body)

    async def lengthen(self, request):
        assert request.query["grant_type"] == "ig_exchange_token"
        return token(await self.meta.lengthen(request.query["access_token"]))

    async def refresh(self, request):
        assert request.query["grant_type"] == "ig_refresh_token"
        return token(await self.meta.refresh(request.query["access_token"]))

    async def me(self, request):
        assert "user_id" in request.query["fields"]
        found = await self.meta.profile(request.query["access_token"])
        return web.json_response({"user_id": found.account, "id": found.app_scoped_id, "username": found.username})

    async def conversations(self, request):
        await self.meta.look_at_messages(request.query["access_token"])
        return web.json_response({"data": []})

    async def subscribed_apps(self, request):
        text = request.query["access_token"]
        if request.method == "POST":
            await self.meta.subscribe(text, request.query["subscribed_fields"].split(","))
            return web.json_response({"success": True})
        if request.method == "DELETE":
            await self.meta.unsubscribe(text)
            return web.json_response({"success": True})
        fields = await self.meta.subscribed(text)
        return web.json_response({"data": [{"id": "900000000000001", "subscribed_fields": fields}] if fields else []})

    async def alert(self, request):
        self.alerts.append((request.headers["X-Igbot-Signature-256"], await request.read()))
        return web.Response(status=200)


def token(fresh):
    """A token answer."""
    return web.json_response({"access_token": fresh.text, "token_type": "bearer", "expires_in": int(fresh.lives)})


def failed(failure: GraphFailure) -> web.Response:
    """An error answer in Graph's shape."""
    error = failure.error
    assert error is not None
    body = {"message": "(fixture)", "type": error.type or "IGApiException", "code": error.code}
    if error.subcode:
        body["error_subcode"] = error.subcode
    if error.session_key:
        body["message"] = "Session key invalid."
    return web.Response(status=error.status, text=json.dumps({"error": body}), content_type="application/json")


@asynccontextmanager
async def meta_server() -> AsyncIterator[MetaServer]:
    """Serve on a free loopback port."""
    server = MetaServer()
    runner = web.AppRunner(server.app())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()
