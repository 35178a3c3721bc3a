"""The Dockerfile's build stage without a container engine: its steps, run in an empty folder that stands for `/`."""

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.tools import ROOT

DOCKERFILE = ROOT / "Dockerfile"
FOLDERS = ("/app", "/src", "/build", "/wheel", "/usr/local/bin/reload")


def instructions(stage: str) -> Iterator[tuple[str, str]]:
    """A stage's instructions with their arguments, comments and line ends removed."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    current = None
    for line in re.sub(r"\\\n", " ", text).splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            current = rest.rpartition(" AS ")[2] if " AS " in rest else "last"
        elif word and current == stage:
            yield word, rest.strip()


def sent_to_the_builder(path: str) -> bool:
    """Whether .dockerignore lets a path of the repository into the build; the last pattern that fits decides."""
    kept = True
    for line in (ROOT / ".dockerignore").read_text().split():
        pattern = line.removeprefix("!")
        parts = Path(path).parts
        above = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        if any(fnmatch.fnmatch(one, pattern) or fnmatch.fnmatch(f"x/{one}", pattern) for one in above):
            kept = line.startswith("!")
    return kept


def readable_python(uid: int) -> str | None:
    """A Python that a stranger may run and that can make virtual environments."""
    base = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    for candidate in (
        str(base),
        *(shutil.which(f"python3.{minor}", path="/usr/local/bin:/usr/bin") for minor in (13, 12, 11)),
    ):
        if candidate and runs_as(uid, candidate):
            return candidate
    return None


def runs_as(uid: int, python: str) -> bool:
    """Whether that user can run it."""
    user: dict[str, Any] = {} if os.getuid() else {"user": uid, "group": uid, "extra_groups": []}
    try:
        return subprocess.run([python, "-c", "import venv"], check=False, capture_output=True, **user).returncode == 0
    except OSError:
        return False


class Replay:
    """What the build stage leaves."""

    def __init__(self, root: Path, python: str) -> None:
        """Run every step; a step that fails is a CalledProcessError with its output."""
        self.root = root
        self.at = root
        self.env = {
            "PATH": f"{root}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(root / "home"),
        }
        self.env |= {
            name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "REQUESTS_"))
        }
        self.env.setdefault("PIP_RETRIES", "10")  # its home is new, so that everything is loaded anew
        (root / "bin").mkdir()
        (root / "bin" / "python").symlink_to(python)
        steps = {"ARG": self.arg, "ENV": self.env_line, "WORKDIR": self.workdir, "COPY": self.copy, "RUN": self.run}
        for word, rest in instructions("build"):
            steps[word](rest)

    def inside(self, text: str) -> str:
        """Absolute paths of the image as paths below our folder."""
        folders = "|".join(re.escape(one) for one in FOLDERS)
        return re.sub(rf"(?<![\w./-])(?=(?:{folders})(?:/|\s|$))", str(self.root), text)

    def arg(self, rest: str) -> None:
        """Build arguments come from the environment here."""

    def env_line(self, rest: str) -> None:
        """Add variables."""
        self.env |= dict(pair.split("=", 1) for pair in shlex.split(rest))

    def workdir(self, rest: str) -> None:
        """Make a folder and go there."""
        self.at = Path(self.inside(rest))
        self.at.mkdir(parents=True, exist_ok=True)

    def copy(self, rest: str) -> None:
        """Copy from the repository what .dockerignore lets through."""
        *sources, target = rest.split()
        for source in sources:
            assert sent_to_the_builder(source), f"{source} is not in the build context"
            into = self.at / target
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, into, ignore=left_out, dirs_exist_ok=True)
            else:
                into.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, into)

    def run(self, rest: str) -> None:
        """Run a step as the builder's shell would."""
        subprocess.run(
            ["/bin/sh", "-ec", self.inside(rest)], check=True, cwd=self.at, env=self.env, capture_output=True
        )


def left_out(folder: str, names: list[str]) -> set[str]:
    """What copytree leaves out, as .dockerignore says."""
    inside = Path(folder).relative_to(ROOT)
    return {name for name in names if not sent_to_the_builder(str(inside / name))}


def entrypoint(stage: str) -> list[str]:
    """A stage's entry point, which must be in exec form."""
    return json.loads(next(rest for word, rest in instructions(stage) if word == "ENTRYPOINT"))
