"""A cluster and its tools: the given one, or one of kind's that lives as long as the run."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.tools import ROOT, find

NAMESPACE = "igbot-e2e"
KIND = "igbot-e2e"


class Failed(Exception):
    """A step did not do what it should; the message goes into the table."""


class Cluster:
    """kubectl, helm and an image, bound to one cluster and one namespace."""

    def __init__(self, kubeconfig: str, image: str) -> None:
        """Use the given cluster, or make one with kind."""
        self.ours = not kubeconfig
        self.image = image or "igbot:e2e"
        self.env = dict(os.environ)
        self.helm_path = find(os.environ.get("HELM", "helm")) or sys_exit("helm is missing: make tools")
        if self.ours:
            self._make(build=not image)
        self.about = self.kubectl("version", "-o", "json", namespaced=False)

    def _make(self, *, build: bool) -> None:
        # A file of its own: the user's current context stays what it was.
        self.env["KUBECONFIG"] = str(Path(tempfile.mkdtemp(prefix="igbot-e2e-")) / "kubeconfig")
        for tool in ("docker", "kind", "kubectl"):
            if shutil.which(tool) is None:
                sys_exit(f"{tool} is missing; or give KUBECONFIG and IMAGE")
        if build:
            self.call("docker", "build", "--tag", self.image, str(ROOT))
        self.call("kind", "create", "cluster", "--name", KIND, "--wait", "120s")
        self.call("kind", "load", "docker-image", self.image, "--name", KIND)

    def close(self) -> None:
        """Remove what was made here."""
        if self.ours:
            self.call("kind", "delete", "cluster", "--name", KIND)

    @property
    def tag(self) -> tuple[str, str]:
        """The image's repository and tag."""
        repository, _, tag = self.image.rpartition(":")
        return repository, tag

    def call(self, *command: str, stdin: str | None = None, timeout: float = 600) -> str:
        """Run a command; what it says on failure is the Failed's message."""
        try:
            done = subprocess.run(
                command, input=stdin, capture_output=True, text=True, env=self.env, timeout=timeout, check=False
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"{' '.join(command[:4])} took more than {timeout:.0f} s") from None
        if done.returncode:
            raise Failed(f"{' '.join(command[:6])}: {(done.stderr or done.stdout).strip()[-600:]}".replace("\n", " "))
        return done.stdout

    def kubectl(self, *arguments: str, namespaced: bool = True, stdin: str | None = None, timeout: float = 600) -> str:
        """Run kubectl in our namespace."""
        where = ("--namespace", NAMESPACE) if namespaced else ()
        return self.call("kubectl", *where, *arguments, stdin=stdin, timeout=timeout)

    def helm(self, *arguments: str, timeout: float = 600) -> str:
        """Run helm in our namespace."""
        return self.call(self.helm_path, "--namespace", NAMESPACE, *arguments, timeout=timeout)

    def items(self, kind: str, selector: str) -> list[dict[str, Any]]:
        """Objects by label."""
        items: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, "-l", selector, "-o", "json"))["items"]
        return items

    def client(self, *arguments: str, timeout: float = 900) -> dict[str, Any]:
        """Run the client inside the cluster; its last line is its result."""
        said = self.kubectl("exec", "e2e-client", "--", "python", "/e2e/client.py", *arguments, timeout=timeout)
        result: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
        return result


def sys_exit(why: str) -> str:
    """End the program: there is nothing to try."""
    raise SystemExit(f"e2e: {why}")
