"""Taps on buttons: delivered as postbacks, and perhaps shown in the conversation as messages."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from services.responder.message import Kind, Message, Stored, key_of
from services.responder.outside import Shown
from services.responder.ports import Messages
from services.responder.stubs import is_stub
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


async def add(messages: Messages, new: Sequence[Message]) -> list[Stored]:
    """Store messages; a tap that the gap check recorded as a message before its delivery came stays that message."""
    taps_in = [one for one in new if one.kind is Kind.POSTBACK]
    known = {one.key: before for one in taps_in if (before := await shown_before(messages, one))}
    added = iter(await messages.add([one for one in new if one.key not in known]))
    return [Stored(known[one.key], new=False) if one.key in known else next(added) for one in new]


async def shown_before(messages: Messages, tap: Message) -> Message | None:
    """Return the message as which the gap check recorded a tap before its delivery came, if it did."""
    named = await messages.get([tap.key, key_of(tap.account, Kind.MESSAGE, tap.mid)])
    named = [one for one in named if not is_stub(one)]
    if any(one.key == tap.key for one in named):
        return None
    recent = await messages.recent(tap.account, tap.person, RECENT)
    return next((one for one in [*named, *recent] if one.kind is Kind.MESSAGE and same(one, tap)), None)


def taps(shown: Sequence[Shown], stored: Collection[Message]) -> set[str]:
    """Return the mids of what is shown that are taps among what is stored. Not every postback comes with a mid."""
    postbacks = [one for one in stored if one.kind is Kind.POSTBACK]
    return {one.mid for one in shown if any(same(one, each) for each in postbacks)}


def same(one: Shown | Message, postback: Message) -> bool:
    """Whether what is shown, or was recorded of it, is this tap: by its mid, or by its words, if any, at its time."""
    if one.mid == postback.mid:
        return True
    words = folded(postback.text)  # a button without a title has none, nor has a picture
    return bool(words) and words == folded(one.text) and abs(one.at - postback.at) <= CLOSE
