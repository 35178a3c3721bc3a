"""Rules, dashboards and scrape targets: they load, they are this release's, and their metrics exist."""

import json
import re
import subprocess

import pytest
import yaml

from tests.chart.rendering import FULL, IGBOT, MINIMAL, render, scenario
from tests.metrics_page import SERVICES, families
from tests.tools import ROOT, need

ALERTS = sorted(path for path in (IGBOT / "files/alerts").glob("*.yaml") if not path.stem.endswith("_test"))
ALERT_TESTS = sorted((IGBOT / "files/alerts").glob("*_test.yaml"))
DASHBOARDS = sorted((IGBOT / "files/dashboards").glob("*.json"))


def known_metrics() -> set[str]:
    """Every series that the code can export."""
    every = [family for service in SERVICES for family in families(service)]
    return {sample.name for family in every for sample in family.samples} | {family.name for family in every}


def used_metrics(text: str) -> set[str]:
    return set(re.findall(r"\bigbot_[a-z_]+\b", text))


@pytest.mark.parametrize("path", [*ALERTS, *DASHBOARDS], ids=lambda path: path.name)
def test_every_metric_in_rules_and_dashboards_exists(path):
    assert used_metrics(path.read_text()) - known_metrics() == set()


def test_the_metric_that_keda_scales_on_exists():
    text = (IGBOT / "templates/responder/scaledobject.yaml").read_text()
    assert used_metrics(text) == {"igbot_conversations_due_oldest_seconds"}
    assert used_metrics(text) <= known_metrics()


@pytest.mark.parametrize("path", ALERTS, ids=lambda path: path.name)
def test_every_alert_says_how_bad_it_is_what_to_do_and_waits_a_while(path):
    rules = [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]
    for rule in rules:
        if "alert" in rule:
            assert rule["labels"]["severity"] in {"critical", "warning", "info"}
            assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
            assert rule["annotations"]["runbook_url"] == f"RUNBOOKS#{rule['alert'].lower()}"
            assert f"\n### {rule['alert']}\n" in (ROOT / "docs/operations.md").read_text()
            assert "for" in rule


@pytest.mark.long
@pytest.mark.parametrize("path", ALERTS, ids=lambda path: path.name)
def test_promtool_takes_the_rules_as_they_are(path):
    done = subprocess.run([need("promtool"), "check", "rules", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
@pytest.mark.parametrize("path", ALERT_TESTS, ids=lambda path: path.name)
def test_the_rules_fire_when_they_should(path):
    done = subprocess.run(
        [need("promtool"), "test", "rules", path.name], cwd=path.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
def test_rendered_rules_are_this_release_s_and_leave_prometheus_its_templates():
    rules = scenario(FULL, namespace="prod").all("PrometheusRule")
    assert len(rules) == len(ALERTS)
    text = json.dumps(rules)
    assert not re.search(r"\b(NAMESPACE|FULLNAME|RUNBOOKS)\b", text)
    assert 'namespace=\\"prod\\"' in text
    assert 'service=\\"igbot-gateway\\"' in text
    assert "https://wiki.example.com/igbot#igbotinboxold" in text
    assert "{{ $value" in text
    assert "IgbotDeadLetters" not in text
    assert {rule["metadata"]["labels"]["release"] for rule in rules} == {"prometheus"}


@pytest.mark.long
def test_dashboards_are_copied_byte_by_byte():
    maps = [one for one in scenario(FULL).all("ConfigMap") if "grafana_dashboard" in one["metadata"].get("labels", {})]
    found = {text for one in maps for text in one["data"].values()}
    assert found == {path.read_text() for path in DASHBOARDS}
    assert all(len(text) < 1_000_000 for text in found)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_a_dashboard_has_a_fixed_uid_and_lets_one_choose_the_data_source(path):
    board = json.loads(path.read_text())
    assert board["uid"].startswith("igbot-")
    assert "datasource" in {one["name"] for one in board["templating"]["list"]}
    sources = re.findall(r'"uid":\s*"([^"]+)"', json.dumps(board.get("panels", [])))
    assert set(sources) <= {"${datasource}"}


@pytest.mark.long
def test_each_pod_is_scraped_once():
    chart = scenario("ci/keda-values.yaml")
    [monitor] = chart.all("ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    [components] = monitor["spec"]["selector"]["matchExpressions"]
    assert components["operator"] == "In"
    port = monitor["spec"]["endpoints"][0]["port"]
    hits = [
        one
        for one in chart.all("Service")
        if wanted <= one["metadata"]["labels"].items()
        and one["metadata"]["labels"][components["key"]] in components["values"]
        and port in {p["name"] for p in one["spec"]["ports"]}
    ]
    assert sorted(one["metadata"]["name"] for one in hits) == ["igbot-gateway", "igbot-responder", "igbot-tokens"]


@pytest.mark.long
def test_monitoring_is_off_unless_asked_for():
    kinds = {one["kind"] for one in render(MINIMAL).objects}
    assert not kinds & {
        "ServiceMonitor",
        "PrometheusRule",
        "ScaledObject",
        "HorizontalPodAutoscaler",
        "Ingress",
        "HTTPRoute",
    }


@pytest.mark.long
@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_promtool_takes_every_query_of_a_dashboard(path, tmp_path):
    known = {"$__rate_interval": "5m", "$namespace": "prod", "$release": "igbot"}
    panels = json.loads(path.read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    for name, value in known.items():
        queries = [query.replace(name, value) for query in queries]
    rules = [{"record": f"query:{n}", "expr": query} for n, query in enumerate(queries)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    command = [need("promtool"), "check", "rules", "--lint=none", str(tmp_path / "rules.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert queries
