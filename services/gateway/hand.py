"""What the dispatcher has in hand: deliveries, their events, which of them are final and which wait. No I/O.

An entry leaves when each of its events has a final verdict. Events of one conversation in one delivery stay together
until one of them has to be isolated.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random

from services.gateway.aside import Aside
from services.gateway.events import Ignored, Invalid, Item, Kind, Reason
from services.gateway.ports import DeadLetter, Entry, Finished, Outcome, Verdict
from services.gateway.times import Times
from services.gateway.works import (
    OVERHEAD,
    Batch,
    Delivery,
    Group,
    Work,
    conversations,
    letter,
    other_party,
    read,
    weight,
)

MOST_EVENTS = 500
# 1 MiB less what a share of a small delivery may be off, see `take_up`.
MOST_BYTES = (1 << 20) - (1 << 17)
SMALL_DELIVERY = 1 << 16
FAILURES = 5
# New entries are read while less than this waits to be delivered.
MOST_READY = 2000
MOST_READY_BYTES = 32 << 20
# Groups that wait stay in memory up to here; beyond, only the ids of their entries do.
MOST_PARKED = 2000
# So many messages that were taken back are remembered, should one of them end among the dead letters later.
MOST_TAKEN_BACK = 10_000
WORDS = {outcome: outcome.name.lower() for outcome in Outcome}


class Hand:
    """Takes entries up, makes batches of their events, and says which entries are finished."""

    def __init__(self, times: Times, random: Random) -> None:
        """Begin with nothing."""
        self.times = times
        self.random = random
        self.aside = Aside()
        self.deliveries: dict[str, Delivery] = {}
        self.ready: deque[Group] = deque()
        self.finished: list[Delivery] = []
        self.leaving: set[str] = set()
        self.taken_back: list[str] = []
        self.gone: dict[str, None] = {}
        self.size = 0
        self.limit = MOST_EVENTS
        self.counts: Counter[tuple[str, str]] = Counter()

    def take_up(self, entry: Entry) -> None:
        """Parse an entry and make its events ready; one that is in hand already stays as it is."""
        if entry.id in self.deliveries:
            return
        delivery = self.deliveries[entry.id] = Delivery(entry)
        self.size += len(entry.body)
        later = self.aside.take(entry.id)
        works = [work for item in read(entry) if (work := self.sort(delivery, item))]
        delivery.open = len(works)
        share = len(entry.body) // (len(works) or 1) + OVERHEAD
        exact = len(entry.body) > SMALL_DELIVERY or not entry.body.isascii()
        for work in works:
            work.later = later
            work.size = weight(work.event) if exact else share
        self.ready.extend(conversations(works))
        if not works:
            self.finished.append(delivery)

    def has(self, entry_id: str, now: float) -> bool:
        """Whether an entry is in hand, or lies aside until a later time."""
        return entry_id in self.deliveries or self.aside.shelves(entry_id, now)

    @property
    def room(self) -> bool:
        """Whether more may be taken up."""
        return len(self.ready) + len(self.finished) < MOST_READY and self.size < MOST_READY_BYTES

    def sort(self, delivery: Delivery, item: Item) -> Work | None:
        """Count what means nothing, put aside what cannot be read, return what is to be delivered."""
        what = item.what
        if isinstance(what, Ignored):
            self.counts["ignored", what.why] += 1
            return None
        if isinstance(what, Invalid):
            self.counts["dead", what.reason] += 1
            delivery.dead.append(letter(delivery.entry, what, item.source))
            return None
        if item.source is None:
            raise TypeError("an event has a place in its delivery")
        return Work(delivery, what, item.source)

    def batch(self, now: float) -> Batch:
        """Return groups to deliver in one call: those that waited long enough first, then the oldest ready ones."""
        self.ready.extend(self.aside.due(now))
        batch: Batch = []
        events = size = 0
        while self.ready:
            group = self.ready[0]
            weighs = group[0].size if len(group) == 1 else sum(work.size for work in group)
            if batch and (events + len(group) > self.limit or size + weighs > MOST_BYTES):
                break
            events, size = events + len(group), size + weighs
            batch.append(self.ready.popleft())
        return batch

    def next_due(self) -> float | None:
        """Return when the first parked group is due, None when there is none."""
        return self.aside.next_due()

    def settle(self, batch: Batch, verdicts: Sequence[Verdict], now: float) -> None:
        """Note the verdicts of a batch; events that are not final wait by themselves."""
        self.limit = min(MOST_EVENTS, self.limit * 2)
        said = iter(verdicts)
        for group in batch:
            later = [work for work in group if not self.close(work, next(said))]
            if later:
                pause = self.pause(later[0].later, self.times.later_first, self.times.later_most)
                self.park(later, now + pause)

    def close(self, work: Work, verdict: Verdict) -> bool:
        """Note one verdict; say whether it is final."""
        self.counts["verdict", WORDS[verdict.outcome]] += 1
        if verdict.outcome is Outcome.LATER:
            work.later += 1
            work.failures, work.failing_since = 0, 0.0  # it does not make the responder fail any more
            return False
        if verdict.outcome is Outcome.INVALID:
            self.bury(work, Reason.REFUSED)
        elif work.event.kind is Kind.UNSEND:
            self.forget_words(work.event.mid)
        self.leave(work)
        return True

    def forget_words(self, mid: str) -> None:
        """Note that a message was taken back: no dead letter holds its words, written before or after."""
        self.taken_back.append(mid)
        self.gone[mid] = None
        if len(self.gone) > MOST_TAKEN_BACK:
            del self.gone[next(iter(self.gone))]

    def may_be_kept(self, letter: DeadLetter) -> bool:
        """Whether a dead letter holds nothing that was taken back; one without a mid is searched."""
        if letter.mids:
            return self.gone.keys().isdisjoint(letter.mids)
        return not any(mid.encode() in letter.body for mid in self.gone)

    def put_back(self, batch: Batch) -> None:
        """Put a batch back where it was: the responder took nothing."""
        self.ready.extendleft(group for group in reversed(batch) if self.holds(group))

    def shrink(self, batch: Batch, now: float) -> None:
        """Put a batch back that was too much for one call; the next is half of it, and a single group waits aside."""
        if len(batch) == 1:
            batch[0][0].later += 1
            self.park(batch[0], now + self.pause(batch[0][0].later, self.times.later_first, self.times.later_most))
            return
        self.limit = max(1, sum(len(group) for group in batch) // 2)
        self.put_back(batch)

    def split(self, batch: Batch, now: float) -> list[Batch]:
        """Halve a batch that made the responder fail; a single event is blamed, waits, and in the end is put aside."""
        if len(batch) > 1:
            middle = len(batch) // 2
            return [batch[:middle], batch[middle:]]
        group = batch[0]
        if len(group) > 1:
            middle = len(group) // 2
            return [[group[:middle]], [group[middle:]]]
        self.blame(group[0], now)
        return []

    def blame(self, work: Work, now: float) -> None:
        """Count a failure of one event alone."""
        work.failures += 1
        work.failing_since = work.failing_since or now
        if work.failures >= FAILURES and now - work.failing_since >= self.times.give_up:
            self.bury(work, Reason.RESPONDER_ERROR)
            self.leave(work)
            return
        self.park([work], now + self.pause(work.failures, self.times.later_first, self.times.later_most))

    def bury(self, work: Work, reason: Reason) -> None:
        """Write the dead letter of an event; it goes out together with its entry's end."""
        self.counts["dead", reason] += 1
        event = work.event
        invalid = Invalid(reason, event.account, other_party(event), event.mid)
        work.delivery.dead.append(letter(work.delivery.entry, invalid, work.source))

    def leave(self, work: Work) -> None:
        """Note that an event is final."""
        work.delivery.open -= 1
        if not work.delivery.open:
            self.finished.append(work.delivery)

    def park(self, group: Group, due: float) -> None:
        """Let a group wait; when many wait, leave its entry in the inbox as soon as all that is open of it waits."""
        if not self.holds(group):
            return
        delivery, first = group[0].delivery, group[0]
        if self.crowded and not first.failures and delivery.idle + len(group) == delivery.open:
            self.aside.shelve(delivery, due, first.later)
            self.drop(delivery.entry.id)
        else:
            self.aside.park(group, due)

    @property
    def crowded(self) -> bool:
        """Whether what waits must make room: new entries are read whatever waits."""
        return len(self.aside.parked) >= MOST_PARKED or self.size > MOST_READY_BYTES // 2

    def holds(self, group: Group) -> bool:
        """Whether a group's delivery is still ours: the lease may have been lost meanwhile."""
        delivery = group[0].delivery
        return self.deliveries.get(delivery.entry.id) is delivery

    def drop(self, entry_id: str) -> None:
        """Let an entry go."""
        delivery = self.deliveries.pop(entry_id, None)
        self.size -= len(delivery.entry.body) if delivery else 0

    def pause(self, times: int, first: float, most: float) -> float:
        """Return a pause that doubles, with jitter."""
        longest: float = min(most, first * 2.0 ** min(times - 1, 20))
        return longest * (0.5 + self.random.random() / 2)

    def ended(self) -> list[Finished]:
        """Return the finished deliveries that nobody acknowledges yet; they stay in hand until `forget`."""
        there = (one for one in self.finished if one.entry.id not in self.leaving)
        return [Finished(one.entry.id, tuple(filter(self.may_be_kept, one.dead))) for one in there]

    def ended_plainly(self) -> list[Finished]:
        """Return those that leave nothing to put aside or to scrub before: whoever reads next may acknowledge them."""
        return [] if self.taken_back or not self.finished else [one for one in self.ended() if not one.dead]

    @contextmanager
    def acknowledging(self, ended: Sequence[Finished]) -> Iterator[None]:
        """Keep others from acknowledging the same deliveries; drop them afterwards, unless it failed."""
        names = {one.id for one in ended}
        self.leaving |= names
        try:
            yield
            self.forget(ended)
        finally:
            self.leaving -= names

    def forget(self, ended: Sequence[Finished]) -> None:
        """Drop deliveries that are acknowledged."""
        gone = {one.id for one in ended}
        self.finished = [delivery for delivery in self.finished if delivery.entry.id not in gone]
        for name in gone:
            self.drop(name)

    def clear(self) -> None:
        """Drop everything: another dispatcher has it now."""
        self.deliveries.clear()
        self.ready.clear()
        self.finished.clear()
        self.leaving.clear()
        self.aside.clear()
        self.size = 0
