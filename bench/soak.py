"""Memory over time: `python -m bench.soak [--seconds 600] [--rate 30]`.

The whole of igbot as real processes under a steady load (30 replies a second: 30 % of what its budget names), against
a Meta and a model that answer at once. Every few seconds each process' resident memory is read. What counts is the
slope of the line of least squares through the last two thirds: a leak goes on, a cache fills up. Budget: under 1 MiB a
minute for each service.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from typing import Any

import matplotlib as mpl
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench.replies import SERVICES, customers, folder, memory_mib, onto_the_stand_in
from bench.servers.bed import RESULTS, machine, write
from tests.system.supervisor import Supervisor
from tests.system.town import A, running

MUST_MIB_A_MINUTE = 1.0
EVERY_SECONDS = 5.0


async def measure(rate: float, seconds: float) -> dict[str, Any]:
    """Load it, and read its memory while it works."""
    with folder() as made:
        igbot = Supervisor(made, settings={"QUIET_SECONDS": "0", "QUIET_MAX_SECONDS": "0"})
        async with running(igbot, A):
            port = await onto_the_stand_in(igbot)
            with customers(port, igbot) as people:
                writing = asyncio.create_task(people.write(rate, int(rate * seconds)))
                samples = await watch({name: igbot.pid(name) for name in SERVICES}, writing, seconds)
                seen = await writing
    del seen["waits_ms"]
    steady = [sample for sample in samples if sample["minute"] >= seconds / 60 / 3]
    minutes = [sample["minute"] for sample in steady]
    slopes = {
        name: round(statistics.linear_regression(minutes, [one[name] for one in steady]).slope, 3) for name in SERVICES
    }
    return {"rate": rate, "seconds": seconds, **seen, "slope_mib_a_minute": slopes, "samples": samples}


async def watch(pids: dict[str, int], writing: asyncio.Task[Any], seconds: float) -> list[dict[str, float]]:
    """Read the memory of each process until everybody has been answered."""
    began, samples = time.monotonic(), []
    with Progress(transient=True) as progress:
        bar = progress.add_task("soaking", total=seconds)
        while not writing.done():
            passed = time.monotonic() - began
            samples.append(
                {"minute": round(passed / 60, 3), **{name: round(memory_mib(pid), 2) for name, pid in pids.items()}}
            )
            progress.update(bar, completed=passed)
            await asyncio.wait([writing], timeout=EVERY_SECONDS)
    return samples


def show(figures: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(title=f"Memory at {figures['rate']:g} replies/s over {figures['seconds'] / 60:g} min ({machine()})")
    for title in ("service", "at first, MiB", "at last, MiB", "slope, MiB a minute", "must"):
        table.add_column(title, justify="left" if title == "service" else "right")
    first, last = figures["samples"][0], figures["samples"][-1]
    for name, slope in figures["slope_mib_a_minute"].items():
        table.add_row(name, f"{first[name]:.1f}", f"{last[name]:.1f}", f"{slope:+.2f}", f"< {MUST_MIB_A_MINUTE:g}")
    Console().print(table)


def plot(figures: dict[str, Any]) -> None:
    """Draw the memory of each service over the minutes."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of a backend without a screen

    figure, axes = plt.subplots(figsize=(7, 3))
    minutes = [sample["minute"] for sample in figures["samples"]]
    for name, colour in zip(SERVICES, ("#0f766e", "#b45309", "#6d28d9"), strict=True):
        label = f"{name} ({figures['slope_mib_a_minute'][name]:+.2f} MiB a minute)"
        axes.plot(minutes, [sample[name] for sample in figures["samples"]], label=label, color=colour)
    axes.set(xlabel="minutes", ylabel="resident memory, MiB", ylim=(0, None))
    axes.set_title(f"Memory at {figures['rate']:g} replies a second", fontsize=10)
    axes.legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(RESULTS / "soak.svg")
    plt.close(figure)


def main() -> int:
    """Measure, print, write; 1 when memory grows faster than it may or a reply is missing or doubled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--rate", type=float, default=30)
    args = parser.parse_args()
    figures = asyncio.run(measure(args.rate, args.seconds))
    write("soak", {"must_mib_a_minute": MUST_MIB_A_MINUTE, **figures})
    show(figures)
    plot(figures)
    grows = [name for name, slope in figures["slope_mib_a_minute"].items() if slope >= MUST_MIB_A_MINUTE]
    wrong = figures["answered"] < figures["asked"] or figures["answered_twice"] > 0
    print("not each message was answered once" if wrong else "each message was answered once")
    print(f"grows too fast: {grows}" if grows else "no service grows faster than it may")
    return 1 if grows or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
