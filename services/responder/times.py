"""Every time that the rules know: the ledger's own, and the operator's choices. All in milliseconds."""

from __future__ import annotations

from dataclasses import dataclass, fields

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """The ledger's times: one record, so that tests may divide all of them by one factor."""

    post_within: int = 2 * SECOND  # later than this after `sending` was asked for, nothing is posted
    post_timeout: int = 10 * SECOND
    echo_grace: int = 5 * SECOND  # after the POST's time-out an undecided echo is a person's
    first_look: int = 20 * SECOND  # then the Conversations API is asked what became of an unknown part
    second_look: int = 45 * SECOND  # no earlier may a second absence send it again
    looks_apart: int = 10 * SECOND
    unreadable_for: int = 10 * MINUTE  # then the part is held
    newer_wait: int = 60 * SECOND  # an unknown part keeps newer messages waiting no longer
    clock_slack: int = 5 * SECOND  # Instagram's clock may be this far behind ours
    limited_for: int = 60 * SECOND  # a rate limit without a usage header; doubles
    limited_at_most: int = 5 * MINUTE
    back_off_first: int = 1 * SECOND
    back_off_at_most: int = 5 * MINUTE
    probe_every: int = 60 * SECOND  # a held account's probe
    blocked_for: int = 4 * HOUR  # Instagram called it spam
    pass_floor: int = 1 * SECOND  # no pass ends due earlier than this

    def divided(self, factor: float) -> Times:
        """Return the same times, each divided; the only use is in tests.

        But not the slack: it is no wait, and Instagram writes whole seconds however fast a test runs.
        """
        shorter = {one.name: max(1, int(getattr(self, one.name) / factor)) for one in fields(self)}
        return Times(**{**shorter, "clock_slack": self.clock_slack})


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The operator's choices, from the settings."""

    quiet: int = 2 * SECOND
    quiet_max: int = 8 * SECOND
    takeover: int = 12 * HOUR
    stale: int = 12 * HOUR
    stop_words: frozenset[str] = frozenset({"stop", "unsubscribe"})
    start_words: frozenset[str] = frozenset({"start"})
    max_parts: int = 3
    max_tries: int = 8
    per_hour: int = 20
    per_day: int = 60
    human_agent: bool = False
    fallback_text: str = ""
    reply_deadline: int = 60 * SECOND
    window: int = DAY
    human_agent_window: int = 7 * DAY
