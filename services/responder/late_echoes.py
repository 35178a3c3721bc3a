"""Echoes of parts that are held: what nobody could find out, Instagram tells after all.

Without this, the echo of a held part would count as a person's words, or as another reply's of the same words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from services.responder import ending, ledger
from services.responder.incoming import Incoming
from services.responder.model import Conversation, Part, PartState, Reply
from services.responder.ports import Sends
from services.responder.times import Times
from services.responder.words import digest


@dataclass
class LateEchoes:
    """Settles held replies, which stand in `sends`, by their echoes."""

    sends: Sends
    times: Times

    async def settle(self, row: Conversation, echoes: Sequence[Incoming]) -> tuple[str, ...]:
        """Return which of a row's held replies are still held after these echoes; the others are settled in `sends`.

        A process that is killed after it wrote there leaves an id in the row that the next echo takes out. An echo of a
        part that is known settles no other: two replies within seconds may have the same words.
        """
        placed = ledger.mids_in(row)
        unplaced = [one for one in echoes if one.mid not in placed and not await self.sends.owns(row.account, one.mid)]
        replies = [reply for one in row.held if (reply := await self.sends.get(one)) is not None]
        still = []
        for before in replies:
            reply = before
            for echo in unplaced:
                reply = self.heard(reply, echo)
            if reply != before:
                await self.sends.put(ending.closed(reply))
            if any(part.state is PartState.HELD for part in reply.parts):
                still.append(reply.id)
        return tuple(still)

    def heard(self, reply: Reply, echo: Incoming) -> Reply:
        """Return the reply with the held part sent that this is the echo of, if it is of one; an echo settles one."""
        if any(part.mid == echo.mid for part in reply.parts):
            return reply
        mine = next((part for part in reply.parts if part.state is PartState.HELD and self.fits(part, echo)), None)
        if mine is None:
            return reply
        return ledger.with_part(reply, replace(mine, state=PartState.SENT, mid=echo.mid, error=""))

    def fits(self, part: Part, echo: Incoming) -> bool:
        """Whether it has the part's words and the time of its POST: a person may say the same on another day."""
        slack = self.times.clock_slack
        last = part.sending_at + self.times.post_timeout + slack
        return part.sending_at - slack <= echo.at <= last and digest(echo.text) == part.sha256
