"""The chart renders into objects that Kubernetes takes, from the oldest to the newest that it supports."""

import re
import subprocess
from collections import Counter

import kubernetes_validate
import pytest
import yaml

from tests.chart.rendering import (
    DEV,
    FULL,
    IGBOT,
    MINIMAL,
    NEWEST,
    OLDEST,
    SCENARIOS,
    Chart,
    render,
    scenario,
    values_files,
)
from tests.tools import need

pytestmark = pytest.mark.long

CLUSTER_SCOPED = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "Namespace", "PriorityClass"}
# Not Kubernetes' own, so kubernetes-validate has no schema: the fields that their definitions have.
FOREIGN = {
    "HTTPRoute": {"parentRefs", "hostnames", "rules"},
    "ServiceMonitor": {"selector", "endpoints"},
    "PrometheusRule": {"groups"},
    "ScaledObject": {
        "scaleTargetRef",
        "minReplicaCount",
        "maxReplicaCount",
        "pollingInterval",
        "cooldownPeriod",
        "fallback",
        "advanced",
        "triggers",
    },
}


def check(chart: Chart, kube: str) -> None:
    for one in chart.objects:
        if one["kind"] in FOREIGN:
            assert set(one["spec"]) <= FOREIGN[one["kind"]]
        else:
            kubernetes_validate.validate(one, kube.removesuffix(".0"), strict=True)


@pytest.mark.parametrize("kube", [OLDEST, NEWEST])
@pytest.mark.parametrize("name", SCENARIOS)
def test_each_scenario_is_valid_in_the_oldest_and_the_newest_kubernetes(name, kube):
    check(scenario(name, kube=kube), kube)


@pytest.mark.parametrize("kube", [OLDEST, NEWEST])
def test_the_dev_chart_is_valid_in_the_oldest_and_the_newest_kubernetes(kube):
    check(render(chart=DEV, release="igbot-dev", kube=kube), kube)


def test_an_older_kubernetes_is_refused_and_a_vendor_s_version_is_not():
    need("helm")
    with pytest.raises(AssertionError, match=r"1\.30"):
        render(MINIMAL, kube="1.29.9")
    assert render(MINIMAL, kube="v1.33.1-gke.5").objects


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_two_objects_of_a_kind_share_a_name(name):
    seen = Counter((one["kind"], one["metadata"]["name"]) for one in scenario(name).objects)
    assert [key for key, count in seen.items() if count > 1] == []


@pytest.mark.parametrize("name", SCENARIOS)
def test_only_the_test_is_a_hook_and_nothing_is_cluster_wide_or_rbac(name):
    for one in scenario(name).objects:
        hook = one["metadata"].get("annotations", {}).get("helm.sh/hook")
        assert hook in {None, "test"}
        assert one["kind"] not in CLUSTER_SCOPED | {"Role", "RoleBinding"}
        assert "namespace" not in one["metadata"]


def test_the_app_chart_has_no_database_and_no_volume_claim():
    kinds = {one["kind"] for name in SCENARIOS for one in scenario(name).objects}
    assert not kinds & {"StatefulSet", "PersistentVolumeClaim"}
    assert "dependencies" not in yaml.safe_load((IGBOT / "Chart.yaml").read_text())


def test_two_renders_are_identical():
    first = scenario(FULL).text
    render.cache_clear()
    assert scenario(FULL).text == first


def test_no_template_asks_the_cluster_the_clock_or_the_dice():
    for path in [*IGBOT.rglob("templates/**/*"), *DEV.rglob("templates/**/*")]:
        if path.is_file():
            code = re.sub(r"\{\{-? ?/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
            found = re.findall(r"\b(lookup|rand\w+|now|uuidv4|genCA|genSelfSignedCert|genPrivateKey)\b", code)
            assert found == [], path


@pytest.mark.parametrize("name", [FULL, "ci/keda-values.yaml"])
def test_helm_3_and_helm_4_agree(name):
    need("helm3"), need("helm4")
    assert scenario(name, helm="helm3").objects == scenario(name, helm="helm4").objects


@pytest.mark.parametrize("helm", ["helm3", "helm4"])
def test_lint_is_strict_and_clean(helm):
    for chart, files in [(IGBOT, ()), (IGBOT, values_files(MINIMAL)), (IGBOT, values_files(FULL)), (DEV, ())]:
        values = [argument for name in files for argument in ("--values", str(chart / name))]
        command = [need(helm), "lint", "--strict", "--kube-version", NEWEST, str(chart), *values]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "[WARNING]" not in done.stdout
