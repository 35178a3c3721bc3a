"""The reply in hand and its parts: how they are found, changed and given up in the row. Rules only.

A part is `ready`, then `sending` (written before the POST), then `sent`, `refused` or `unknown`; an unknown part is
settled by its echo or by reading the conversation, never guessed. sending.py has the way there, posted.py what a POST
came to, settle.py what becomes of the unknown, ending.py the end of a reply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from services.responder.message import Author
from services.responder.model import Conversation, Part, PartState, Pending, Reply
from services.responder.times import Times

DONE = frozenset({PartState.SENT, PartState.REFUSED, PartState.HELD, PartState.DROPPED})
MAY_HAVE_ARRIVED = frozenset({PartState.SENDING, PartState.SENT, PartState.UNKNOWN, PartState.HELD})

UNPROVEN = MAY_HAVE_ARRIVED - {PartState.SENT}
"""An echo proves that a part in one of these states arrived."""


def past_no_return(reply: Reply) -> bool:
    """Whether some part of it may have reached the customer."""
    return any(part.state in MAY_HAVE_ARRIVED for part in reply.parts)


def may_be_void(reply: Reply) -> bool:
    """Whether its text may be thrown away: nothing of it can have arrived, and Instagram did not refuse it either.

    What Instagram refused is kept in `sends`, for whoever asks why somebody got no answer.
    """
    return not past_no_return(reply) and all(part.state is not PartState.REFUSED for part in reply.parts)


def finished(reply: Reply) -> bool:
    """Whether nothing more will happen to it in the row."""
    return all(part.state in DONE for part in reply.parts)


def in_flight(row: Conversation) -> bool:
    """Whether a part is being posted right now."""
    return row.reply is not None and any(part.state is PartState.SENDING for part in row.reply.parts)


def only_unknown(reply: Reply) -> bool:
    """Whether it waits for nothing but word of what was sent."""
    states = {part.state for part in reply.parts}
    return PartState.UNKNOWN in states and not states & {PartState.READY, PartState.SENDING}


def replies_in(row: Conversation) -> tuple[Reply, ...]:
    """Return the replies that stand in the row: the one in hand, then those that wait to be settled."""
    return (*([row.reply] if row.reply else []), *row.unsettled)


def mids_in(row: Conversation) -> set[str]:
    """Return the mids of the parts that stand in the row."""
    return {part.mid for reply in replies_in(row) for part in reply.parts if part.mid}


def has_words(replies: tuple[Reply, ...]) -> bool:
    """Whether one of them is a person's own words."""
    return any(reply.author is Author.HUMAN for reply in replies)


def unknown_parts(row: Conversation) -> list[tuple[Reply, Part]]:
    """Return the parts whose outcome nobody knows, those of the reply in hand first."""
    return [(reply, part) for reply in replies_in(row) for part in reply.parts if part.state is PartState.UNKNOWN]


def unproven(row: Conversation, words: str, at: int, times: Times) -> list[tuple[Reply, Part]]:
    """Return the row's parts that an echo with these folded words, written then, would prove to have arrived."""
    parts = [(reply, part) for reply in replies_in(row) for part in reply.parts if part.sha256 == words]
    return [(reply, part) for reply, part in parts if part.state in UNPROVEN and at >= earliest(part, times)]


def meant(row: Conversation, words: str, at: int, times: Times) -> tuple[Reply, Part] | None:
    """Return the row's part that an outgoing message with these folded words, written then, is: of several the one
    that was posted nearest to it.
    """
    return min(unproven(row, words, at, times), key=lambda both: distance(both[1], at), default=None)


def distance(part: Part, at: int) -> int:
    """Return how far from the part's last POST a message was written: of several parts the nearest one is meant."""
    return abs(part.sending_at - at)


def earliest(part: Part, times: Times) -> int:
    """Return the time before which no message of Instagram's can be this part: its first POST, by a slow clock."""
    return (part.first_at or part.sending_at) - times.clock_slack


def part_of(row: Conversation, reply_id: str, n: int) -> Part:
    """Return one part of the reply with this id."""
    return next(reply.parts[n] for reply in replies_in(row) if reply.id == reply_id)


def with_part(reply: Reply, part: Part) -> Reply:
    """Return the reply with one part replaced."""
    return replace(reply, parts=tuple(part if one.n == part.n else one for one in reply.parts))


def with_reply(row: Conversation, reply: Reply) -> Conversation:
    """Return the row with the reply of this id replaced, wherever it stands."""
    if row.reply is not None and row.reply.id == reply.id:
        return replace(row, reply=reply)
    return replace(row, unsettled=tuple(reply if one.id == reply.id else one for one in row.unsettled))


def change_part(row: Conversation, reply_id: str, n: int, change: Callable[[Part], Part | None]) -> Conversation | None:
    """Apply a change to one part, of the reply in hand or of one that waits to be settled."""
    for reply in replies_in(row):
        if reply.id != reply_id:
            continue
        changed = change(reply.parts[n])
        return None if changed is None else with_reply(row, with_part(reply, changed))
    return None


def void(row: Conversation) -> Conversation:
    """Throw the reply's text away: nothing of it can have arrived, and its messages are unanswered again."""
    reply = row.reply
    if reply is None or not may_be_void(reply):
        raise ValueError("only a reply before the point of no return can be thrown away")
    replied = row.replied_at[:-1] if reply.author is Author.BOT and not reply.confirms else row.replied_at
    fell_back = row.fell_back and not reply.fallback
    row = replace(row, reply=None, replied_at=replied, fell_back=fell_back)
    return with_unanswered(row, reply.answers)


def with_unanswered(row: Conversation, messages: Iterable[Pending]) -> Conversation:
    """Put messages among those without an answer, by their time."""
    known = {one.key for one in row.unanswered}
    both = (*row.unanswered, *(one for one in messages if one.key not in known))
    return replace(row, unanswered=tuple(sorted(both, key=lambda one: (one.at, one.key))))


def drop_unsent(row: Conversation) -> Conversation:
    """Give up what of the reply was not sent: for good. Before the point of no return all of it is thrown away."""
    if row.reply is None:
        return row
    if not past_no_return(row.reply) and not finished(row.reply) and row.reply.author is Author.BOT:
        return void(row)
    return drop_rest(row, row.reply.id)


def silenced(row: Conversation) -> Conversation:
    """Give up what the bot had not sent yet; a person's own words go on."""
    if row.reply is None or row.reply.author is Author.HUMAN:
        return row
    return drop_unsent(row)


def drop_rest(row: Conversation, reply_id: str) -> Conversation:
    """After a refused or held part nothing more of this reply goes out."""
    if row.reply is None or row.reply.id != reply_id:
        return row
    return replace(row, reply=without_ready(row.reply))


def without_ready(reply: Reply, becomes: PartState = PartState.DROPPED, why: str = "") -> Reply:
    """Return the reply with what was not sent dropped, or held for a reason."""

    def settled(part: Part) -> Part:
        unsent = part.state is PartState.READY
        return replace(part, state=becomes, error=why or part.error) if unsent else part

    return replace(reply, parts=tuple(map(settled, reply.parts)))


def disown_pause(row: Conversation, mid: str) -> Conversation:
    """An echo that was taken for a person's proved ours: undo the pause that it alone made."""
    kept = tuple(pause for pause in row.pauses if not mid or pause.mid != mid)
    return row if kept == row.pauses else replace(row, pauses=kept)
