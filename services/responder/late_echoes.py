"""Echoes of parts that were given up: what nobody could find out, Instagram tells after all.

Without this, the echo of a part that is held, or that a person dropped or sent again, would count as a person's words,
or as another reply's of the same words.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

from services.responder import ending, ledger
from services.responder.incoming import Incoming
from services.responder.model import Conversation, Part, PartState, Reply
from services.responder.ports import Sends
from services.responder.times import Times
from services.responder.words import digest

RECENT = 50
"""Of so many of a conversation's replies the parts are compared with an echo."""


@dataclass
class LateEchoes:
    """Settles parts that were given up, which stand in `sends`, by their echoes."""

    sends: Sends
    times: Times

    async def settle(self, row: Conversation, strangers: Sequence[Incoming]) -> set[str]:
        """Settle in `sends` what these echoes show, which are of none of the row's parts; return the mids placed."""
        if not strangers:
            return set()
        in_row = {one.id for one in ledger.replies_in(row)}
        known = (*await self.sends.of(row.account, row.person, RECENT), *await self.held(row))
        replies = {one.id: one for one in known if one.id not in in_row}
        placed = set()
        for echo in strangers:
            found = self.meant(replies.values(), echo)
            if found is None:
                continue
            reply, part = found
            settled = await self.sends.change(reply.id, partial(ending.proved, n=part.n, mid=echo.mid))
            if settled is not None:
                replies[reply.id] = settled
                placed.add(echo.mid)
        return placed

    async def held(self, row: Conversation) -> list[Reply]:
        """Return the row's held replies, as `sends` has them."""
        return [reply for one in row.held if (reply := await self.sends.get(one)) is not None]

    async def still_held(self, row: Conversation) -> tuple[str, ...]:
        """Return which of the row's held replies are held yet: a process may die after it has settled one."""
        return tuple(one.id for one in await self.held(row) if any(part.state is PartState.HELD for part in one.parts))

    def meant(self, replies: Collection[Reply], echo: Incoming) -> tuple[Reply, Part] | None:
        """Return the part that was given up and that this is the echo of: the nearest to it, if it is of one."""
        words = digest(echo.text)
        given_up = [(reply, part) for reply in replies for part in reply.parts if self.fits(part, echo, words)]
        return min(given_up, key=lambda both: ledger.distance(both[1], echo.at), default=None)

    def fits(self, part: Part, echo: Incoming, words: str) -> bool:
        """Whether it has the part's words and the time of a POST: a person may say the same on another day."""
        looked_for = part.resent > 0 or part.unreadable_since > 0  # else it is known that it was never sent
        given_up = part.state is PartState.HELD or (part.state is PartState.DROPPED and looked_for)
        last = part.sending_at + self.times.post_timeout + self.times.clock_slack
        return given_up and ledger.earliest(part, self.times) <= echo.at <= last and words == part.sha256
