"""10,000 accounts connected within an hour: how even are their refreshes over 200 days? A moved clock, the real rules.

Budget: the peak hour at most twice the mean hour (aim 1.5 times), at most 60 refreshes in any minute.

    python -m bench refreshes
"""

import asyncio
import heapq
import json
import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from services.tokens import planner, schedule
from services.tokens.ports import Ports

ACCOUNTS, DAYS = 10_000, 200
RESULTS = Path(__file__).parent / "results"
PLOT = Path(__file__).parents[1] / "docs" / "images" / "refreshes.png"
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
SWEEP_SECONDS = 30.0


@dataclass
class MovedClock:
    """A clock that is set."""

    time: datetime = BEGAN

    def now(self) -> datetime:
        return self.time


@dataclass
class Hours:
    """The planned refreshes by their hour: what the stores answer from an index."""

    planned_in: Counter[datetime] = field(default_factory=Counter)

    async def planned(self, windows: Sequence[tuple[datetime, datetime]]) -> Sequence[int]:
        return [self.planned_in[start] for start, _ in windows]

    def add(self, moment: datetime, count: int) -> None:
        self.planned_in[schedule.hour_of(moment)[0]] += count


async def simulate(accounts: int = ACCOUNTS, days: int = DAYS, seed: int = 1) -> list[datetime]:
    """Return when each refresh of the simulated days happened."""
    chance, clock, hours = random.Random(seed), MovedClock(), Hours()
    nobody = cast("Any", None)
    ports = Ports(nobody, cast("Any", hours), nobody, nobody, nobody, cast("Any", clock), chance)
    due: list[tuple[datetime, int]] = []

    async def plan(account: int) -> None:
        at = await planner.usual_refresh(ports)
        hours.add(at, 1)
        heapq.heappush(due, (at, account))

    for account in range(accounts):
        clock.time = BEGAN + timedelta(hours=account / accounts)
        await plan(account)
    done, turn = [], BEGAN
    while due[0][0] < BEGAN + timedelta(days=days):
        at, account = heapq.heappop(due)
        hours.add(at, -1)
        # The sweep that finds it comes up to its pause later, and all replicas share one turn a second.
        clock.time = max(at + timedelta(seconds=chance.uniform(0, SWEEP_SECONDS)), turn)
        turn = clock.time + schedule.TURN
        done.append(clock.time)
        await plan(account)
    return done


def measured(done: list[datetime], days: int = DAYS) -> dict[str, float]:
    """Return the mean and the peak hour, and the most in a minute."""
    hours = Counter(int((at - BEGAN).total_seconds() // 3600) for at in done)
    minutes = Counter(int((at - BEGAN).total_seconds() // 60) for at in done)
    mean = len(done) / (days * 24)
    peak = max(hours.values())
    return {
        "refreshes": len(done),
        "mean_hour": mean,
        "peak_hour": peak,
        "ratio": peak / mean,
        "peak_minute": max(minutes.values()),
    }


def plot(done: list[datetime], path: str) -> None:
    """Draw refreshes an hour."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 - only the plot needs it

    hours = Counter(int((at - BEGAN).total_seconds() // 3600) for at in done)
    figure, axes = plt.subplots(figsize=(9, 3), dpi=120)
    axes.plot([hour / 24 for hour in range(DAYS * 24)], [hours[hour] for hour in range(DAYS * 24)], linewidth=0.4)
    axes.axhline(len(done) / (DAYS * 24), color="black", linewidth=0.8, linestyle="--", label="mean")
    axes.set(
        xlabel="days since 10,000 accounts were connected within an hour", ylabel="refreshes an hour", ylim=(0, None)
    )
    axes.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(path)


def main() -> int:
    """Simulate, print, write the results and the plot; 1 when the budget is missed."""
    done = asyncio.run(simulate())
    found = {name: round(value, 2) for name, value in measured(done).items()}
    for name, value in found.items():
        print(f"{name:12} {value:10.2f}")
    (RESULTS / "refreshes.json").write_text(json.dumps(found, indent=2) + "\n")
    plot(done, str(PLOT))
    return 0 if found["ratio"] <= 2 and found["peak_minute"] <= 60 else 1


if __name__ == "__main__":
    sys.exit(main())
