"""What the metrics of all services share. The naming rule is `igbot_<noun>_<verb>_<unit>`.

Label values are closed enums and exist from the start, so a dashboard shows zero and never "no data". No account,
person or message id is ever a label. Each service declares its own in its `metrics.py`, on its own registry.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, disable_created_metrics

# A third more series, which say when a counter was made: Prometheus has that from `up`.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Dependency(StrEnum):
    """What a service needs and does not own."""

    REDIS = "redis"
    DATABASE = "database"
    KEYRING = "keyring"
    TOKENS = "tokens"
    RESPONDER = "responder"
    GRAPH = "graph"
    MODEL = "model"


def counter(registry: CollectorRegistry, name: str, text: str, label: str, values: Iterable[str]) -> Counter:
    """Make a counter with one label whose every value starts at zero."""
    made = Counter(name, text, [label], registry=registry)
    for value in values:
        made.labels(str(value))
    return made


def gauge(registry: CollectorRegistry, name: str, text: str, label: str, values: Iterable[str]) -> Gauge:
    """Make a gauge with one label whose every value starts at zero."""
    made = Gauge(name, text, [label], registry=registry)
    for value in values:
        made.labels(str(value))
    return made


class CommonMetrics:
    """What each service says of itself: its build and what it depends on."""

    def __init__(self, registry: CollectorRegistry, dependencies: Iterable[Dependency]) -> None:
        """Declare the metrics for the given dependencies."""
        ProcessCollector(registry=registry)
        self.build = Gauge(
            "igbot_build_info",
            "Always 1; the version is the label.",
            ["version"],
            registry=registry,
        )
        self.build.labels(version("igbot")).set(1)
        self.dependency_up = gauge(
            registry,
            "igbot_dependency_up",
            "1 while the dependency answers; one that is only called and never probed counts as up until a call fails.",
            "dependency",
            dependencies,
        )
        self.certificate_expiry = Gauge(
            "igbot_certificate_expiry_seconds",
            "Least life left of the certificates in GRPC_TLS_DIR, negative once they ran out; +Inf without TLS.",
            registry=registry,
        )
        self.certificate_expiry.set(float("inf"))
