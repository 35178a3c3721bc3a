"""What becomes of a stored message when its own arrival, an unsend and edits come in any order. Rules only."""

from __future__ import annotations

from msgspec.structs import replace

from services.responder.message import SHOWN, Message


def is_stub(message: Message) -> bool:
    """Whether it stands for a message that was taken back or edited before it arrived."""
    return message.recorded_at == 0


def is_shown(message: Message) -> bool:
    """Whether it is part of what was said; a stub is not yet."""
    return message.kind in SHOWN and not is_stub(message)


def scrubbed(message: Message) -> Message:
    """Return it taken back: nothing of what was said is left."""
    return replace(message, text="", attachments=(), note="", taken_back=True)


def completed(stub: Message, arrived: Message) -> Message:
    """Return the message that has arrived at last, with what was decided about it before."""
    arrived = replace(arrived, answered_by=stub.answered_by or arrived.answered_by)
    if stub.edit > arrived.edit:
        arrived = replace(arrived, text=stub.text, edit=stub.edit)
    return scrubbed(arrived) if stub.taken_back else arrived


def edited(message: Message, stub: Message) -> Message:
    """Return it with the stub's text when that is a later version and the message was not taken back."""
    if message.taken_back or stub.edit <= message.edit:
        return message
    return replace(message, text=stub.text, edit=stub.edit)
