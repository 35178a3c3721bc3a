"""Takes the ledger's conditions out, one at a time, and shows that the state machine turns red.

`python -m tests.responder.mutations [examples]` prints the table of tests/README.md. Each row is a copy of the tree
with one line changed; it takes some minutes in all.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEDGER, RECORD, DECIDE = "ledger.py", "record.py", "decide.py"
POST, WORK, COMPOSE = "post.py", "work.py", "compose_reply.py"

MUTATIONS = [
    (
        "the row's version at the point of no return",
        LEDGER,
        "(draft.version != row.version and not draft.final)",
        "False",
    ),
    ("not paused, at every move to sending", LEDGER, "if paused_at(row, now):\n            return Void.PAUSED", "pass"),
    ("not opted out", LEDGER, "if row.opted_out and not reply.confirms:", "if False:"),
    ("the window is open", LEDGER, "return Void.WINDOW_CLOSED if now >= window else None", "return None"),
    ("no answered message taken back, for later parts", LEDGER, "if reply.stopped:", "if False:"),
    (
        "the attempt of the POST whose answer comes",
        LEDGER,
        "if part.attempt != attempt or part.state not in",
        "if part.state not in",
    ),
    (
        "a crash found in sending is unknown",
        LEDGER,
        'unknown(part, times, error="the worker died while sending")',
        "replace(part, state=PartState.READY)",
    ),
    (
        "a POST without an answer is unknown",
        LEDGER,
        "return unknown(part, times, error=result.error)",
        "return replace(part, state=PartState.READY)",
    ),
    ("two absences, apart and late enough", LEDGER, "if not part.absent_at:", "if False:"),
    ("one reply in hand at a time", LEDGER, "if row.reply is not None or (draft", "if (draft"),
    ("what never arrived is unanswered again", LEDGER, "row = reopened(row, reply.answers, reply.id)", "pass"),
    (
        "what was answered is marked",
        LEDGER,
        "marks=(*row.marks, *(Mark(key=one.key, answered_by=answered_by) for one in reply.answers)),",
        "",
    ),
    ("an echo is ours by its text", RECORD, "part.sha256 == one.sha256", "False"),
    (
        "an unknown echo while sending is undecided",
        RECORD,
        "return replace(row, undecided=(*row.undecided, one))\n    return human",
        "return human(row, one.mid, one.at, now=now, policy=policy)\n    return human",
    ),
    ("a person's words pause", RECORD, "until = at if at < row.resumed_at else at + policy.takeover", "until = at"),
    ("a person's words mark what came before", RECORD, "return HUMAN\n", "return ''\n"),
    ("an unsend takes the message out", RECORD, "if any(one.key == key for one in row.unanswered):", "if False:"),
    ("an edit grows the version", RECORD, "unanswered=newer, version=row.version + 1,", "unanswered=newer,"),
    ("a message that the row knows is not added again", RECORD, "if knows(row, one.key):\n        return row", "pass"),
    (
        "a late answer to a POST comes before its place is given away",
        POST,
        "if (self.monotonic() - began) * 1000 > self.times.post_within:",
        "if False:",
    ),
    (
        "a failed write is asked anew",
        POST,
        "row = await self.again(row, fence)\n\n    async def tested",
        "return None\n\n    async def tested",
    ),
    (
        "the messages' own word about answered_by",
        COMPOSE,
        "if message is None or message.answered_by:",
        "if message is None:",
    ),
    ("finished replies are in sends", WORK, "*(self.store.sends.put(reply) for reply in ended),", ""),
    ("marks are carried out", WORK, "await self.store.messages.mark(row.marks)", "pass"),
]


def main() -> int:
    """Run every mutation; 1 when one stays green."""
    examples = sys.argv[1] if len(sys.argv) > 1 else "400"
    survived = 0
    print("| condition taken out | file | the machine says |\n|---|---|---|")
    for name, file, old, new in MUTATIONS:
        said = verdict(file, old, new, examples)
        survived += said == "green"
        print(f"| {name} | {file} | {said} |", flush=True)
    return 1 if survived else 0


def verdict(file: str, old: str, new: str, examples: str) -> str:
    """Return what the machine says about one change."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        for name in ("services", "tests"):
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", ".env.example"):
            shutil.copy(ROOT / name, tree / name)
        path = tree / "services" / "responder" / file
        text = path.read_text()
        if text.count(old) < 1:
            return f"no such line: {old!r}"
        path.write_text(text.replace(old, new, 1))
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "tests/responder/test_machine.py", "-p", "no:cacheprovider"],
            cwd=tree,
            env={**os.environ, "IGBOT_TEST_EXAMPLES": examples, "IGBOT_TEST_STEPS": "60"},
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
    if run.returncode == 0:
        return "green"
    errors = [line for line in run.stdout.splitlines() if "Error: " in line or line.startswith("E   ")]
    return "red: " + (errors[0].split("Error: ")[-1].strip("| E")[:80] if errors else "failed")


if __name__ == "__main__":
    raise SystemExit(main())
