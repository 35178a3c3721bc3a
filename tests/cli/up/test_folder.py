import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from services.cli.problem import Problem
from services.cli.up import folder


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("", "var"),
        ("sqlite:///var", "var"),
        ("sqlite:////data", "/data"),
        ("sqlite:///a/b", "a/b"),
        ("mongodb://host/igbot", "var"),
        ("nonsense", "var"),
    ],
)
def test_data_lies_where_the_database_url_says(url, path):
    assert folder.data_folder(url) == Path(path)


def test_the_folder_is_made_for_its_owner_alone(tmp_path):
    folder.open_folder(tmp_path / "deep" / "var")
    assert stat.S_IMODE((tmp_path / "deep" / "var").stat().st_mode) == 0o700


@pytest.mark.parametrize("inside", ["", "below"])
def test_a_file_in_its_place_is_one_clear_line(tmp_path, inside):
    (tmp_path / "var").write_text("not a folder")
    with pytest.raises(Problem, match=rf"{tmp_path}/var is a file.*move it away"):
        folder.open_folder(tmp_path / "var" / inside)


def test_a_folder_that_cannot_be_written_is_one_clear_line():
    with pytest.raises(Problem, match=r"cannot write in /proc/igbot: .*DATABASE_URL"):
        folder.open_folder(Path("/proc/igbot"))


def test_two_do_not_run_on_one_folder(tmp_path):
    os.close(folder.lock_folder(tmp_path))
    held = folder.lock_folder(tmp_path)
    folder.write_running(tmp_path, {})
    with pytest.raises(Problem, match=f"runs already on .*process {os.getpid()}"):
        folder.lock_folder(tmp_path)
    os.close(held)


def test_what_a_killed_one_left_behind_is_waited_for(tmp_path):
    held = folder.lock_folder(tmp_path)
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=[held]
    )
    os.close(held)
    waiting = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, pathlib; from services.cli.up import folder; folder.lock_folder(pathlib.Path(sys.argv[1]))",
            str(tmp_path),
        ]
    )
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(1)
    child.communicate()
    assert waiting.wait(10) == 0


def test_what_runs_is_told_to_the_owner_alone(tmp_path):
    folder.write_running(tmp_path, {"REDIS_URL": "redis://:secret@127.0.0.1:1/0"})
    assert stat.S_IMODE((tmp_path / folder.RUNNING).stat().st_mode) == 0o600
    assert folder.running(tmp_path) == {"pid": str(os.getpid()), "REDIS_URL": "redis://:secret@127.0.0.1:1/0"}


def test_what_no_longer_runs_is_not_believed(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / folder.RUNNING).write_text(f'{{"pid": "{ended.pid}"}}')
    assert folder.running(tmp_path) is None


def test_what_has_stopped_is_forgotten(tmp_path):
    folder.write_running(tmp_path, {})
    folder.forget_running(tmp_path)
    assert folder.running(tmp_path) is None
