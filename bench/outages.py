"""What a sender sees while Redis fails, through a proxy that makes it fail: `python -m bench.outages`.

Time to the answer in each kind of outage, how soon 200 is back, and how fast a backlog of an hour without a responder
drains while new deliveries go on. Budgets: 300 ms for an answer while Redis fails, 15 ms at p99 beside the backlog.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from typing import Any

import matplotlib as mpl
import redis
from rich.console import Console
from rich.table import Table

from bench.loader import body, post
from bench.servers.bed import RESULTS, SECRET, Bed, Server, bed, machine, rounds, write
from tests.ports import free_port

FAULTS = ("pass", "delay 50", "swallow", "black", "refuse", "reset 40")
MUST_MS, AIM_MS = 300.0, 150.0
MUST_P99, AIM_P99 = 15.0, 8.0  # of deliveries beside a backlog


def proxy(made: Bed, upstream: int) -> tuple[subprocess.Popen[bytes], int]:
    """Start the fault proxy in front of Redis."""
    port = free_port()
    command = [sys.executable, "bench/servers/fault_proxy.py", str(port), str(upstream)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    made.servers.append(Server(process, port))
    return process, port


def tell(process: subprocess.Popen[bytes], what: str) -> None:
    """Tell the proxy what to do."""
    assert process.stdin
    process.stdin.write(f"{what}\n".encode())
    process.stdin.flush()
    time.sleep(0.05)


def one(server: Server, n: int) -> tuple[int, float]:
    """Post a delivery; return its status and the milliseconds."""
    content = body(n, "outage")
    head = post(content, SECRET.encode(), "x").partition(b"X-Hub-Signature-256: ")[2].partition(b"\r\n")[0].decode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/webhook", data=content, headers={"X-Hub-Signature-256": head}
    )
    began = time.perf_counter()
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - loopback
            status = answer.status
    except urllib.error.HTTPError as error:
        status = error.code
    except OSError:
        status = 0  # no answer at all
    return status, 1000 * (time.perf_counter() - began)


def outages(times: int) -> dict[str, dict[str, object]]:
    """Go through the faults; return what deliveries met in each."""
    found: dict[str, dict[str, object]] = {}
    with bed() as made:
        process, port = proxy(made, made.redis.port)
        server = made.gateway(f"redis://127.0.0.1:{port}/0")
        n = 0
        for place in rounds(len(FAULTS), "faults"):
            fault = FAULTS[place]
            tell(process, fault)
            answers = []
            for _ in range(times):
                n += 1
                answers.append(one(server, n))
            tell(process, "pass")
            began = time.perf_counter()
            while one(server, n := n + 1)[0] != 200:
                if time.perf_counter() - began > 10:
                    break
            waits = sorted(took for _, took in answers)
            found[fault] = {
                "statuses": {
                    str(status): sum(1 for got, _ in answers if got == status) for status in {s for s, _ in answers}
                },
                "p50_ms": round(waits[len(waits) // 2], 1),
                "max_ms": round(waits[-1], 1),
                "back_ms": round(1000 * (time.perf_counter() - began), 1),
            }
    return found


def backlog(deliveries: int) -> dict[str, Any]:
    """Fill the inbox, start the gateway, and load it at 500/s while it drains; only those count that came meanwhile."""
    with bed() as made:
        client = redis.Redis(port=made.redis.port)
        with client.pipeline(transaction=False) as pipe:
            for n in range(deliveries):
                pipe.xadd("inbox", {"body": body(n, "backlog"), "at": int(time.time() * 1000)})
                if n % 1000 == 999:
                    pipe.execute()
            pipe.execute()
        client.set("dispatcher", "the bench")  # nobody dispatches until the lease is free
        server = made.gateway()
        client.delete("dispatcher")
        began, before, drained = time.perf_counter(), client.xlen("inbox"), []

        def watch() -> None:
            while client.xlen("inbox") > 50:
                time.sleep(0.02)
            drained.append(time.perf_counter())

        watching = threading.Thread(target=watch)
        watching.start()
        load = made.load(server, "--rate", "500", "--seconds", "8", "--connections", "64", "--each")
        watching.join()
    each = load["each"]
    assert isinstance(each, list)
    meanwhile = sorted(wait for due, wait in each if due < drained[0])
    afterwards = sorted(wait for due, wait in each if due >= drained[0])
    seconds = drained[0] - began
    return {
        "deliveries": deliveries,
        "left_when_measuring_began": before,
        "drained_in_s": round(seconds, 1),
        "drained_per_second": round((before + len(meanwhile)) / seconds),
        "new_ones_meanwhile": len(meanwhile),
        "p50_ms_meanwhile": part_of(meanwhile, 0.5),
        "p99_ms_meanwhile": part_of(meanwhile, 0.99),
        "p99_ms_afterwards": part_of(afterwards, 0.99),
        "sent_late_p99_ms": load["sent_late_p99_ms"],
        "statuses": load["statuses"],
    }


def part_of(ordered: list[float], part: float) -> float:
    """A percentile."""
    return ordered[int(part * len(ordered))] if ordered else 0.0


def plot(found: dict[str, dict[str, object]]) -> None:
    """Draw the longest wait in each outage."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of a backend without a screen

    figure, axes = plt.subplots(figsize=(7, 3))
    names = list(found)[::-1]
    bars = axes.barh(names, [float(str(found[name]["max_ms"])) for name in names], color="#6d28d9")
    axes.bar_label(bars, fmt="%.0f", padding=3)
    axes.axvline(MUST_MS, color="#999", linestyle=":")
    axes.set(xlabel="longest wait for an answer, ms (dotted: the limit)")
    axes.set_title("What a sender waits while Redis fails", fontsize=10)
    figure.tight_layout()
    figure.savefig(RESULTS / "outages.svg")
    plt.close(figure)


def main() -> int:
    """Measure, print, write; 1 when an answer took too long, or one beside the backlog was no 200."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--backlog", type=int, default=120_000)
    args = parser.parse_args()
    found, drained = outages(args.times), backlog(args.backlog)
    table = Table(title=f"answers while Redis fails ({machine()})")
    for title in ("fault", "answers", "p50 ms", "longest ms", "200 again after ms"):
        table.add_column(title, justify="right")
    for name, row in found.items():
        table.add_row(name, str(row["statuses"]), *(str(row[what]) for what in ("p50_ms", "max_ms", "back_ms")))
    Console().print(table)
    print(f"a backlog of {args.backlog} drains: {drained}")
    budgets = {"must_ms": MUST_MS, "aim_ms": AIM_MS, "must_p99_ms": MUST_P99, "aim_p99_ms": AIM_P99}
    write("outages", {**budgets, "faults": found, "backlog": drained})
    plot(found)
    return int(any(float(str(row["max_ms"])) > MUST_MS for row in found.values()) or missed(drained))


def missed(drained: dict[str, Any]) -> bool:
    """Whether deliveries beside the backlog, of which there must be some, were refused or answered too late."""
    late = drained["p99_ms_meanwhile"] > MUST_P99
    return late or set(drained["statuses"]) != {"200"} or not drained["new_ones_meanwhile"]


if __name__ == "__main__":
    sys.exit(main())
