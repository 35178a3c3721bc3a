"""What `make e2e` does, step by step; each returns what it found or raises Failed."""

import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.e2e import certificates
from tests.e2e.cluster import NAMESPACE, Cluster, Failed
from tests.tools import ROOT

Step = tuple[str, Callable[[], str]]
HERE = ROOT / "tests/e2e"
RELEASE = "app.kubernetes.io/instance=igbot"
COMPONENTS = ("gateway", "tokens", "responder")


class Steps:
    """One run on one cluster."""

    def __init__(self, cluster: Cluster, *, rate: float, plain: float) -> None:
        """While things roll and die, deliver so many messages a second to answer, and so many that nobody answers."""
        self.cluster = cluster
        self.rates = (str(rate), str(plain))
        self.outcome: dict[str, object] = {}
        self.loading: threading.Thread | None = None
        self.began = 0.0

    def install(self) -> Iterator[Step]:
        """What everything else needs."""
        yield "namespace that enforces restricted", self.namespace
        yield "stores-down: igbot installed before its stores", self.stores_down
        yield "stores arrive: igbot-dev installed", self.stores_arrive
        yield "helm-test", self.helm_test
        yield "connect an account by OAuth", self.connect

    def prove(self) -> Iterator[Step]:
        """What it is for."""
        yield "chat", lambda: self.chat("installed")
        yield "roll every deployment under load", self.roll
        yield "kill a pod of each under load", self.kill
        yield "load ends: nothing lost, nothing doubled", self.settle
        yield "upgrade", self.upgrade
        yield "upgrade to mutual TLS", self.mutual_tls
        yield "rollback", self.rollback
        yield "no container restarted by itself", self.restarts

    def namespace(self) -> str:
        """A fresh one, so that nothing is left of another run."""
        self.cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait", namespaced=False)
        self.cluster.kubectl("create", "namespace", NAMESPACE, namespaced=False)
        enforce = "pod-security.kubernetes.io/enforce=restricted"
        self.cluster.kubectl("label", "namespace", NAMESPACE, enforce, namespaced=False)
        server = json.loads(self.cluster.about)["serverVersion"]["gitVersion"]
        return f"Kubernetes {server}, image {self.cluster.image}"

    def _igbot(self, verb: str, *more: str) -> None:
        repository, tag = self.cluster.tag
        files = ("--values", str(ROOT / "charts/igbot/values-dev.yaml"), "--values", str(HERE / "values.yaml"))
        image = ("--set", f"image.repository={repository}", "--set-string", f"image.tag={tag}")
        self.cluster.helm(verb, "igbot", str(ROOT / "charts/igbot"), *files, *image, *more)

    def stores_down(self) -> str:
        """Without Redis and MongoDB the pods run, are not ready, and nothing restarts them."""
        self._igbot("install")
        # Longer than a liveness probe takes to give up on a container (15 s x 4).
        time.sleep(75)
        pods = self.cluster.items("pods", RELEASE)
        states = [status for pod in pods for status in pod["status"]["containerStatuses"]]
        running = sum("running" in one["state"] for one in states)
        ready, restarts = sum(one["ready"] for one in states), sum(one["restartCount"] for one in states)
        found = f"after 75 s {running} of {len(states)} run, {ready} ready, {restarts} restarts"
        if running < 6 or ready or restarts:
            raise Failed(found)
        return found

    def stores_arrive(self) -> str:
        """With the stores there, everything becomes ready by itself."""
        repository, tag = self.cluster.tag
        values = {
            "sandbox.image.repository": repository,
            "sandbox.image.tag": tag,
            "sandbox.redirectUri": "http://igbot-gateway:8080/oauth/callback",
            "valkey.resources.requests.cpu": "300m",
        }
        sets = [argument for name, value in values.items() for argument in ("--set-string", f"{name}={value}")]
        chart = str(ROOT / "charts/igbot-dev")
        self.cluster.helm("install", "igbot-dev", chart, *sets, "--wait", "--timeout", "5m")
        began = time.monotonic()
        for component in COMPONENTS:
            self._rolled_out(component)
        return f"all ready {time.monotonic() - began:.0f} s after the stores"

    def _rolled_out(self, component: str) -> None:
        self.cluster.kubectl("rollout", "status", f"deployment/igbot-{component}", "--timeout=240s")

    def helm_test(self) -> str:
        """The chart's own test, in the namespace's rules."""
        said = self.cluster.helm("test", "igbot", "--logs", "--timeout", "3m")
        return "Succeeded" if "Succeeded" in said else said[-300:]

    def connect(self) -> str:
        """From a pod: the owner's way through /connect, the sandbox's question and the callback."""
        self.cluster.kubectl("create", "configmap", "e2e-client", f"--from-file={HERE / 'client.py'}")
        pod = (HERE / "client.yaml").read_text().replace("IMAGE", self.cluster.image, 1)
        self.cluster.kubectl("apply", "-f", "-", stdin=pod)
        self.cluster.kubectl("wait", "--for=condition=Ready", "pod/e2e-client", "--timeout=120s")
        done = self.cluster.client("connect")
        if not done["ok"]:
            raise Failed(f"the callback answered {done['status']}")
        return "the callback answered 200"

    def chat(self, word: str) -> str:
        """A customer writes and is answered."""
        done = self.cluster.client("chat", f"hello {word} {time.time_ns()}")
        if not done["ok"]:
            raise Failed(f"no answer in {done['seconds']} s")
        return f"answered after {done['seconds']} s"

    def roll(self) -> str:
        """Load from a pod, while each deployment is replaced."""
        self.loading = threading.Thread(target=self._load)
        self.loading.start()
        self.began = time.monotonic()
        time.sleep(5)
        done = []
        for component in COMPONENTS:
            self.cluster.kubectl("rollout", "restart", f"deployment/igbot-{component}")
            self._rolled_out(component)
            done.append(f"{component} until {time.monotonic() - self.began:.0f} s")
        return ", ".join(done)

    def _load(self) -> None:
        try:
            self.outcome = self.cluster.client("load", *self.rates, timeout=1800)
        except Failed as failure:
            self.outcome = {"failed": str(failure)}

    def kill(self) -> str:
        """End a pod of each without asking it."""
        done = []
        for component in COMPONENTS:
            name = min(name for name in self._pods() if name.startswith(f"igbot-{component}-"))
            at = time.monotonic() - self.began
            self.cluster.kubectl("delete", "pod", name, "--grace-period=0", "--force")
            # Long enough for others to notice: the dispatcher's lease is 5 s, a conversation's 6 s.
            time.sleep(15)
            self._rolled_out(component)
            done.append(f"{component} at {at:.0f} s")
        return f"grace 0: {', '.join(done)}"

    def settle(self) -> str:
        """Every delivery was answered 200, and every customer got one reply."""
        self.cluster.kubectl("exec", "e2e-client", "--", "touch", "/tmp/stop")
        if self.loading:
            self.loading.join()
        counted = self.cluster.client("settle", "240")
        found = ", ".join(f"{key} {value or 0}" for key, value in {**self.outcome, **counted}.items())
        if (
            "failed" in self.outcome
            or self.outcome.get("other than 200")
            or counted["refused"]
            or counted["lost"]
            or counted["doubled"]
        ):
            raise Failed(found)
        return found

    def upgrade(self) -> str:
        """A changed setting rolls only the service that reads it, and the bot still answers."""
        before = self._pods()
        self._igbot("upgrade", "--set", "config.responder.maxParts=2", "--wait", "--timeout", "5m")
        replaced = {name.rsplit("-", 2)[0] for name in before - self._pods()}
        if replaced != {"igbot-responder"}:
            raise Failed(f"replaced: {sorted(replaced)}")
        return f"only the responder was replaced; {self.chat('upgraded')}"

    def mutual_tls(self) -> str:
        """With certificates from Secrets; the helm test asks as the operator."""
        sets = ["--set", "grpcTls.enabled=true"]
        with tempfile.TemporaryDirectory() as folder:
            for identity, at in certificates.make(Path(folder), NAMESPACE).items():
                name = f"igbot-{identity}-tls"
                self.cluster.kubectl("create", "secret", "generic", name, f"--from-file={at}")
                sets += ["--set", f"grpcTls.{identity}.existingSecret={name}"]
        self._igbot("upgrade", *sets, "--wait", "--timeout", "5m")
        return f"helm test {self.helm_test()}; {self.chat('under-tls')}"

    def rollback(self) -> str:
        """Back to the first revision."""
        self.cluster.helm("rollback", "igbot", "1", "--wait", "--timeout", "5m")
        return self.chat("rolled-back")

    def _pods(self) -> set[str]:
        """The services' pods that are not on their way out."""
        found = [pod["metadata"] for pod in self.cluster.items("pods", RELEASE)]
        return {one["name"] for one in found if "deletionTimestamp" not in one and "smoke" not in one["name"]}

    def restarts(self) -> str:
        """Nothing ended that was not told to."""
        states = {
            pod["metadata"]["name"]: sum(one["restartCount"] for one in pod["status"].get("containerStatuses", []))
            for pod in self.cluster.items("pods", "app.kubernetes.io/part-of!=x")
        }
        if any(states.values()):
            raise Failed(str({name: count for name, count in states.items() if count}))
        return f"{len(states)} pods"

    def uninstall(self) -> str:
        """Nothing of the release stays behind; the stores' volumes do, until their namespace goes."""
        self.cluster.helm("uninstall", "igbot", "--wait", "--ignore-not-found")
        kinds = "deployments,services,configmaps,secrets,serviceaccounts,networkpolicies,poddisruptionbudgets"
        left = [f"{one['kind']}/{one['metadata']['name']}" for one in self.cluster.items(kinds, RELEASE)]
        if left:
            raise Failed(f"left behind: {left}")
        kept = json.loads(self.cluster.kubectl("get", "persistentvolumeclaims", "-o", "json"))["items"]
        self.cluster.kubectl("delete", "namespace", NAMESPACE, "--wait", namespaced=False)
        return f"nothing left; {len(kept)} volumes of the stores had stayed"
