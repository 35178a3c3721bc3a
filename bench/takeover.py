"""A killed responder's conversations, carried on by another: `python -m bench.takeover [--rounds 10]`.

Two gateways and two responders on one MongoDB-wire server. The model takes three seconds, so that the responder which
is killed (SIGKILL) has conversations in hand. A conversation is carried on when the model is asked about it again; what
was still waiting for a free worker is counted with the rest. Then the killed one starts again, and the other one is
next. Budget: at most 8 s (aim 5).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

import matplotlib as mpl
from rich.console import Console

from bench.replies import folder
from bench.servers.bed import RESULTS, machine, rounds, write
from tests.mongo import mongo_server
from tests.system.supervisor import Supervisor
from tests.system.town import A, Town, running, until

MUST_SECONDS, AIM_SECONDS = 8.0, 5.0
PEOPLE = 48
"""More than one responder's 32 workers, so that both have some in hand."""
MODEL_SECONDS = 3.0


async def measure(count: int) -> list[list[float]]:
    """Kill one responder a round; return each round's seconds until its conversations were carried on."""
    with folder() as made, mongo_server(made / "mongo") as database:
        settings = {"QUIET_SECONDS": "0", "QUIET_MAX_SECONDS": "0", "MODEL_DELAY_SECONDS": str(MODEL_SECONDS)}
        igbot = Supervisor(made / "igbot", database.url(), settings, twins=True)
        async with running(igbot, A) as town:
            return [await one_kill(town, igbot, n) for n in rounds(count, "kills")]


async def one_kill(town: Town, igbot: Supervisor, n: int) -> list[float]:
    """Have people write, kill a responder while the model thinks, and time the other."""
    victim = ("responder", "responder2")[n % 2]
    people = {str(6_940_000_000_000_000 + PEOPLE * n + one) for one in range(PEOPLE)}
    await asyncio.gather(*(town.say(person, "Do you open on Sunday?") for person in people))
    await asyncio.sleep(MODEL_SECONDS / 2)
    killed_at = time.time()
    await asyncio.to_thread(igbot.kill, victim)
    await until(lambda: answered(town, people), 60, "not everybody was answered")
    await igbot.restart(victim)
    sends = [one["at_ms"] / 1000 for one in await town.entries("send") if one["person"] in people]
    # The survivor's own answers leave within MODEL_SECONDS; later ones were begun anew, MODEL_SECONDS before they left.
    return sorted(round(at - MODEL_SECONDS - killed_at, 2) for at in sends if at > killed_at + MODEL_SECONDS)


async def answered(town: Town, people: set[str]) -> bool:
    """Whether each of these people has an answer."""
    return people <= {one["person"] for one in await town.entries("send")}


def plot(found: list[list[float]]) -> None:
    """Draw when each conversation was carried on."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of a backend without a screen

    figure, axes = plt.subplots(figsize=(7, 3))
    for n, seconds in enumerate(found, start=1):
        axes.scatter(seconds, [n] * len(seconds), color="#6d28d9", s=12)
    axes.axvline(MUST_SECONDS, color="#b91c1c", linestyle="--", label="must")
    axes.axvline(AIM_SECONDS, color="#15803d", linestyle=":", label="aim")
    axes.set(xlabel="seconds from SIGKILL until carried on", ylabel="kill", xlim=(0, MUST_SECONDS + 1))
    axes.set_title("Conversations of a killed responder, carried on by the other", fontsize=10)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(RESULTS / "takeover.svg")
    plt.close(figure)


def main() -> int:
    """Measure, print, write; 1 when one had to wait longer than it may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    found = asyncio.run(measure(parser.parse_args().rounds))
    seconds = sorted(one for each in found for one in each)
    if not seconds:
        print("no killed responder had a conversation in hand: nothing was measured")
        return 1
    figures = {"p50_seconds": seconds[len(seconds) // 2], "max_seconds": seconds[-1], "carried_on": len(seconds)}
    write("takeover", {"must_seconds": MUST_SECONDS, "aim_seconds": AIM_SECONDS, **figures, "rounds": found})
    plot(found)
    Console().print(f"{len(found)} kills ({machine()}):", figures, f"must ≤ {MUST_SECONDS:g}, aim ≤ {AIM_SECONDS:g}")
    return int(seconds[-1] > MUST_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
