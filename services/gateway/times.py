"""Every time constant of the gateway in one frozen record, so that tests may divide them."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds."""

    # A delivery is in the inbox by then, or it is answered 503. A disk may take a quarter of a second once in a while;
    # a Redis that has just failed is not waited for so long again.
    keep: float = 0.24
    keep_again: float = 0.14
    watch: float = 1.0  # between two looks at Redis's memory
    inspect: float = 60.0  # between two looks at Redis's settings
    lease: float = 5.0
    renew: float = 1.5
    stand_by: float = 0.5  # between two tries to become the active dispatcher
    sweep: float = 2.0  # between two passes over the pending entries
    block: float = 0.5  # the longest wait inside one read
    # Under load reads come no faster: each read, call and acknowledgement costs the same for many.
    gather: float = 0.01
    give_way: float = 0.005  # so long each read of a backlog waits for deliveries that are being kept
    finish: float = 0.02  # what has ended is acknowledged by then, with a read or without
    answer: float = 2.0  # Redis answers a command of the dispatcher by then
    deliver: float = 10.0
    down_first: float = 0.1  # the responder is down: first and longest pause
    down_most: float = 2.0
    later_first: float = 0.5  # an event is not final: first and longest pause
    later_most: float = 15.0
    give_up: float = 60.0  # an event that fails alone is kept at least so long
    gaps: float = 120.0
    task_first: float = 1.0
    task_most: float = 60.0
    connect: float = 30.0  # the token service trades a code by then
    outcome: float = 10.0  # a second callback waits so long for the first
    state: float = 600.0  # an OAuth state lives
    invite: float = 7 * 86400.0
    status: float = 90 * 86400.0  # the status of a deletion is kept
    lock_out: float = 60.0  # wrong passwords are counted
    tidy: float = 3600.0

    def divided(self, factor: float) -> Times:
        """Return the same record, `factor` times faster."""
        return Times(**{field.name: getattr(self, field.name) / factor for field in fields(self)})
