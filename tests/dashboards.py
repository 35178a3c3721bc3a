"""The dashboards as Grafana reads them: panels and their queries, with the variables filled in."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.prometheus import NAMESPACE, RELEASE
from tests.tools import ROOT

DASHBOARDS = sorted((ROOT / "charts/igbot/files/dashboards").glob("*.json"))


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel and the legend of its series."""

    board: str
    panel: str
    expression: str
    legend: str

    def __str__(self) -> str:
        """Say which it is."""
        return f"{self.board}: {self.panel} [{self.legend}]"


def board(path: Path) -> dict[str, Any]:
    """A dashboard."""
    read: dict[str, Any] = json.loads(path.read_text())
    return read


def filled(expression: str, *, window: str = "5m", span: str = "6h") -> str:
    """A query with Grafana's variables as `service_target` labels series; `span` is the whole time that is shown."""
    variables = {"$__rate_interval": window, "$__range": span, "$namespace": NAMESPACE, "$release": RELEASE}
    for name, value in variables.items():
        expression = expression.replace(name, value)
    return expression


def queries(path: Path, **durations: str) -> list[Query]:
    """Every query of a dashboard, filled in."""
    return [
        Query(path.stem, panel["title"], filled(target["expr"], **durations), target["legendFormat"])
        for panel in board(path)["panels"]
        for target in panel.get("targets", [])
    ]
