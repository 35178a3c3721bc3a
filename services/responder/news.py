"""News of a conversation that a person must hear of: they stand in its row until they are delivered. Rules only."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from services.responder.model import Conversation, Handover
from services.responder.times import MINUTE, SECOND

WAITS = (5 * SECOND, 15 * SECOND, MINUTE, 3 * MINUTE, 10 * MINUTE)
"""Between the tries of one note; the last one goes for all further ones."""

MOST_TRIES = len(WAITS) + 24 * 6
"""About a day. What nobody took until then is still in `igbot conversations list` and `igbot held list`."""


def told(row: Conversation, tell: Callable[[Conversation, Handover], bool], *, now: int) -> Conversation:
    """Return the row after telling what is due; `tell` says whether the news must stay to be told again."""
    kept = []
    for news in row.handovers:
        if news.tell_at > now:
            kept.append(news)
        elif tell(row, news):
            wait = WAITS[min(news.tries, len(WAITS) - 1)]
            kept.append(replace(news, tries=news.tries + 1, tell_at=now + wait))
    return replace(row, handovers=tuple(kept)) if tuple(kept) != row.handovers else row


def next_telling(row: Conversation) -> int | None:
    """Return when the next news are due, None when there are none."""
    return min((news.tell_at for news in row.handovers), default=None)


def without(row: Conversation, news: Handover) -> Conversation:
    """Return the row without these news, which were delivered."""
    left = tuple(one for one in row.handovers if (one.reason, one.subject) != (news.reason, news.subject))
    return replace(row, handovers=left)
