"""A real Prometheus for a test: it scrapes what it is told, on a free loopback port, its data in a folder.

`sped_up` makes the chart's rules fit a test of seconds; that their true durations are right is promtool's to say.
"""

import json
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.ports import free_port
from tests.tools import ROOT, need

RULES = ROOT / "charts/igbot/files/alerts/igbot.yaml"
NAMESPACE, RELEASE, RUNBOOKS = "demo", "igbot", "https://example.com/operations.md"
START_SECONDS = 30.0
UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000}
DURATION = r"(?:\d+(?:ms|[smhdwy]))+"
WINDOW = re.compile(rf"\[({DURATION})(?::({DURATION})?)?\]|\boffset\s+(-?{DURATION})")
WAITS = {"for", "keep_firing_for"}
Labels = dict[str, str]


@dataclass(frozen=True, slots=True)
class Target:
    """One address to scrape, `host:port`, and the labels that its series get."""

    address: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that Prometheus holds: `pending` or `firing`."""

    name: str
    state: str
    labels: Labels
    annotations: Labels


def service_target(component: str, address: str, namespace: str = NAMESPACE, release: str = RELEASE) -> Target:
    """A service of igbot with the labels that the chart's ServiceMonitor gives it, as the rules want them."""
    return Target(address, {"namespace": namespace, "service": f"{release}-{component}", "pod": f"{component}-0"})


class Prometheus:
    """A running server: ask it by `query`, `query_range`, `alerts` and `rules`."""

    def __init__(self, folder: Path, port: int) -> None:
        """Know where it keeps its things and listens; `prometheus` starts it."""
        self.folder, self.port = folder, port
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and return once it takes queries."""
        flags = [
            f"--config.file={self.folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        ]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([need("prometheus"), *flags], stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Prometheus did not start:\n{(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def is_ready(self) -> bool:
        """Whether it takes queries."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def query(self, expression: str) -> list[tuple[Labels, float]]:
        """What an expression is now: labels and value of each series; a scalar is one series without labels.

        Raises ValueError with Prometheus' words where the expression is wrong.
        """
        data = self._get("query", query=expression)
        rows = [{"metric": {}, "value": data["result"]}] if data["resultType"] == "scalar" else data["result"]
        return [(row["metric"], float(row["value"][1])) for row in rows]

    def query_range(
        self, expression: str, start: float, end: float, step: float
    ) -> list[tuple[Labels, list[tuple[float, float]]]]:
        """What an expression was: labels and (Unix time, value) points of each series."""
        data = self._get("query_range", query=expression, start=start, end=end, step=step)
        return [(row["metric"], [(at, float(value)) for at, value in row["values"]]) for row in data["result"]]

    def alerts(self) -> list[Alert]:
        """The alerts that are pending or firing."""
        rows = self._get("alerts")["alerts"]
        return [Alert(row["labels"]["alertname"], row["state"], row["labels"], row["annotations"]) for row in rows]

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        return {alert.name for alert in self.alerts() if alert.state == "firing"}

    def rules(self) -> list[dict[str, Any]]:
        """Every rule as Prometheus sees it, with `health` and `lastError`."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def targets(self) -> dict[str, str]:
        """The health of each address that it scrapes: `up`, `down` or `unknown`."""
        return {row["labels"]["instance"]: row["health"] for row in self._get("targets")["activeTargets"]}

    def _get(self, path: str, **arguments: object) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(f"{json.load(error)['error']} in {arguments}") from error


@contextmanager
def prometheus(
    folder: Path,
    targets: Sequence[Target],
    *,
    scrape_seconds: float = 0.5,
    rules: str | None = None,
    evaluate_seconds: float = 0.5,
) -> Iterator[Prometheus]:
    """A running Prometheus that scrapes the targets and evaluates the rules (a rule file's text); ended at the end.

    The test that asks for it skips, or fails in the gate, where no Prometheus is installed.
    """
    need("prometheus")
    folder.mkdir(parents=True, exist_ok=True)
    static = [{"targets": [target.address], "labels": dict(target.labels)} for target in targets]
    config: dict[str, Any] = {
        "global": {
            "scrape_interval": duration(scrape_seconds * 1000),
            "scrape_timeout": duration(scrape_seconds * 1000),
            "evaluation_interval": duration(evaluate_seconds * 1000),
        },
        "scrape_configs": [{"job_name": "igbot", "static_configs": static}],
    }
    if rules is not None:
        (folder / "rules.yaml").write_text(rules)
        config["rule_files"] = [str(folder / "rules.yaml")]
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    server = Prometheus(folder, free_port())
    try:
        server.start()
        yield server
    finally:
        server.stop()


def chart_rules(namespace: str = NAMESPACE, release: str = RELEASE) -> str:
    """The chart's rules with its placeholders filled in, as `service_target` labels the series."""
    text = RULES.read_text()
    for name, value in {"NAMESPACE": namespace, "FULLNAME": release, "RUNBOOKS": RUNBOOKS}.items():
        text = re.sub(rf"\b{name}\b", value, text)
    return text


def sped_up(rules: str, factor: float) -> str:
    """The rules with each `for`, range, subquery step and offset divided by the factor; thresholds stay as they are."""
    whole = yaml.safe_load(rules)
    for rule in (rule for group in whole["groups"] for rule in group["rules"]):
        rule["expr"] = sped_up_expression(rule["expr"], factor)
        for wait in rule.keys() & WAITS:
            rule[wait] = divided(str(rule[wait]), factor)
    return yaml.safe_dump(whole, sort_keys=False, width=1000)


def sped_up_expression(expression: str, factor: float) -> str:
    """An expression with each of its windows and offsets divided by the factor."""
    return WINDOW.sub(lambda hit: re.sub(DURATION, lambda one: divided(one[0], factor), hit[0]), expression)


def divided(text: str, factor: float) -> str:
    """A duration as Prometheus writes it, divided: `5m` by 60 is `5s`."""
    parts = re.findall(r"(\d+)(ms|[smhdwy])", text)
    return duration(sum(int(count) * UNITS[unit] for count, unit in parts) / factor)


def duration(milliseconds: float) -> str:
    """Milliseconds as Prometheus writes them, at least one; `0s` stays."""
    whole = max(1, round(milliseconds)) if milliseconds else 0
    return f"{whole // 1000}s" if whole % 1000 == 0 else f"{whole}ms"
