"""`POST /webhook`, verified and durable, against four bases: `python -m bench.webhook`.

Closed loop, 32 connections, one process on core 0; Redis (append-only, fsync always), the loader and the responder's
stand-in on core 1. Rounds are interleaved, so that whatever else the machine does hits all alike; the median counts.
Processor time a request is the steadier figure, since requests a second also measure the neighbours.
"""

from __future__ import annotations

import argparse
import statistics
import sys

import matplotlib as mpl
from rich.console import Console
from rich.table import Table

from bench.servers.bed import RESULTS, SECRET, Server, bed, machine, rounds, write

BASE, OURS = "Tornado hello (asyncio)", "igbot gateway"
MUST = {BASE: 0.75, "Express 5 + ioredis": 1.0}
AIM = {BASE: 1.2, "Express 5 + ioredis": 1.6}


def measure(count: int, seconds: float) -> dict[str, list[dict[str, object]]]:
    """Run the rounds; return each server's findings."""
    with bed() as made:
        servers: dict[str, Server | None] = {
            BASE: made.python("hello"),
            "Tornado hello (uvloop)": made.python("hello", "uvloop"),
            "naive redis-py": made.python("naive", made.redis.url, SECRET),
            "Express 5 + ioredis": made.express(),
            OURS: made.gateway(),
        }
        for name in (BASE, "Tornado hello (uvloop)"):
            server = servers[name]
            assert server
            server.arguments = ("--get", "/")
        there = {name: server for name, server in servers.items() if server}
        found: dict[str, list[dict[str, object]]] = {name: [] for name in there}
        for n in rounds(count + 1, "rounds"):
            for name, server in there.items():
                one = made.load(server, "--seconds", str(seconds))
                if n:  # the first round warms up
                    found[name].append(one)
        return found


def summed(found: dict[str, list[dict[str, object]]]) -> dict[str, dict[str, float]]:
    """The medians and their ratio to ours, by requests a second and by processor time."""

    def median(name: str, what: str) -> float:
        return statistics.median(float(str(one[what])) for one in found[name])

    names = ("per_second", "p50_ms", "p99_ms", "cpu_us", "loader_core")
    rows = {name: {what: median(name, what) for what in names} for name in found}
    for row in rows.values():
        row["ours_by_rate"] = round(rows[OURS]["per_second"] / row["per_second"], 2)
        row["ours_by_cpu"] = round(row["cpu_us"] / rows[OURS]["cpu_us"], 2)
    return rows


def show(rows: dict[str, dict[str, float]]) -> None:
    """Print the table."""
    table = Table(title=f"POST /webhook, closed loop, medians ({machine()})")
    table.add_column("server")
    for title in ("requests/s", "p50 ms", "p99 ms", "CPU µs a request", "igbot ÷ it, by rate", "igbot ÷ it, by CPU"):
        table.add_column(title, justify="right")
    for name, row in rows.items():
        cells = (
            row["per_second"],
            row["p50_ms"],
            row["p99_ms"],
            row["cpu_us"],
            row["ours_by_rate"],
            row["ours_by_cpu"],
        )
        table.add_row(name, *(f"{cell:g}" for cell in cells))
    Console().print(table)


def plot(rows: dict[str, dict[str, float]]) -> None:
    """Draw processor time a request."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of a backend without a screen

    figure, axes = plt.subplots(figsize=(7, 3))
    names = list(rows)[::-1]
    bars = axes.barh(
        names, [rows[name]["cpu_us"] for name in names], color=["#6d28d9" if n == OURS else "#bbb" for n in names]
    )
    axes.bar_label(bars, fmt="%.0f", padding=3)
    axes.set(xlabel="processor time a request, µs (less is better)")
    axes.set_title("A delivery: verified, on disk, and handed on", fontsize=10)
    axes.margins(x=0.12)
    figure.tight_layout()
    figure.savefig(RESULTS / "webhook.svg")
    plt.close(figure)


def main() -> int:
    """Measure, print, write; 1 when a must is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    args = parser.parse_args()
    rows = summed(measure(args.rounds, args.seconds))
    write("webhook", {"rounds": args.rounds, "seconds": args.seconds, "must": MUST, "aim": AIM, "servers": rows})
    show(rows)
    plot(rows)
    if max(row["loader_core"] for row in rows.values()) > 0.8:
        print("the loader was nearly busy all the time: these figures are its own")
    missed = [name for name, must in MUST.items() if name in rows and rows[name]["ours_by_rate"] < must]
    print(f"below the must of {MUST}: {missed}" if missed else f"every must of {MUST} is met; aims: {AIM}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
