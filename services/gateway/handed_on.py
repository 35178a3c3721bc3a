"""The gateway's line about deliveries that it handed on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import structlog

from services.gateway.hand import WORDS
from services.gateway.ports import Verdict
from services.gateway.works import Work

log = structlog.get_logger(__name__)

MOST = 200  # ids a line, so that none is longer than what collectors of logs take in one piece


def tell(works: Sequence[Work], verdicts: Sequence[Verdict]) -> None:
    """Log what became of a call's events: a whole line of an event that came alone, one line for many together.

    A line costs a sixth of all that the gateway does for a delivery. That for many names the deliveries' ids alone; the
    responder's line of each event has the same id, with the message and the verdict.
    """
    if len(works) > 1:
        for start in range(0, len(works), MOST):
            page, said = works[start : start + MOST], verdicts[start : start + MOST]
            counts = Counter(WORDS[one.outcome] for one in said)
            log.info("events_handed_on", requests=[work.delivery.entry.request for work in page], **counts)
        return
    for work, verdict in zip(works, verdicts, strict=True):
        entry, event = work.delivery.entry, work.event
        log.info(
            "event_handed_on",
            request=entry.request,
            delivery=entry.id,
            account=event.account,
            mid=event.mid,
            outcome=WORDS[verdict.outcome],
        )
