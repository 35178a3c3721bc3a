"""What waits aside: groups until they are due; of entries that only wait, when many do, only their ids. No I/O."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count

from services.gateway.works import Delivery, Group


class Aside:
    """Groups that are parked in memory, and entries that are shelved: left in the inbox until they are due."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.parked: list[tuple[float, int, Group]] = []
        self.shelved: dict[str, tuple[float, int]] = {}
        self.ticket = count()

    def park(self, group: Group, due: float) -> None:
        """Let a group wait in memory; its delivery knows it unless it is being isolated, which must not start anew."""
        waits = due, next(self.ticket), group
        heapq.heappush(self.parked, waits)
        if not group[0].failures:
            delivery = group[0].delivery
            delivery.waiting[waits[1]] = waits
            delivery.idle += len(group)

    def shelve(self, delivery: Delivery, due: float, later: int) -> None:
        """Remember no more than when an entry is due: when the first of its groups is."""
        for earlier, _, group in delivery.waiting.values():
            due = min(due, earlier)
            group.clear()  # its place on the heap stays, without words
        delivery.waiting.clear()
        self.shelved[delivery.entry.id] = (due, later)

    def take(self, entry_id: str) -> int:
        """Take an entry from the shelf; return how often it was put off, 0 when it did not lie there."""
        _, later = self.shelved.pop(entry_id, (0.0, 0))
        return later

    def due(self, now: float) -> Iterator[Group]:
        """Yield the parked groups that waited long enough."""
        while self.parked and self.parked[0][0] <= now:
            _, ticket, group = heapq.heappop(self.parked)
            if not group:
                continue
            delivery = group[0].delivery
            if delivery.waiting.pop(ticket, None):
                delivery.idle -= len(group)
            yield group

    def next_due(self) -> float | None:
        """Return when the first parked group is due, None when there is none."""
        return self.parked[0][0] if self.parked else None

    def shelves(self, entry_id: str, now: float) -> bool:
        """Whether an entry is shelved until a later time."""
        return entry_id in self.shelved and self.shelved[entry_id][0] > now

    def clear(self) -> None:
        """Drop everything."""
        self.parked.clear()
        self.shelved.clear()
