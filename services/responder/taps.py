"""Taps on buttons: delivered as postbacks, and perhaps shown in the conversation as messages."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from services.responder.message import Kind, Message, key_of
from services.responder.outside import Shown
from services.responder.ports import Messages
from services.responder.times import SECOND
from services.responder.words import folded

CLOSE = 5 * SECOND
"""The times of a tap and of what is shown of it differ by no more; Instagram shows whole seconds."""
RECENT = 50
"""More than Instagram shows of a conversation."""


async def tapped(messages: Messages, account: str, person: str, shown: Sequence[Shown]) -> set[str]:
    """Return the mids of those messages of a person that are taps which were delivered."""
    named = await messages.get([key_of(account, Kind.POSTBACK, one.mid) for one in shown])
    return taps(shown, [*named, *await messages.recent(account, person, RECENT)])


def taps(shown: Sequence[Shown], stored: Collection[Message]) -> set[str]:
    """Return the mids of what is shown that are taps among what is stored. Not every postback comes with a mid."""
    postbacks = [one for one in stored if one.kind is Kind.POSTBACK]
    return {one.mid for one in shown if any(same(one, each) for each in postbacks)}


def same(one: Shown, postback: Message) -> bool:
    """Whether what is shown is this tap: by its mid, or by its words at its time."""
    close = abs(one.at - postback.at) <= CLOSE
    return one.mid == postback.mid or (close and folded(one.text) == folded(postback.text))
