"""Takes the ledger's conditions out, one at a time, and shows what turns red.

`python -m tests.responder.mutations [words]` prints the table of tests/README.md, or the rows whose condition holds
the words; it takes some minutes in all and is no part of `make test`. Each row is a copy of the tree with one condition
taken out. A condition that is a second lock, behind another that says the same, does not turn the state machine red:
its row names the test that reaches it directly.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.responder.mutations_list import MUTATIONS

ROOT = Path(__file__).resolve().parents[2]
RULES = Path("services/responder")
MACHINE = "tests/responder/test_machine.py"
EXAMPLES = os.environ.get("IGBOT_TEST_EXAMPLES", "150")


def main() -> int:
    """Run the mutations; 1 when a condition can be taken out and nothing turns red, 2 when one is not found."""
    words = " ".join(sys.argv[1:])
    exact = [one for one in MUTATIONS if one.condition == words]
    wanted = exact or [one for one in MUTATIONS if words in one.condition]
    lost = [f"{one.condition}: {text!r}" for one in wanted for text, _ in one.changes if len(places(ROOT, text)) != 1]
    if lost:
        print("These lines are gone, or stand in more than one place:", *lost, sep="\n")
        return 2
    survived = 0
    print(f"| condition taken out | file | state machine, {EXAMPLES} examples | another test |\n|---|---|---|---|")
    for one in wanted:
        files, machine, direct = verdict(one)
        survived += "red" not in machine + direct
        print(f"| {one.condition} | {files} | {machine} | {direct} |", flush=True)
    return 1 if survived else 0


def places(tree: Path, text: str) -> list[Path]:
    """Return the files of the responder's rules with this text, each as often as it stands there."""
    return [path for path in sorted((tree / RULES).glob("*.py")) for _ in range(path.read_text().count(text))]


def verdict(mutation) -> tuple[str, str, str]:
    """Return where the condition was, and what the machine and, if that stays green, the other test say."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        for name in ("services", "tests"):
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", ".env.example"):
            shutil.copy(ROOT / name, tree / name)
        files = []
        for old, new in mutation.changes:
            path = places(tree, old)[0]
            path.write_text(path.read_text().replace(old, new))
            files += [path.name] if path.name not in files else []
        machine = says(tree, MACHINE)
        if machine != "green" or not mutation.also:
            return ", ".join(files), machine, ""
        direct = says(tree, f"tests/responder/{mutation.also}")
        return ", ".join(files), f"green: {mutation.why}", f"{direct.split(':')[0]}: `{mutation.also.split('::')[-1]}`"


def says(tree: Path, test: str) -> str:
    """Run a test in this tree; return "green", or "red" with the first thing that was found wrong."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not long", test, "-p", "no:cacheprovider"],
        cwd=tree,
        env={**os.environ, "IGBOT_TEST_EXAMPLES": EXAMPLES},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    if run.returncode == 0:
        return "green"
    if run.returncode != 1:
        return f"not run: pytest ended with {run.returncode}"
    found = re.search(r"^E +(?:AssertionError: )?(.+)$", run.stdout, re.MULTILINE)
    return "red: " + (found[1][:70].split("|")[0] if found else "failed")


if __name__ == "__main__":
    raise SystemExit(main())
