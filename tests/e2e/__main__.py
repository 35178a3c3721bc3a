"""`make e2e`: install igbot into a real Kubernetes, chat, roll and kill it under load, upgrade, roll back, uninstall.

With KUBECONFIG and IMAGE it uses that cluster and that image (already loaded there); without, it makes a cluster
with kind and builds the image. The load is RATE (20) deliveries a second that are answered and
PLAIN (50) that are only taken in; HELM says which helm (helm3 or helm4). Prints a table; exits 1 if a row failed.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.e2e.cluster import Cluster, Failed
from tests.e2e.steps import Steps


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    step: str
    passed: bool
    seconds: float
    found: str


def run(rows: list[Row], step: str, work: Callable[[], str]) -> bool:
    """Do one step; a failure is a row, not the end of the program."""
    print(f"e2e: {step} …", flush=True)
    began = time.monotonic()
    try:
        found, passed = work(), True
    except Failed as failure:
        found, passed = str(failure), False
    rows.append(Row(step, passed, time.monotonic() - began, found))
    print(f"e2e: {step}: {'ok' if passed else 'FAILED'} - {found}", flush=True)
    return passed


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = [f"| {row.step} | {'ok' if row.passed else 'FAILED'} | {row.seconds:.0f} s | {row.found} |" for row in rows]
    return "\n".join(["| step | result | time | found |", "|---|---|---|---|", *lines])


def main() -> int:
    """Run every step in order; once installing has failed there is nothing more to try."""
    rows: list[Row] = []
    cluster = Cluster(os.environ.get("KUBECONFIG", ""), os.environ.get("IMAGE", ""))
    rate, plain = (float(os.environ.get(name, default)) for name, default in (("RATE", "20"), ("PLAIN", "50")))
    steps = Steps(cluster, rate=rate, plain=plain)
    try:
        vital = all(run(rows, name, work) for name, work in steps.install())
        if vital:
            for name, work in steps.prove():
                run(rows, name, work)
    finally:
        run(rows, "uninstall", steps.uninstall)
        cluster.close()
    print("\n" + table(rows))
    return 0 if all(row.passed for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
