"""graph.instagram.com: tokens, the account, subscriptions, sends, conversations."""

from __future__ import annotations

from typing import Any

from services.common.errors import BadPayload
from services.sandbox import reading, refusals
from services.sandbox.doors import FaultyDoor
from services.sandbox.world import Message


class GraphDoor(FaultyDoor):
    """A Graph call; a method that it does not have is Meta's error, not Tornado's."""

    def write_error(self, status_code: int, **_kwargs: Any) -> None:
        """Say what is wrong in Meta's shape."""
        refusal = refusals.wrong_method(str(self.request.method))
        if status_code != 405:
            refusal = refusals.graph(500, 2500, f"Unknown path components: {self.request.path}")
        self.answer(refusal.body, refusal.status)

    def my_account(self) -> str:
        """The professional id of the caller's account; refuse a bad token."""
        return self.stage.grants.living(self.token(), self.stage.clock()).account

    def my_messages(self) -> str:
        """The same, when the owner allowed messages."""
        return self.stage.grants.messaging(self.token(), self.stage.clock()).account


class LongLived(GraphDoor):
    """GET /access_token: a short-lived token becomes a long-lived one."""

    async def get(self) -> None:
        """Answer with the token and its seconds to live."""
        await self.act(self.exchange)

    def exchange(self) -> dict[str, object]:
        """Trade it."""
        fresh, now = self.stage.fresh("IGAASandboxLong"), self.stage.clock()
        token = self.stage.grants.lengthen(self.form(), fresh, now)
        self.stage.ledger.add("oauth", step="long_lived", account=token.account)
        return {"access_token": fresh, "token_type": "bearer", "expires_in": (token.ends_at - now) // 1000}


class Refreshed(GraphDoor):
    """GET /refresh_access_token: a long-lived token is renewed."""

    async def get(self) -> None:
        """Answer with the next token and its seconds to live."""
        await self.act(self.refresh)

    def refresh(self) -> dict[str, object]:
        """Trade it."""
        fresh, now = self.stage.fresh("IGAASandboxLong"), self.stage.clock()
        token = self.stage.grants.refresh(self.form(), fresh, now)
        self.stage.ledger.add("oauth", step="refresh", account=token.account)
        return {"access_token": fresh, "token_type": "bearer", "expires_in": (token.ends_at - now) // 1000}


class Me(GraphDoor):
    """GET /me."""

    async def get(self) -> None:
        """Answer with the account, flat."""
        fields = self.get_argument("fields", "")
        await self.act(lambda: reading.me(self.stage.world.accounts[self.my_account()], fields))


class Subscribed(GraphDoor):
    """/me/subscribed_apps: which webhook fields are delivered."""

    async def get(self) -> None:
        """List them."""
        await self.act(self.listed)

    async def post(self) -> None:
        """Set them: in the query, in a form, or as a JSON list."""
        await self.act(self.subscribe)

    async def delete(self) -> None:
        """Deliver nothing any more."""
        await self.act(self.unsubscribe)

    def listed(self) -> dict[str, object]:
        """The app and its fields."""
        fields = self.stage.grants.fields.get(self.my_account())
        return {"data": [{"id": self.stage.grants.client_id, "subscribed_fields": fields}] if fields else []}

    def subscribe(self) -> dict[str, object]:
        """Subscribe; one unknown field fails all of them."""
        account = self.my_messages()
        try:
            found = self.get_argument("subscribed_fields", "") or self.json_body().get("subscribed_fields", [])
        except BadPayload:
            found = []
        names = found.split(",") if isinstance(found, str) else [str(name) for name in found]
        self.stage.grants.subscribe(account, [name.strip() for name in names if name.strip()])
        self.stage.ledger.add("oauth", step="subscribed", account=account, fields=names)
        return {"success": True}

    def unsubscribe(self) -> dict[str, object]:
        """Unsubscribe."""
        account = self.my_account()
        self.stage.grants.unsubscribe(account)
        self.stage.ledger.add("oauth", step="unsubscribed", account=account)
        return {"success": True}


class Messages(GraphDoor):
    """POST /me/messages and /{account}/messages."""

    async def post(self, node: str) -> None:
        """Send a message or a sender action."""
        await self.act(lambda: self.send(node))

    def send(self, node: str) -> dict[str, str]:
        """Send it."""
        try:
            body = self.json_body()
        except BadPayload:
            raise refusals.bad_message() from None
        return self.stage.send(self.token(), node, body, self.about())


class Conversations(GraphDoor):
    """GET /me/conversations?platform=instagram."""

    async def get(self, _node: str) -> None:
        """List them, or the one with `user_id`."""
        await self.act(self.listed)

    def listed(self) -> dict[str, Any]:
        """The conversations of the caller's account."""
        account = self.my_messages()
        if self.get_argument("platform", "") != "instagram":
            raise refusals.graph(400, 100, "(#100) The parameter platform is required.")
        person, fields = self.get_argument("user_id", ""), self.get_argument("fields", "")
        self.stage.ledger.add("read", account=account, what="conversations", person=person)
        limit, after = _number(self.get_argument("limit", "25")), _number(self.get_argument("after", "0"))
        return reading.conversations(self.stage.world, account, person, fields, max(1, min(limit, 50)), after)


class Node(GraphDoor):
    """GET /{conversation}, /{mid}, /{person} or /{account}."""

    async def get(self, node: str) -> None:
        """Answer with the fields that were asked for."""
        await self.act(lambda: self.read(node, self.get_argument("fields", "")))

    def read(self, node: str, fields: str) -> dict[str, Any]:
        """Find out what the id names, and show it."""
        world, account = self.stage.world, self.my_messages()
        conversation = world.by_id.get(node)
        if conversation is not None:
            if conversation.account != account:
                raise refusals.missing(node)
            self.stage.ledger.add("read", account=account, what="messages", person=conversation.person.id)
            return reading.conversation_row(world, conversation, reading.asked(fields))
        if node in world.messages:
            message: Message = reading.readable_message(world, account, node)
            self.stage.ledger.add("read", account=account, what="message", person=message.person)
            return reading.detail(world, message, list(reading.asked(fields)))
        if node in {account, world.accounts[account].app_scoped_id}:
            return reading.me(world.accounts[account], fields)
        if not node.isdigit():
            raise refusals.missing(node)
        return reading.profile(world.conversations.get((account, node)), fields)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
