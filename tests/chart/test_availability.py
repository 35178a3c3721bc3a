"""What keeps it up: replicas, budgets, spread, shutdown, probes, autoscalers."""

import pytest

from tests.chart.rendering import COMPONENTS, FULL, MINIMAL, SCENARIOS, render, scenario

pytestmark = pytest.mark.long


@pytest.mark.parametrize("component", COMPONENTS)
def test_two_replicas_one_at_a_time_and_none_short(component):
    spec = render(MINIMAL).one("Deployment", component)["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def budgets(*sets):
    return {one["metadata"]["name"]: one["spec"] for one in render(MINIMAL, sets=sets).all("PodDisruptionBudget")}


def test_a_budget_lets_one_go_and_unhealthy_ones_always():
    for spec in budgets().values():
        assert (spec["maxUnavailable"], spec["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")
    assert len(budgets()) == 3


def test_no_budget_where_there_is_one_replica_or_none_wanted():
    assert set(budgets("gateway.replicas=1")) == {"igbot-tokens", "igbot-responder"}
    assert set(budgets("tokens.pdb.enabled=false")) == {"igbot-gateway", "igbot-responder"}
    autoscaled = ("tokens.autoscaling.enabled=true", "tokens.autoscaling.minReplicas=1", "tokens.replicas=5")
    assert set(budgets(*autoscaled)) == {"igbot-gateway", "igbot-responder"}
    keda = ("responder.keda.enabled=true", "responder.keda.serverAddress=http://p", "responder.keda.minReplicas=1")
    assert set(budgets(*keda)) == {"igbot-gateway", "igbot-tokens"}


def test_a_component_s_false_and_zero_win_over_the_defaults():
    chart = render(MINIMAL, sets=("gateway.replicas=0", "gateway.topologySpread.enabled=false"))
    assert chart.one("Deployment", "gateway")["spec"]["replicas"] == 0
    assert "topologySpreadConstraints" not in chart.pod("gateway")
    assert "topologySpreadConstraints" in chart.pod("tokens")


@pytest.mark.parametrize("component", COMPONENTS)
def test_pods_spread_over_zones_and_nodes_by_release_of_the_template(component):
    spread = render(MINIMAL).pod(component)["topologySpreadConstraints"]
    assert [one["topologyKey"] for one in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    for one in spread:
        assert one["whenUnsatisfiable"] == "ScheduleAnyway"
        assert one["matchLabelKeys"] == ["pod-template-hash"]


@pytest.mark.parametrize("name", SCENARIOS)
def test_grace_covers_sleep_drain_and_slack(name):
    chart = scenario(name)
    for component in COMPONENTS:
        sleep = chart.container(component).get("lifecycle", {"preStop": {"sleep": {"seconds": 0}}})
        need = sleep["preStop"]["sleep"]["seconds"] + float(chart.config(component)["DRAIN_SECONDS"]) + 5
        assert chart.pod(component)["terminationGracePeriodSeconds"] >= need


@pytest.mark.parametrize("component", COMPONENTS)
def test_probes_ask_the_ops_port_and_liveness_asks_nothing_of_dependencies(component):
    container = render(MINIMAL).container(component)
    paths = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {name: one["path"] for name, one in paths.items()} == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    assert {one["port"] for one in paths.values()} == {"http-metrics"}
    assert all(container[name]["timeoutSeconds"] >= 2 for name in paths)


def test_a_breakpoint_restarts_nothing():
    container = scenario("ci/debug-values.yaml").container("responder")
    assert not {"startupProbe", "livenessProbe", "readinessProbe"} & set(container)


def test_memory_is_limited_and_cpu_is_not():
    for component in COMPONENTS:
        resources = render(MINIMAL).container(component)["resources"]
        assert resources["limits"] == {"memory": resources["requests"]["memory"]}
        assert "cpu" in resources["requests"]


@pytest.mark.parametrize("name", [FULL, "ci/keda-values.yaml"])
def test_an_autoscaler_owns_the_replicas(name):
    chart = scenario(name)
    scaled = {
        one["spec"]["scaleTargetRef"]["name"]
        for kind in ("HorizontalPodAutoscaler", "ScaledObject")
        for one in chart.all(kind)
    }
    assert scaled
    for deployment in chart.all("Deployment"):
        assert ("replicas" in deployment["spec"]) == (deployment["metadata"]["name"] not in scaled)


def test_keda_scales_on_the_age_of_the_oldest_due_conversation():
    [scaled] = scenario("ci/keda-values.yaml").all("ScaledObject")
    spec = scaled["spec"]
    [trigger] = spec["triggers"]
    assert set(trigger) == {"type", "metricType", "metadata", "authenticationRef"}
    assert (trigger["type"], trigger["metricType"]) == ("prometheus", "AverageValue")
    series = 'igbot_conversations_due_oldest_seconds{namespace="prod",service="igbot-responder"}'
    assert trigger["metadata"]["query"] == f"max({series}) * count({series})"
    assert isinstance(trigger["metadata"]["threshold"], str)
    assert spec["minReplicaCount"] >= 1
    assert spec["fallback"] == {"failureThreshold": 3, "replicas": 4}
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior == {"scaleDown": {"stabilizationWindowSeconds": 300}}


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_changed_setting_restarts_only_the_service_that_reads_it(component):
    def sums(*sets):
        chart = render(MINIMAL, sets=sets)
        pods = {one: chart.one("Deployment", one)["spec"]["template"]["metadata"] for one in COMPONENTS}
        return {one: pod["annotations"]["checksum/config"] for one, pod in pods.items()}

    change = {
        "gateway": "config.gateway.deadLetterDays=9",
        "tokens": "config.tokens.sweepSeconds=9",
        "responder": "config.responder.maxParts=1",
    }[component]
    before, after = sums(), sums(change)
    assert {one for one in COMPONENTS if before[one] != after[one]} == {component}


def test_scheduling_knobs_reach_every_pod():
    for component in COMPONENTS:
        pod = scenario(FULL).pod(component)
        assert pod["priorityClassName"] == "high"
        assert pod["runtimeClassName"] == "gvisor"
        assert {"nodeSelector", "tolerations", "affinity", "dnsConfig", "hostAliases"} <= set(pod)
        assert {"name": "SSL_CERT_FILE", "value": "/etc/ca/ca.crt"} in scenario(FULL).container(component)["env"]
        assert {"name": "ca", "mountPath": "/etc/ca"} in scenario(FULL).container(component)["volumeMounts"]
