"""What the sandbox's HTTP doors share: JSON out, faults in between, refusals in Meta's shape."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import tornado.web

from services.common.errors import BadPayload, BotError
from services.sandbox import refusals
from services.sandbox.deliveries import dumped
from services.sandbox.faults import Fault
from services.sandbox.stage import Stage


class Door(tornado.web.RequestHandler):
    """A door onto the stage."""

    def initialize(self, stage: Stage) -> None:
        """Keep the stage."""
        self.stage = stage

    def data_received(self, chunk: bytes) -> None:
        """Nothing is streamed in."""

    def json_body(self) -> dict[str, Any]:
        """The body as a JSON object; raise BadPayload."""
        try:
            body = json.loads(self.request.body or b"{}")
        except ValueError as error:
            raise BadPayload("the body is not JSON") from error
        if not isinstance(body, dict):
            raise BadPayload("the body is not a JSON object")
        return body

    def form(self) -> dict[str, str]:
        """Query and form fields, each once."""
        return {name: self.get_argument(name) for name in self.request.arguments}

    def answer(self, body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Answer as Meta prints JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        for name, value in (headers or {}).items():
            self.set_header(name, value)
        self.finish(dumped(body))


class FaultyDoor(Door):
    """A door of the pretend Meta or model, where things go wrong when somebody asked for it."""

    target = "graph"

    def about(self) -> str:
        """What a fault's `match` is looked for in; texts in JSON as people write them, without escapes."""
        if not self.stage.faults.waiting:
            return ""  # nobody will look
        body = self.request.body.decode("utf-8", "replace")
        with contextlib.suppress(ValueError):
            body = json.dumps(json.loads(body), ensure_ascii=False)
        return f"{self.request.method} {self.request.uri} {self.account_of_caller()} {body}"

    def account_of_caller(self) -> str:
        """The account whose token came with the call, empty when none did."""
        token = self.stage.grants.tokens.get(self.token())
        return token.account if token else ""

    def token(self) -> str:
        """The token of the call: from the header, or from the query."""
        header = self.request.headers.get("Authorization", "")
        return header.removeprefix("Bearer ") if header.startswith("Bearer ") else self.get_argument("access_token", "")

    async def act(self, work: Callable[[], object]) -> None:
        """Do the work and answer it, unless a fault comes between; refusals become Meta's error bodies."""
        fault = self.stage.faults.take(self.target, self.about())
        if fault is not None:
            self.stage.ledger.add("fault", target=self.target, fault=fault.kind, about=self.request.path)
        try:
            body = work() if fault is None or fault.after else None
        except refusals.Declined as refusal:
            self.answer(refusal.body, refusal.status, refusal.headers)
            return
        if fault is None:
            await self.succeed(body)
        else:
            await self.fail(fault)

    async def succeed(self, body: object) -> None:
        """Answer with the work's result."""
        self.answer(body, headers=self.usage())

    def usage(self) -> dict[str, str]:
        """Headers of a success."""
        account = self.account_of_caller()
        return {"instagram-api-version": "v25.0", **(refusals.usage_headers(account) if account else {})}

    async def fail(self, fault: Fault) -> None:
        """Answer with the fault, late, or not at all."""
        if fault.kind == "timeout":
            await asyncio.sleep(fault.seconds)
        if fault.kind in {"timeout", "reset"}:
            self.request.connection.stream.close()  # type: ignore[union-attr] # HTTP/1 is what the sandbox speaks
            return
        refusal = self.refusal(fault)
        self.answer(refusal.body, refusal.status, refusal.headers)

    def refusal(self, fault: Fault) -> refusals.Declined:
        """The error answer that a fault stands for."""
        if fault.kind == "limit":
            return refusals.limited(self.account_of_caller() or "0", minutes=1)
        if fault.kind == "dead_token":
            return refusals.token_dead()
        return refusals.graph(fault.status, fault.code, "An unexpected error has occurred.", fault.subcode)


class ControlDoor(Door):
    """A door of the control interface: errors are one line of JSON."""

    def do(self, work: Callable[[], object]) -> None:
        """Answer with the work's result, or with what is wrong."""
        try:
            self.answer(work())
        except BotError as error:
            self.answer({"error": str(error)}, error.http)

    def write_error(self, status_code: int, **_kwargs: object) -> None:
        """Answer what tornado refuses by itself, such as the wrong method, in the same shape."""
        self.answer({"error": HTTPStatus(status_code).phrase}, status_code)
