"""The promise at length: 20,000 messages while a process is killed or frozen every second or so.

    python -m bench.ledger [messages] [rate] [seed]

Budget: lost 0, doubled 0, out of order 0, held 0. SQLite, true times, faults of Instagram, the model and the network.
"""

import asyncio
import json
import os
import random
import sys
import tempfile
from pathlib import Path

from tests.system.storm import in_a_storm
from tests.system.supervisor import Supervisor
from tests.system.verdict import tell

RESULTS = Path(__file__).parent / "results" / "ledger.json"


async def measure(messages: int, rate: float, seed: int) -> dict[str, object]:
    """Run the storm and return the figures; what was broken is printed."""
    settings = {"QUIET_SECONDS": "1", "QUIET_MAX_SECONDS": "3", "EDIT_NOISE": "true"}
    with tempfile.TemporaryDirectory() as folder:
        machine = Supervisor(Path(folder) / "igbot", settings=settings)
        after = await in_a_storm(machine, messages=messages, rate=rate, longest_freeze=20, seed=seed)
        tracebacks = sum(map(len, machine.crashes().values()))
    verdict = after.verdict
    if not verdict.kept:
        print(tell(verdict, after.entries))
    return {
        "cores": os.cpu_count(),
        "seed": seed,
        "messages": verdict.said,
        "replies": verdict.replies,
        "sends": verdict.parts,
        "kills": after.kills,
        "freezes": after.freezes,
        "seconds": round(after.seconds),
        "lost": len(verdict.lost),
        "doubled": len(verdict.doubled),
        "out_of_order": len(verdict.disordered),
        "held": len(after.held),
        "not_answered": len(after.otherwise),
        "unexplained": len(verdict.unexplained),
        "gave_way": len(verdict.gave_way),
        "tracebacks": tracebacks,
    }


def main() -> int:
    """Measure, print, keep; 1 when the promise was broken."""
    given = sys.argv[1:]
    messages = int(given[0]) if given else 20_000
    rate = float(given[1]) if len(given) > 1 else 40
    seed = int(given[2]) if len(given) > 2 else random.SystemRandom().randrange(10**6)
    print(f"seed {seed}", flush=True)
    figures = asyncio.run(measure(messages, rate, seed))
    print(json.dumps(figures, indent=2))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n")
    broken = ("lost", "doubled", "out_of_order", "held", "not_answered", "unexplained")
    return int(any(figures[name] for name in broken))


if __name__ == "__main__":
    sys.exit(main())
