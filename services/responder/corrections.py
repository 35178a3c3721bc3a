"""Unsends and edits of messages, in whatever order they and their message come.

A correction names its message by mid alone. A tap on a button has a mid like any message and is stored under another
kind, so it is looked for under each; what has not come yet is a stub under MESSAGE, which a later tap looks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from services.responder.account import Account
from services.responder.incoming import Incoming, IncomingKind, as_message, key_kinds
from services.responder.message import Kind, Message, Stored, key_of
from services.responder.ports import Messages
from services.responder.stubs import is_stub


@dataclass
class Corrections:
    """Keeps messages as their unsends and edits want them."""

    messages: Messages

    async def correct(self, event: Incoming, account: Account, person: str, *, now: int) -> Stored:
        """Take back or edit what is stored of a mid, or leave a stub for what has not come yet."""
        change = self.messages.take_back if event.kind is IncomingKind.UNSEND else self.messages.edit
        kinds = key_kinds(event, account)
        stubs = [as_message(event, account, person, now=now, kind=kind, stub=True) for kind in kinds]
        done = [await change(stub) for stub in await self.there(stubs) or stubs[-1:]]
        if len(done) == 1 and is_stub(done[0].message):
            # It may have come under another kind between these lines, before there was a stub to be found.
            done = [await change(stub) for stub in await self.there(stubs[:-1])] or done
        return done[0]

    async def there(self, stubs: Sequence[Message]) -> list[Message]:
        """Return the stubs of what is stored already."""
        known = {one.key for one in await self.messages.get([stub.key for stub in stubs])}
        return [stub for stub in stubs if stub.key in known]

    async def of_tap(self, tap: Stored) -> Stored:
        """Return a tap that was just stored as an unsend or edits that came before it want it."""
        key = key_of(tap.message.account, Kind.MESSAGE, tap.message.mid)
        for left in [one for one in await self.messages.get([key]) if is_stub(one)]:
            change = self.messages.take_back if left.taken_back else self.messages.edit
            changed = await change(replace(left, key=tap.message.key, kind=Kind.POSTBACK))
            tap = Stored(changed.message, new=tap.new)
        return tap
