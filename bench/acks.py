"""How long a delivery waits for its 200: `python -m bench.acks`.

Open loop: deliveries leave at fixed times whatever the answers do, and the time counts from then. Redis is append-only
with fsync always. The longest run, a minute at 2,000/s, also counts answers other than 200.
"""

from __future__ import annotations

import argparse
import statistics
import sys

import matplotlib as mpl
from rich.console import Console
from rich.table import Table

from bench.servers.bed import RESULTS, SECRET, bed, machine, rounds, write

RATES = (500, 1000, 2000)
MUST_P99, AIM_P99 = 15.0, 8.0


def measure(
    count: int, seconds: float, long: float
) -> tuple[dict[str, dict[int, list[dict[str, object]]]], dict[str, object]]:
    """Run each rate on the gateway and on naive redis-py in turn, then the minute."""
    with bed() as made:
        servers = {"igbot gateway": made.gateway(), "naive redis-py": made.python("naive", made.redis.url, SECRET)}
        found: dict[str, dict[int, list[dict[str, object]]]] = {name: {rate: [] for rate in RATES} for name in servers}
        for _ in rounds(count, "rounds"):
            for rate in RATES:
                for name, server in servers.items():
                    shot = ("--rate", str(rate), "--seconds", str(seconds), "--connections", "64", "--detail")
                    found[name][rate].append(made.load(server, *shot))
        minute = ("--rate", "2000", "--seconds", str(long), "--connections", "64")
        return found, made.load(servers["igbot gateway"], *minute)


def other(one: dict[str, object]) -> int:
    """How many answers were not 200."""
    statuses = one["statuses"]
    assert isinstance(statuses, dict)
    return sum(count for status, count in statuses.items() if status != "200")


def plot(found: dict[str, dict[int, list[dict[str, object]]]]) -> None:
    """Draw how the waiting times of the gateway are spread at each rate."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of a backend without a screen

    figure, axes = plt.subplots(figsize=(7, 4))
    for rate, runs in found["igbot gateway"].items():
        middle = sorted(runs, key=lambda one: float(str(one["p99_ms"])))[len(runs) // 2]
        waits = middle["latencies_ms"]
        assert isinstance(waits, list)
        axes.plot(waits, [100 * n / len(waits) for n in range(len(waits))], label=f"{rate}/s")
    axes.axvline(MUST_P99, color="#999", linestyle=":", label="must: p99 at 1,000/s")
    axes.set(xscale="log", xlabel="milliseconds until 200", ylabel="% of deliveries", ylim=(0, 100))
    axes.set_title("Time to the answer, on disk first (open loop, fsync always)", fontsize=10)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(RESULTS / "acks.svg")
    plt.close(figure)


def main() -> int:
    """Measure, print, write; 1 when a must is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--long", type=float, default=60, help="seconds of the run at 2,000/s")
    args = parser.parse_args()
    found, minute = measure(args.rounds, args.seconds, args.long)
    table = Table(title=f"time to 200, open loop, fsync always ({machine()})")
    for title in ("server", "deliveries/s", "p50 ms", "p99 ms", "other than 200"):
        table.add_column(title, justify="right")
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for name, rates in found.items():
        for rate, runs in rates.items():
            p50, p99 = (statistics.median(float(str(one[what])) for one in runs) for what in ("p50_ms", "p99_ms"))
            rows.setdefault(name, {})[str(rate)] = {"p50_ms": p50, "p99_ms": p99, "other": sum(map(other, runs))}
            table.add_row(name, str(rate), f"{p50:g}", f"{p99:g}", str(sum(map(other, runs))))
    Console().print(table)
    print(f"{args.long:g} s at 2,000/s: {minute['statuses']}, p99 {minute['p99_ms']} ms")
    minute["latencies_ms"] = []
    write("acks", {"must_p99_ms": MUST_P99, "aim_p99_ms": AIM_P99, "servers": rows, "minute_at_2000": minute})
    plot(found)
    return int(rows["igbot gateway"]["1000"]["p99_ms"] > MUST_P99 or other(minute) > 0)


if __name__ == "__main__":
    sys.exit(main())
