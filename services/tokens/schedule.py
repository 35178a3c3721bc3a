"""When an account's token is refreshed, probed and its webhooks looked at. Rules only: time and chance are arguments.

A token lives 60 days from its last refresh and may be refreshed from 24 hours on. Planned at half of its life, with
a fault and a holiday in between, there is a month left; the wide jitter, and the choice of the emptiest of a few
hours, keep ten thousand accounts that were connected together from being refreshed together.
https://developers.facebook.com/docs/instagram-platform/instagram-api-with-instagram-login/business-login
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random

MIN_AGE = timedelta(hours=24, minutes=5)
EARLIEST, LATEST = 0.2, 0.8  # of the life: after 12 to 48 of 60 days
CANDIDATES = 4
ALARM_LEFT = timedelta(days=7)
LEASE = timedelta(minutes=2)
TURN = timedelta(seconds=1)  # between two refreshes of all replicas: 60 a minute

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

# A replica whose clock is far ahead for a moment plans by it. What it leaves in the store lies further ahead than
# anything does that a right clock plans, and counts for nothing; clocks that are minutes apart are none of this.
TURN_MOST = timedelta(minutes=10)
LEASE_MOST = HOUR
WATCH_MOST = 2 * DAY

HOURLY_PROBES = 24
PROBE_PAUSE = timedelta(minutes=1)  # between two probes that reports ask for


def refresh_candidates(issued: datetime, expires: datetime, chance: Random) -> list[datetime]:
    """A few moments around half of the life, in random order; never before the token may be refreshed."""
    life = expires - issued
    moments = [issued + life * chance.uniform(EARLIEST, LATEST) for _ in range(CANDIDATES)]
    return [max(moment, issued + MIN_AGE) for moment in moments]


def hour_of(moment: datetime) -> tuple[datetime, datetime]:
    """The hour of the clock that a moment is in. A window around the moment would favour the edges of the spread."""
    start = moment.replace(minute=0, second=0, microsecond=0)
    return start, start + HOUR


def emptiest(candidates: Sequence[datetime], planned: Sequence[int]) -> datetime:
    """The candidate in whose hour the fewest refreshes are planned already."""
    return min(zip(planned, range(len(candidates)), candidates, strict=True))[2]


def fitting(moment: datetime, issued: datetime, expires: datetime) -> bool:
    """Whether a moment that was chosen for a life of sixty days also suits the life that Instagram gave."""
    return moment >= issued + MIN_AGE and issued + (expires - issued) * LATEST >= moment


def astray(planned: datetime, expires: datetime, now: datetime) -> bool:
    """Whether a refresh is planned as no right clock plans one: a week or more away, with a token that ends before.

    The pauses of a token that is close to its end, or past it, are far shorter: they are kept.
    """
    return expires <= now + ALARM_LEFT < planned


def may_refresh(issued: datetime, now: datetime) -> bool:
    """Whether the token is old enough."""
    return now - issued >= MIN_AGE


def retry_refresh(now: datetime, expires: datetime, failures: int, chance: Random, wait: float = 0) -> datetime:
    """The next try after a failed refresh: from a minute up to six hours, one hour when little life is left.

    `wait` is what Instagram asked for, in seconds.
    """
    longest = HOUR if expires - now < ALARM_LEFT else 6 * HOUR
    pause: timedelta = min(timedelta(minutes=1) * 2 ** min(failures, 12), longest)
    return now + max(pause * chance.uniform(0.5, 1), timedelta(seconds=wait))


def next_probe(now: datetime, probes: int, chance: Random) -> datetime:
    """The next look at an account in `reauthorize` or `limited`: hourly for a day, then daily."""
    return now + (HOUR if probes < HOURLY_PROBES else DAY) * chance.uniform(0.9, 1)


def unanswered_probe(now: datetime, chance: Random) -> datetime:
    """The next try of a probe that had no answer, so that a dead token is known within the hour."""
    return now + timedelta(minutes=5) * chance.uniform(0.5, 1)


def doubtful_probe(now: datetime, chance: Random) -> datetime:
    """The next look at an account whose rejection is suspected and that the brake holds."""
    return now + timedelta(minutes=10) * chance.uniform(0.75, 1)


def next_subscription(now: datetime, chance: Random) -> datetime:
    """The next look at the webhook subscription: in an hour or so, each account at its own time."""
    return now + HOUR * chance.uniform(0.75, 1.25)


def retry_subscription(now: datetime, chance: Random) -> datetime:
    """The next look after one that failed."""
    return now + timedelta(minutes=10) * chance.uniform(0.5, 1)


def retry_alert(now: datetime, tries: int, chance: Random) -> datetime:
    """The next try to tell the operator: from five seconds up to ten minutes."""
    pause: timedelta = min(timedelta(seconds=5) * 2 ** min(tries, 10), timedelta(minutes=10))
    return now + pause * chance.uniform(0.5, 1)


def watch_due(planned: datetime | None, now: datetime) -> bool:
    """Whether the moment of a probe, a look or an alert has come."""
    return planned is not None and (planned <= now or planned > now + WATCH_MOST)


def next_turn(reserved: datetime, now: datetime) -> datetime:
    """The moment of the next refresh, when the last one reserved the pace up to a moment."""
    return now if reserved > now + TURN_MOST else max(now, reserved)


def is_leased(until: datetime | None, now: datetime) -> bool:
    """Whether an account's lease keeps others out."""
    return until is not None and now < until <= now + LEASE_MOST


def sweep_pause(seconds: float, chance: Random) -> float:
    """Seconds until the next sweep; replicas that started together drift apart."""
    return seconds * chance.uniform(0.8, 1.2)
