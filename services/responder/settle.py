"""What a read of the conversation proves of an unknown part. Rules only."""

from __future__ import annotations

from collections.abc import Collection

from services.responder.ledger import Sight
from services.responder.model import Part
from services.responder.outside import Reading
from services.responder.times import Times
from services.responder.words import digest


def sight(
    part: Part, reading: Reading | None, *, ours: Collection[str], known: Collection[str], times: Times
) -> tuple[Sight, str]:
    """Return whether the part is there, with its mid, is not, or cannot be told.

    `ours` are the account's two ids, `known` the mids that other parts and finished replies have.
    Present: an outgoing message with equal text, of an unknown mid, created no earlier than the POST.
    Absent: the read reaches back before the POST and shows no outgoing message of unknown mid since.
    """
    if reading is None or not reading.messages:
        return Sight.UNREADABLE, ""
    since = part.sending_at - times.clock_slack
    fresh = [one for one in reading.messages if one.sender in ours and one.mid not in known and one.at >= since]
    for one in fresh:
        if digest(one.text) == part.sha256:
            return Sight.PRESENT, one.mid
    if any(at >= since for at in reading.hidden):
        return Sight.UNREADABLE, ""  # it may be the one
    reaches_back = reading.whole or min(one.at for one in reading.messages) < since
    return (Sight.ABSENT, "") if reaches_back and not fresh else (Sight.UNREADABLE, "")
