"""The ops port of each service: /healthz, /readyz, /metrics. Kubelet and Prometheus call it, the world never does."""

from __future__ import annotations

from collections.abc import Iterable

import tornado.httpserver
import tornado.web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from services.common.listening import listen
from services.common.metrics import CommonMetrics, Dependency
from services.common.settings import Address
from services.common.traffic import ANSWERED, Ending, Target, Traffic

BEHIND = {
    Target.TOKENS: Dependency.TOKENS,
    Target.RESPONDER: Dependency.RESPONDER,
    Target.MODEL: Dependency.MODEL,
    Target.OAUTH: Dependency.GRAPH,
    Target.GRAPH_TOKEN: Dependency.GRAPH,
    Target.GRAPH_SUBSCRIPTION: Dependency.GRAPH,
    Target.GRAPH_SEND: Dependency.GRAPH,
    Target.GRAPH_ACTION: Dependency.GRAPH,
    Target.GRAPH_READ: Dependency.GRAPH,
}
"""What fails when a call fails; the operator's own addresses are nobody's dependency."""


class Health:
    """What a service knows of itself and its dependencies.

    It is ready from the first success against each of its own stores until it is told to stop; a dependency that
    fails in between is reported and changes nothing, since an unready pod helps nobody.
    """

    def __init__(self, metrics: CommonMetrics, own: Iterable[Dependency]) -> None:
        """Wait for the first success of each of `own`."""
        self.metrics = metrics
        self.waiting = set(own)
        self.stopping = False
        self.checks: dict[str, str] = {str(name): "not yet reached" for name in self.waiting}

    def report(self, dependency: Dependency, *, up: bool, why: str = "") -> None:
        """Note whether a dependency answers."""
        self.metrics.dependency_up.labels(dependency).set(1 if up else 0)
        self.checks[dependency] = "ok" if up else why or "failing"
        if up:
            self.waiting.discard(dependency)

    def listen(self, calls: Traffic) -> None:
        """Learn from a service's calls whether those whom it calls answer; before the first call they count as up."""
        for dependency in {BEHIND[Target(one)] for one in calls.times if one in BEHIND}:
            self.report(dependency, up=True)
        calls.heard = self.hear

    def hear(self, target: str, ending: Ending) -> None:
        """Note how a call ended; one that was given up by ourselves tells nothing."""
        dependency = BEHIND.get(Target(target))
        if dependency is None or ending is Ending.LEFT:
            return
        found = "ok" if ending in ANSWERED else f"{target}: {ending}"
        if self.checks.get(dependency) != found:
            self.report(dependency, up=ending in ANSWERED, why=found)

    def note(self, check: str, found: str) -> None:
        """Show one more line in /readyz, for people."""
        self.checks[check] = found

    @property
    def ready(self) -> bool:
        """Whether requests may be sent here."""
        return not self.waiting and not self.stopping


class Healthz(tornado.web.RequestHandler):
    """200 while the loop turns."""

    def get(self) -> None:
        """Answer, which is the proof."""
        self.write({"status": "ok"})


class Readyz(tornado.web.RequestHandler):
    """200 while requests may be sent here, with what each dependency does."""

    def initialize(self, health: Health) -> None:
        """Keep the health to report."""
        self.health = health

    def get(self) -> None:
        """Answer 503 before the first success against the service's own store and while it stops."""
        self.set_status(200 if self.health.ready else 503)
        self.write(
            {
                "ready": self.health.ready,
                "stopping": self.health.stopping,
                "checks": self.health.checks,
            }
        )


class Metrics(tornado.web.RequestHandler):
    """Prometheus' text format."""

    def initialize(self, registry: CollectorRegistry) -> None:
        """Keep the registry to print."""
        self.registry = registry

    def get(self) -> None:
        """Print every metric."""
        self.set_header("Content-Type", CONTENT_TYPE_PLAIN_0_0_4)
        self.write(generate_latest(self.registry))


class OpsServer:
    """The small HTTP server behind the ops port; `port` is the bound one."""

    def __init__(self, address: Address, health: Health, registry: CollectorRegistry) -> None:
        """Bind and serve at once: probes come before anything else works."""
        application = tornado.web.Application(
            [
                ("/healthz", Healthz),
                ("/readyz", Readyz, {"health": health}),
                ("/metrics", Metrics, {"registry": registry}),
            ],
            log_function=lambda _: None,  # probes come every second; their 503 is an answer, not a fault
        )
        self.server = tornado.httpserver.HTTPServer(application)
        sockets = listen(address)
        self.server.add_sockets(sockets)
        self.port = int(sockets[0].getsockname()[1])

    def close(self) -> None:
        """Stop listening."""
        self.server.stop()
