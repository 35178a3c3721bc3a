"""What a reply costs: CPU of our processes, time added at a steady rate, memory at rest.

    python -m bench.replies [rate] [seconds]

The whole of igbot runs as real processes against the sandbox, whose model and Graph answer at once; QUIET_SECONDS is 0.
Budgets: at most 8 ms of CPU a reply (aim 4), 50 ms added at 100 replies/s in the 95th percentile (aim 20), 120 MiB a
service at rest (aim 100).
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from rich.progress import Progress

from tests.system.supervisor import Supervisor
from tests.system.town import A, running, until

OURS = ("gateway", "tokens", "responder", "valkey")
RESULTS = Path(__file__).parent / "results" / "replies.json"
TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used, threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def memory_mib(pid: int) -> float:
    """Return a process's resident memory in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


async def measure(rate: float, seconds: float) -> dict[str, object]:
    """Run the load and return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        machine = Supervisor(Path(folder), settings={"QUIET_SECONDS": "0", "QUIET_MAX_SECONDS": "0"})
        async with running(machine, A) as town:
            await asyncio.sleep(3)
            pids = {name: machine.pid(name) for name in OURS}
            rest = {name: round(memory_mib(pid), 1) for name, pid in pids.items()}
            count = int(rate * seconds)
            await say_at(town, min(20, count), rate=20, start=count)  # warm
            before = {name: cpu_seconds(pid) for name, pid in pids.items()}
            known = len(await town.ledger())
            await say_at(town, count, rate=rate, start=0)
            entries = await all_sent(town, known, count)
            used = {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()}
            memory = {name: round(memory_mib(pid), 1) for name, pid in pids.items()}
    said = {entry["person"]: entry["at_ms"] for entry in entries if entry["kind"] == "said"}
    sent = {entry["person"]: entry["at_ms"] for entry in entries if entry["kind"] == "send"}
    waits = sorted(sent[person] - at for person, at in said.items() if person in sent)
    return {
        "cores": os.cpu_count(),
        "rate": rate,
        "replies": len(waits),
        "cpu_ms_a_reply": {name: round(1000 * one / len(waits), 2) for name, one in used.items()},
        "cpu_ms_a_reply_in_all": round(1000 * sum(used.values()) / len(waits), 2),
        "added_ms": {
            "p50": statistics.median(waits),
            "p95": waits[int(len(waits) * 0.95)],
            "p99": waits[int(len(waits) * 0.99)],
        },
        "memory_mib_at_rest": rest,
        "memory_mib_after": memory,
    }


async def say_at(town, count: int, *, rate: float, start: int) -> None:
    """Let `count` people write one message each, `rate` a second."""
    began = time.monotonic()
    running_now = set()
    with Progress(transient=True) as progress:
        bar = progress.add_task("messages", total=count)
        for n in range(count):
            await asyncio.sleep(max(0.0, began + n / rate - time.monotonic()))
            task = asyncio.create_task(town.say(str(6_930_000_000_000_000 + start + n), f"Question {start + n}?"))
            running_now.add(task)
            task.add_done_callback(running_now.discard)
            progress.advance(bar)
        await asyncio.gather(*running_now)


async def all_sent(town, known: int, count: int) -> list[dict]:
    """Wait until everybody has their answer; return what happened since."""

    async def done():
        entries = (await town.ledger())[known:]
        return entries if sum(entry["kind"] == "send" for entry in entries) >= count else None

    return await until(done, 120, "not all were answered")


def main() -> None:
    """Measure, print, keep."""
    rate = float(sys.argv[1]) if len(sys.argv) > 1 else 100
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 20
    figures = asyncio.run(measure(rate, seconds))
    print(json.dumps(figures, indent=2))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
