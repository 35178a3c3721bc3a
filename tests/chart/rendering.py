"""Charts as helm renders them, each combination once."""

import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.tools import ROOT, need

CHARTS = ROOT / "charts"
IGBOT = CHARTS / "igbot"
DEV = CHARTS / "igbot-dev"
COMPONENTS = ("gateway", "tokens", "responder")
OLDEST, NEWEST = "1.30.0", "1.37.0"
MINIMAL = "ci/minimal-values.yaml"
FULL = "ci/full-values.yaml"
ON_DEV = {"ci/hot-reload-values.yaml", "ci/debug-values.yaml"}  # deltas on top of values-dev.yaml
NAMES = [str(path.relative_to(IGBOT)) for path in sorted(IGBOT.glob("ci/*-values.yaml"))]
SCENARIOS = [*NAMES, "values-dev.yaml", "values-prod.example.yaml"]


class Chart:
    """What a chart made of some values."""

    def __init__(self, text: str) -> None:
        """Read the objects; the notes are not among them."""
        self.text = text
        self.objects: list[dict[str, Any]] = [one for one in yaml.load_all(text, yaml.CSafeLoader) if one]

    def all(self, kind: str) -> list[dict[str, Any]]:
        """Every object of a kind."""
        return [one for one in self.objects if one["kind"] == kind]

    def one(self, kind: str, name: str) -> dict[str, Any]:
        """The object of that name; the name may leave the release's prefix out."""
        return next(one for one in self.all(kind) if one["metadata"]["name"] in {name, f"igbot-{name}"})

    def pod(self, component: str) -> dict[str, Any]:
        """A component's pod spec; the smoke test's too."""
        if component == "smoke":
            return self.one("Pod", component)["spec"]
        return self.one("Deployment", component)["spec"]["template"]["spec"]

    def container(self, component: str) -> dict[str, Any]:
        """A component's one container."""
        [container] = self.pod(component)["containers"]
        return container

    def config(self, component: str) -> dict[str, str]:
        """The variables that come from its ConfigMap."""
        return self.one("ConfigMap", component)["data"]

    def secret_env(self, component: str) -> dict[str, tuple[str, str]]:
        """The variables that come from Secrets: the Secret's name and key."""
        rows = self.container(component)["env"]
        refs = {row["name"]: row["valueFrom"]["secretKeyRef"] for row in rows if "valueFrom" in row}
        return {name: (ref["name"], ref["key"]) for name, ref in refs.items()}

    def secret_files(self, component: str) -> set[str]:
        """The Secrets that are mounted."""
        return {one["secret"]["secretName"] for one in self.pod(component)["volumes"] if "secret" in one}

    def pods(self) -> Iterator[dict[str, Any]]:
        """Every pod spec there is."""
        for one in self.objects:
            if one["kind"] == "Pod":
                yield one["spec"]
            elif one["kind"] in {"Deployment", "StatefulSet", "Job"}:
                yield one["spec"]["template"]["spec"]


def values_files(scenario: str) -> tuple[str, ...]:
    """The values files of a scenario, in order."""
    return ("values-dev.yaml", scenario) if scenario in ON_DEV else (scenario,)


@cache
def render(
    *values: str,
    sets: tuple[str, ...] = (),
    release: str = "igbot",
    namespace: str = "prod",
    kube: str = NEWEST,
    helm: str = "helm",
    chart: Path = IGBOT,
) -> Chart:
    """Render a chart with values files of its own folder and `--set` arguments."""
    done = template(*values, sets=sets, release=release, namespace=namespace, kube=kube, helm=helm, chart=chart)
    assert done.returncode == 0, done.stderr
    return Chart(done.stdout)


def template(
    *values: str, sets: tuple[str, ...], release: str, namespace: str, kube: str, helm: str, chart: Path
) -> subprocess.CompletedProcess[str]:
    """Run `helm template`."""
    files = [argument for name in values for argument in ("--values", str(chart / name))]
    changes = [argument for one in sets for argument in ("--set", one)]
    command = [need(helm), "template", release, str(chart), "--namespace", namespace, "--kube-version", kube]
    return subprocess.run([*command, *files, *changes], capture_output=True, text=True, check=False)


def scenario(name: str, **how: Any) -> Chart:
    """Render one of the ci scenarios."""
    return render(*values_files(name), **how)


def refusal(*values: str, sets: tuple[str, ...] = ()) -> str:
    """What helm says when it refuses these values."""
    how: dict[str, Any] = {"release": "igbot", "namespace": "prod", "kube": NEWEST, "helm": "helm", "chart": IGBOT}
    done = template(*values, sets=sets, **how)
    assert done.returncode != 0, "helm rendered it"
    return done.stderr


def values_of(chart: Path = IGBOT, name: str = "values.yaml") -> dict[str, Any]:
    """A values file, read."""
    return yaml.safe_load((chart / name).read_text())


def paths(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Every dotted path of a values tree, leaves and branches."""
    for key, value in values.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from paths(value, f"{prefix}{key}.")


def camel(variable: str) -> str:
    """QUIET_SECONDS as the chart's values call it: quietSeconds."""
    first, *rest = variable.lower().split("_")
    return first + "".join(word.capitalize() for word in rest)
