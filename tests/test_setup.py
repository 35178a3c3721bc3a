"""How `make setup` finds a Python, and that the locks lock."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
OLD = 'case "$2" in *"< (3, 11)"*) exit 1;; *version_info*) echo "/usr/bin/python3 is Python 3.9";; esac'
BARE = 'case "$2" in *ensurepip*) exit 1;; esac'
GOOD = 'case "$1 $2" in "-m venv") mkdir -p "$3"; echo made by "$0" > "$3/made";; esac'


@pytest.fixture
def setup(tmp_path):
    """Run .ci/venv where only the given pretend Pythons exist."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/venv", tmp_path / ".ci/venv")
    path = tmp_path / "bin"
    path.mkdir()
    for name in ("sh", "dirname", "rm", "mkdir"):
        (path / name).symlink_to(str(shutil.which(name)))

    def run(env=None, **pythons):
        for name, script in pythons.items():
            file = path / name.replace("_", ".")
            file.write_text(f"#!/bin/sh\n{script}\n")
            file.chmod(0o755)
        command = ["sh", str(tmp_path / ".ci/venv")]
        return subprocess.run(
            command, env={"PATH": str(path), **(env or {})}, capture_output=True, text=True, check=False
        )

    return run


@pytest.fixture
def made(tmp_path):
    """Where the pretend Python leaves its name."""
    return tmp_path / ".venv" / "made"


def test_no_python_is_one_clear_line(setup):
    ran = setup()
    assert ran.returncode == 1
    assert ran.stderr == (
        "igbot: no Python found. Install Python 3.11 or newer, or name it: make PYTHON=/path/to/python3.\n"
    )


def test_an_old_python_is_one_clear_line(setup):
    ran = setup(python3=OLD)
    assert ran.returncode == 1
    assert "Python 3.11 or newer is needed, and /usr/bin/python3 is Python 3.9." in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_a_python_without_venv_is_one_clear_line(setup):
    ran = setup(python3=BARE)
    assert ran.returncode == 1
    assert "has no venv module" in ran.stderr
    assert "python3-venv" in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_the_newest_python_that_fits_is_taken(setup, made):
    assert setup(python3_13=BARE, python3_12=GOOD, python3=OLD).returncode == 0
    assert "python3.12" in made.read_text()


def test_a_named_python_is_the_only_one_tried(setup, made):
    ran = setup({"PYTHON": "python3.11"}, python3_12=GOOD, python3_11=OLD)
    assert ran.returncode == 1
    assert not made.exists()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_locked_package_has_hashes_and_no_index_address(lock):
    text = lock.read_text()
    pins = re.findall(r"^[a-zA-Z0-9_.-]+==", text, re.MULTILINE)
    entries = re.split(r"^(?=[a-zA-Z0-9_.-]+==)", text, flags=re.MULTILINE)[1:]
    assert len(pins) == len(entries) > 0
    assert all("--hash=sha256:" in entry for entry in entries)
    assert not re.search(r"https?://|--index|--extra-index|--find-links|(^|\s)/", text)


@pytest.mark.parametrize("source", sorted((ROOT / "requirements").glob("*.in")), ids=lambda path: path.name)
def test_every_wanted_package_is_locked(source):
    wanted = re.findall(r"^([A-Za-z0-9_.-]+)", source.read_text(), re.MULTILINE)
    locked = {
        name.lower()
        for name in re.findall(r"^([a-zA-Z0-9_.-]+)==", source.with_suffix(".txt").read_text(), re.MULTILINE)
    }
    assert {name.lower() for name in wanted if not name.startswith("-")} <= locked


def test_one_package_has_one_version_in_all_locks():
    seen: dict[str, set[str]] = {}
    for lock in LOCKS:
        if lock.stem != "secantus":  # an environment of its own
            for name, version in re.findall(r"^([a-zA-Z0-9_.-]+)==(\S+)(?: \\| ;)?$", lock.read_text(), re.MULTILINE):
                seen.setdefault(name, set()).add(version)
    assert {name: versions for name, versions in seen.items() if len(versions) > 1} == {}


def test_generated_code_is_current():
    done = subprocess.run(["sh", ".ci/protos", "check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_make_help_names_every_target():
    # Under `make test` this make would take itself for a part of that one, and say which folder it enters.
    env = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True, env=env)
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [line.split()[1] for line in shown.stdout.splitlines()] == targets


@pytest.mark.parametrize("target", ["demo", "up"])
def test_make_passes_words_on_to_igbot_up(target):
    command = ["make", "--dry-run", "--no-print-directory", target, "ARGS=--shift 1000"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1].startswith("exec .venv/bin/igbot up")
    assert told.stdout.endswith("--shift 1000\n")
