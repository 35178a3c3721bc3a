"""POST /v1/chat/completions: the pretend language model, streamed when asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from services.common.errors import BadPayload
from services.sandbox import answers, refusals
from services.sandbox.doors import FaultyDoor
from services.sandbox.faults import Fault
from services.sandbox.stage import Stage


class Completions(FaultyDoor):
    """Answers at once or after thinking, whole or word by word."""

    target = "model"

    def initialize(self, stage: Stage, delay: float = 0) -> None:
        """Keep the stage and how many seconds an answer takes."""
        super().initialize(stage)
        self.delay = delay

    async def post(self) -> None:
        """Answer the newest user message."""
        try:
            asked = self.json_body()
            messages = asked["messages"]
        except (BadPayload, KeyError):
            self.answer(_error("messages is required", "invalid_request_error"), 400)
            return
        self.model, self.streamed = str(asked.get("model", "")), asked.get("stream") is True
        if self.delay:
            await asyncio.sleep(self.delay)
        await self.act(self.thought(messages))

    def thought(self, messages: list[dict[str, object]]) -> Callable[[], object]:
        """What the model does with these messages."""
        return lambda: self.stage.prompt(list(messages))

    async def succeed(self, body: object) -> None:
        """Answer with the text, in OpenAI's shape."""
        now, number = self.stage.clock(), len(self.stage.ledger.entries)
        if not self.streamed:
            self.answer(answers.completion(self.model, str(body), now, number))
            return
        self.set_header("Content-Type", "text/event-stream")
        for chunk in answers.chunks(self.model, str(body), now, number):
            self.write(f"data: {json.dumps(chunk)}\n\n")
            await self.flush()
        await self.finish("data: [DONE]\n\n")

    def usage(self) -> dict[str, str]:
        """No limits here."""
        return {}

    def account_of_caller(self) -> str:
        """The key names no account."""
        return ""

    def refusal(self, fault: Fault) -> refusals.Declined:
        """Errors in OpenAI's shape."""
        status = 429 if fault.kind == "limit" else 401 if fault.kind == "dead_token" else fault.status
        return refusals.Declined(status, _error("The pretend model fails as it was told to", "server_error"))


def _error(message: str, kind: str) -> dict[str, object]:
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}
