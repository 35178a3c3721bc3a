"""What the chat page shows of one conversation. Rules only."""

from __future__ import annotations

from typing import Any

from services.sandbox.stage import Stage
from services.sandbox.world import Account, Conversation, Message


def page(stage: Stage, account: Account, person: str) -> dict[str, Any]:
    """The conversation as its customer sees it on a phone."""
    conversation = stage.world.conversations.get((account.id, person))
    now = stage.clock()
    return {
        "account": {"id": account.id, "username": account.username, "name": account.name},
        "connected": stage.grants.delivers(account.id, "messages"),
        "person": person,
        "typing": conversation is not None and conversation.typing_until > now,
        "seen": _seen(conversation),
        "messages": [bubble(message) for message in conversation.messages] if conversation else [],
    }


def bubble(message: Message) -> dict[str, Any]:
    """One message; nothing is left of one that was taken back."""
    return {
        "mid": message.mid,
        "author": message.author,
        "text": message.text,
        "at": message.at,
        "edited": message.num_edit > 0,
        "gone": message.taken_back,
    }


def _seen(conversation: Conversation | None) -> str:
    """The mid of the customer's newest message when the business has seen it, as Instagram shows it."""
    if conversation is None or not conversation.visible or conversation.visible[-1].author != "customer":
        return ""
    newest = conversation.visible[-1]
    return newest.mid if newest.at <= conversation.seen_at else ""
