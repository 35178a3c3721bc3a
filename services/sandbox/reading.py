"""How Meta's read calls show the world: profile, conversations, messages, one field at a time. Rules only."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from services.sandbox import refusals
from services.sandbox.world import Account, Conversation, Message, World

EXPANSION = re.compile(r"([a-z_]+)(?:\.limit\((\d+)\))?(?:\{([^{}]*)\})?")


def asked(fields: str) -> dict[str, list[str]]:
    """Read `a,b{c,d}` into {a: [], b: [c, d]}."""
    return {
        name: [part.strip() for part in inner.split(",") if part.strip()]
        for name, _limit, inner in EXPANSION.findall(fields)
    }


def iso(at: int) -> str:
    """A moment as the Conversations API writes it: whole seconds."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")


def me(account: Account, fields: str) -> dict[str, Any]:
    """The account itself: `user_id` is the professional id, `id` the app-scoped one."""
    known: dict[str, Any] = {
        "user_id": account.id,
        "username": account.username,
        "name": account.name,
        "account_type": "BUSINESS",
        "profile_picture_url": None,
        "followers_count": 1207,
        "follows_count": 87,
        "media_count": 240,
    }
    wanted = asked(fields)
    for name in wanted:
        if name not in known and name != "id":
            raise refusals.graph(400, 100, f"Tried accessing nonexisting field ({name})")
    return {**{name: known[name] for name in wanted if name in known}, "id": account.app_scoped_id}


def profile(conversation: Conversation | None, fields: str) -> dict[str, Any]:
    """A person's profile, for those who have written."""
    if conversation is None or not any(message.author == "customer" for message in conversation.messages):
        raise refusals.consent()
    person = conversation.person
    known: dict[str, Any] = {
        "name": person.name,
        "username": person.username,
        "profile_pic": None,
        "follower_count": 211,
        "is_user_follow_business": True,
        "is_business_follow_user": False,
        "is_verified_user": False,
    }
    return {**{name: known[name] for name in asked(fields) if name in known}, "id": person.id}


def conversations(world: World, account: str, person: str, fields: str, limit: int, after: int) -> dict[str, Any]:
    """An account's conversations, newest first, or the one with a person."""
    mine = [one for one in world.of_account(account) if person in {"", one.person.id}]
    data = [conversation_row(world, one, asked(fields or "updated_time")) for one in mine[after : after + limit]]
    if len(mine) <= after + limit:
        return {"data": data}
    return {"data": data, "paging": {"cursors": {"after": str(after + limit)}}}


def conversation_row(world: World, conversation: Conversation, wanted: dict[str, list[str]]) -> dict[str, Any]:
    """One conversation with the fields that were asked for."""
    account = world.accounts[conversation.account]
    row: dict[str, Any] = {"id": conversation.id}
    if "updated_time" in wanted:
        row["updated_time"] = iso(conversation.visible[-1].at)
    if "participants" in wanted:
        row["participants"] = {"data": [_account(account), _person(conversation)]}
    if "messages" in wanted:
        inner = wanted["messages"] or ["id", "created_time"]
        newest = conversation.readable
        row["messages"] = {"data": [detail(world, message, inner) for message in newest]}
    return row


def detail(world: World, message: Message, wanted: list[str]) -> dict[str, Any]:
    """One message with the fields that were asked for."""
    conversation = world.conversations[message.account, message.person]
    account, person = _account(world.accounts[message.account]), _person(conversation)
    source, target = (person, account) if message.author == "customer" else (account, person)
    known: dict[str, Any] = {
        "created_time": iso(message.at),
        "from": source,
        "to": {"data": [target]},
        "message": message.text,
    }
    return {"id": message.mid, **{name: known[name] for name in wanted if name in known}}


def readable_message(world: World, account: str, mid: str) -> Message:
    """A message that can still be read; refuse one that is gone, old or another account's."""
    message = world.messages.get(mid)
    if message is None or message.account != account:
        raise refusals.missing(mid)
    if message not in world.conversations[message.account, message.person].readable:
        raise refusals.deleted()
    return message


def _account(account: Account) -> dict[str, str]:
    return {"username": account.username, "id": account.id}


def _person(conversation: Conversation) -> dict[str, str]:
    return {"username": conversation.person.username, "id": conversation.person.id}
