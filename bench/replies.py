"""What a reply costs: CPU of our processes, time added at a steady rate, memory at rest.

    python -m bench.replies [--rate 100] [--seconds 20] [--rounds 3]

The whole of igbot runs as real processes (Valkey with fsync always, SQLite with synchronous=FULL); QUIET_SECONDS is 0;
Meta and the model are `servers/meta.py`, which answers at once, so what is measured is ours. A round is a steady open
loop of new people who write one message each; the median of the rounds counts. Budgets: at most 8 ms of CPU a reply
(aim 4), 50 ms added at 100 replies/s in the 95th percentile (aim 20), 120 MiB a service at rest (aim 100).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from rich.console import Console
from rich.table import Table

from bench.servers.bed import RESULTS, ROOT, machine, rounds, write
from tests.ports import free_port
from tests.system.supervisor import SECRET, Supervisor
from tests.system.town import A, running

SERVICES = ("gateway", "tokens", "responder")
OURS = (*SERVICES, "valkey")
MUST = {"cpu_ms_a_reply": 8.0, "added_p95_ms": 50.0, "memory_mib_at_rest": 120.0}
AIM = {"cpu_ms_a_reply": 4.0, "added_p95_ms": 20.0, "memory_mib_at_rest": 100.0}
TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used, threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def memory_mib(pid: int) -> float:
    """Return a process's resident memory in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


class Customers:
    """The people and the Meta between them and igbot, in a process of their own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    async def write(self, rate: float, count: int) -> dict[str, Any]:
        """Let `count` people write, `rate` a second; return what they saw."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{rate} {count}\n")
        self.process.stdin.flush()
        line = await asyncio.to_thread(self.process.stdout.readline)
        if not line:
            raise RuntimeError("the stand-in for Meta ended")
        seen: dict[str, Any] = json.loads(line)
        return seen


@contextmanager
def customers(port: int, igbot: Supervisor) -> Iterator[Customers]:
    """Start the stand-in for Meta; it ends with the measurement."""
    command = [sys.executable, "bench/servers/meta.py", str(port), str(igbot.ports["gateway"]), SECRET, A]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError("the stand-in for Meta did not start")
        yield Customers(process)
        process.kill()


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for everything that igbot keeps while it is measured."""
    with tempfile.TemporaryDirectory(prefix="igbot-bench-") as made:
        yield Path(made)


async def measure(rate: float, seconds: float, count: int) -> dict[str, Any]:
    """Run the rounds and return the figures."""
    found: list[dict[str, Any]] = []
    with folder() as made:
        igbot = Supervisor(made, settings={"QUIET_SECONDS": "0", "QUIET_MAX_SECONDS": "0", "SENDS_PER_SECOND": "250"})
        async with running(igbot, A):
            port = await onto_the_stand_in(igbot)
            with customers(port, igbot) as people:
                await asyncio.sleep(3)
                pids = {name: igbot.pid(name) for name in OURS}
                rest = {name: round(memory_mib(pid), 1) for name, pid in pids.items()}
                for n in rounds(count + 1, "rounds"):
                    one = await round_of(people, pids, rate, seconds if n else 3)
                    found += [one] if n else []  # the first one warms up
                memory = {name: round(memory_mib(pid), 1) for name, pid in pids.items()}
    return {
        "rate": rate,
        "seconds": seconds,
        "must": MUST,
        "aim": AIM,
        "rounds": found,
        "cpu_ms_a_reply": median(found, "cpu_ms_a_reply"),
        "cpu_ms_by_process": {name: median([one["cpu_ms_by_process"] for one in found], name) for name in OURS},
        "added_p50_ms": median(found, "added_p50_ms"),
        "added_p95_ms": median(found, "added_p95_ms"),
        "added_p99_ms": median(found, "added_p99_ms"),
        "memory_mib_at_rest": rest,
        "memory_mib_after": memory,
    }


async def onto_the_stand_in(igbot: Supervisor) -> int:
    """Start the responder again against a Meta and a model that answer at once; return the port of these."""
    port = free_port()
    igbot.processes["sandbox"].running.terminate()
    igbot.kill("responder")
    meta = f"http://127.0.0.1:{port}"
    await igbot.restart("responder", GRAPH_URL=meta, OPENAI_BASE_URL=f"{meta}/v1")
    return port


async def round_of(people: Customers, pids: dict[str, int], rate: float, seconds: float) -> dict[str, Any]:
    """One steady load: its waits and what it cost."""
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    seen = await people.write(rate, int(rate * seconds))
    used = {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()}
    waits = seen.pop("waits_ms")
    return {
        **seen,
        "cpu_ms_a_reply": round(1000 * sum(used.values()) / len(waits), 2),
        "cpu_ms_by_process": {name: round(1000 * one / len(waits), 2) for name, one in used.items()},
        "added_p50_ms": waits[len(waits) // 2],
        "added_p95_ms": waits[int(len(waits) * 0.95)],
        "added_p99_ms": waits[int(len(waits) * 0.99)],
        "waits_ms": waits[:: max(1, len(waits) // 200)],
    }


def median(rows: list[dict[str, Any]], what: str) -> float:
    """The median of one figure over the rounds."""
    return round(statistics.median(float(row[what]) for row in rows), 2)


def show(figures: dict[str, Any]) -> dict[str, float]:
    """Print the table; return the figures that have a budget."""
    most = max(SERVICES, key=lambda name: figures["memory_mib_at_rest"][name])
    measured = {
        "cpu_ms_a_reply": figures["cpu_ms_a_reply"],
        "added_p95_ms": figures["added_p95_ms"],
        "memory_mib_at_rest": figures["memory_mib_at_rest"][most],
    }
    table = Table(title=f"A reply at {figures['rate']:g}/s ({machine()})")
    for title in ("what", "measured", "must", "aim"):
        table.add_column(title, justify="left" if title == "what" else "right")
    words = {
        "cpu_ms_a_reply": "CPU of all our processes, ms a reply",
        "added_p95_ms": "time added to a reply, p95, ms",
        "memory_mib_at_rest": f"memory at rest, the largest ({most}), MiB",
    }
    for name, value in measured.items():
        table.add_row(words[name], f"{value:g}", f"≤ {MUST[name]:g}", f"≤ {AIM[name]:g}")
    Console().print(table)
    return measured


def plot(figures: dict[str, Any]) -> None:
    """Draw the waits of the rounds, and where the CPU went."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of a backend without a screen

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
    for one in figures["rounds"]:
        waits = one["waits_ms"]
        left.plot(waits, [n / len(waits) for n in range(len(waits))], color="#6d28d9", alpha=0.6)
    left.axvline(MUST["added_p95_ms"], color="#b91c1c", linestyle="--", label="p95 must stay left of this")
    left.axhline(0.95, color="#999", linestyle=":")
    left.set(xlabel="ms from the customer's message to the send", ylabel="share of the replies", ylim=(0, 1))
    left.set_title(f"Time added at {figures['rate']:g} replies/s, each round", fontsize=10)
    left.legend(fontsize=8)
    spent = figures["cpu_ms_by_process"]
    bars = right.barh(list(spent)[::-1], list(spent.values())[::-1], color="#6d28d9")
    right.bar_label(bars, fmt="%.2f", padding=3)
    right.set(xlabel="CPU a reply, ms (less is better)")
    right.set_title(f"{figures['cpu_ms_a_reply']:g} ms in all; must be ≤ {MUST['cpu_ms_a_reply']:g}", fontsize=10)
    right.margins(x=0.15)
    figure.tight_layout()
    figure.savefig(RESULTS / "replies.svg")
    plt.close(figure)


def main() -> int:
    """Measure, print, write; 1 when a must is missed or a reply is missing or doubled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    figures = asyncio.run(measure(args.rate, args.seconds, args.rounds))
    measured = show(figures)
    write("replies", figures)
    plot(figures)
    wrong = [one for one in figures["rounds"] if one["answered"] < one["asked"] or one["answered_twice"]]
    missed = [name for name, value in measured.items() if value > MUST[name]]
    print(f"not each answered once: {wrong}" if wrong else "each message was answered once")
    print(f"above the must: {missed}" if missed else "every must is met")
    return 1 if wrong or missed else 0


if __name__ == "__main__":
    sys.exit(main())
