"""The canary turns a run red when a secret, or a person's words, are printed: by a test, its child, or a log file."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOKEN = "IGAA" + "SandboxLong1"
PRINTED = {
    "a print": f"def test(): print('{TOKEN}')",
    "a child": f"import subprocess\ndef test(): subprocess.run(['echo', '{TOKEN}'])",
    "a log file": f"def test(tmp_path): (tmp_path / 'gateway.log').write_text('a {TOKEN}')",
    "a fixture's log": f"def test(tmp_path_factory): (tmp_path_factory.mktemp('x') / 'log').write_text('{TOKEN}')",
    "words": "def test(): print('she wrote: canary words')",
    "an error": "import logging\ndef test(): logging.getLogger('x').error('Question 000007?')",
}


def run(tmp_path, body, *options):
    (tmp_path / "test_one.py").write_text(body)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.canary", *options]
    command += ["--basetemp", str(tmp_path / "base"), "test_one.py"]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
    shutil.rmtree(tmp_path / "base")  # the run that this test is part of looks there too
    return done


@pytest.mark.parametrize("how", PRINTED)
def test_what_is_printed_on_purpose_turns_the_run_red(tmp_path, how):
    done = run(tmp_path, PRINTED[how])
    assert "A canary was printed" in done.stdout
    assert TOKEN not in done.stdout
    assert done.returncode == 1


def test_workers_are_watched_too(tmp_path):
    done = run(tmp_path, PRINTED["a print"] + "\n" + PRINTED["a log file"].replace("test(", "test_2("), "-n", "1")
    assert done.stdout.count("A canary was printed") == 2
    assert done.returncode == 1


def test_what_services_print_is_masked_and_green(tmp_path):
    line = f"error('x', token='{TOKEN}', why='{TOKEN}', text='canary')"
    body = f"import structlog\ndef test(): structlog.get_logger().{line}"
    done = run(tmp_path, body)
    assert "A canary" not in done.stdout
    assert done.returncode == 0
