"""Makes docs/metrics.md from what the services declare, and from the alerts and dashboards that use it.

`python -m tests.metrics_page` writes it; tests/test_metrics.py says when it is not current.
"""

import json
import re
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import version
from typing import Any

import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from tests.tools import ROOT

PAGE = ROOT / "docs/metrics.md"
FILES = ROOT / "charts/igbot/files"
SERVICES = ("gateway", "tokens", "responder")
SUFFIXES = ("_total", "_bucket", "_sum", "_count")
HEAD = """# Metrics

<!-- Made by `make metrics` from services/*/metrics.py: change it there. -->

Each service answers `/metrics` on its ops port (9090 in the chart; 9090, 9091 and 9092 of this machine with `make up`).
Every series exists from the start, so a panel shows zero and never "no data". No account, person or message id is a
label. Besides these there are Prometheus' own `process_…`: memory, CPU, open files (on Linux).

A gauge that says *store-wide* is exported by every replica with the same meaning: read it with `max()`, never `sum()`.
Counters and histograms are each process's own: read them with `sum(rate(…))`.

The label `class` says how a request or a call ended:

| class | means |
|---|---|
| `ok` | answered as it should be |
| `refused` | answered: the caller, or what was asked for, is at fault (4xx, NOT_FOUND, a dead token) |
| `limited` | answered: too many (429, RESOURCE_EXHAUSTED, Graph's limits) |
| `slow` | no answer in time |
| `down` | not reached, or said to be unavailable (503, UNAVAILABLE) |
| `failed` | any other error (5xx, INTERNAL, a broken connection, an answer that cannot be read) |
| `left` | whoever asked did not wait for the end |
"""


def families(service: str) -> list[Metric]:
    """Everything that a service declares, as it is before anything has happened."""
    registry = CollectorRegistry()
    import_module(f"services.{service}.compose").declare(registry)
    return [family for family in registry.collect() if not family.name.startswith("process_")]


def name_of(family: Metric) -> str:
    """The name that a query uses; a histogram's without its suffixes."""
    return f"{family.name}_total" if family.type == "counter" else str(family.name)


def labels_of(family: Metric) -> dict[str, list[str]]:
    """Each label and its values, in the order in which they were declared."""
    found: dict[str, dict[str, None]] = {}
    for sample in family.samples:
        for label, value in sample.labels.items():
            if label != "le":
                found.setdefault(label, {})[value] = None
    return {label: list(values) for label, values in found.items()}


def base(series: str) -> str:
    """The metric of a series in a query: a histogram's and a counter's own name."""
    return re.sub("_(bucket|sum|count)$", "", series)


def used(expressions: Iterable[str]) -> set[str]:
    """The metrics that queries name."""
    return {base(one) for text in expressions for one in re.findall(r"\bigbot_\w+", text)}


def users() -> dict[str, list[str]]:
    """Each metric and where it is looked at: alerts by name, dashboards by their panels."""
    found: dict[str, list[str]] = {}
    for rule in alerts():
        for metric in sorted(used([rule["expr"]])):
            found.setdefault(metric, []).append(f"alert {rule['alert']}")
    for path in sorted((FILES / "dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        expressions = [one["expr"] for panel in board["panels"] for one in panel.get("targets", [])]
        for metric in sorted(used(expressions)):
            found.setdefault(metric, []).append(f"dashboard {path.stem}")
    return found


def alerts() -> list[dict[str, Any]]:
    """The chart's alert rules."""
    groups = yaml.safe_load((FILES / "alerts/igbot.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def table(rows: Iterable[Metric], seen: dict[str, list[str]]) -> str:
    """A table of metrics."""
    lines = ["| metric | kind | labels | means | seen in |", "|---|---|---|---|---|"]
    for family in rows:
        labels = "; ".join(f"{label}: {listed(values)}" for label, values in labels_of(family).items())
        places = ", ".join(seen.get(name_of(family), []))
        lines.append(f"| `{name_of(family)}` | {family.type} | {labels} | {family.documentation} | {places} |")
    return "\n".join(lines)


def listed(values: list[str]) -> str:
    """Label values in one cell; the version is another tomorrow."""
    if values == [version("igbot")]:
        return "this one's"
    return ", ".join(f"`{value}`" for value in values)


def page() -> str:
    """The whole page."""
    seen = users()
    parts = [f"## {service.capitalize()}\n\n{table(families(service), seen)}\n" for service in SERVICES]
    return "\n".join([HEAD, *parts])


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE.relative_to(ROOT)}")
