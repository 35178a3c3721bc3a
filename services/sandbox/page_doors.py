"""The chat page: one HTML file, its state by long polling."""

from __future__ import annotations

import asyncio
import hashlib
import json

import tornado.iostream

from services.common.errors import NotFound
from services.sandbox import chat
from services.sandbox.doors import ControlDoor, Door
from services.sandbox.stage import Stage
from services.sandbox.world import DEFAULT_ACCOUNTS, DEFAULT_PERSON

WAIT_SECONDS = 20.0
LOOK_SECONDS = 0.1


class Page(Door):
    """GET /: a phone-like page to write to the business."""

    def initialize(self, stage: Stage, connect_url: str = "") -> None:
        """Keep the stage and where the account is connected."""
        super().initialize(stage)
        self.connect_url = connect_url

    def get(self) -> None:
        """Show the page."""
        self.set_header("Cache-Control", "no-store")
        self.render(
            "chat.html",
            accounts=DEFAULT_ACCOUNTS,
            account=self.get_argument("account", DEFAULT_ACCOUNTS[0].id),
            person=self.get_argument("person", DEFAULT_PERSON.id),
            connect_url=self.connect_url,
        )


class Chat(ControlDoor):
    """GET /sandbox/chat?account=A&person=P&known=H: the page's state, once it differs from what the page knows."""

    async def get(self) -> None:
        """Wait for a change, at most so long; answer the state and its fingerprint."""
        known, left = self.get_argument("known", ""), WAIT_SECONDS
        try:
            state = self.state()
            while state["fingerprint"] == known and left > 0:
                await asyncio.sleep(LOOK_SECONDS)
                left -= LOOK_SECONDS
                state = self.state()
            self.answer(state)
        except NotFound as error:
            self.answer({"error": str(error)}, error.http)
        except tornado.iostream.StreamClosedError:
            return  # the page was closed while it waited

    def state(self) -> dict[str, object]:
        """The state as it is now."""
        account = self.stage.world.account(self.get_argument("account"))
        state = chat.page(self.stage, account, self.get_argument("person"))
        fingerprint = hashlib.sha256(json.dumps(state).encode()).hexdigest()[:16]
        return {**state, "fingerprint": fingerprint}
