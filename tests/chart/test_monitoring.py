"""Rules, dashboards and scrape targets: they load, they are this release's, and their metrics exist."""

import json
import re
import subprocess

import pytest
import yaml

from tests.chart.rendering import FULL, IGBOT, MINIMAL, render, scenario
from tests.dashboards import DASHBOARDS, board, queries
from tests.metrics_page import SERVICES, alerts, families, name_of, used
from tests.tools import ROOT, need

ALERTS = sorted(path for path in (IGBOT / "files/alerts").glob("*.yaml") if not path.stem.endswith("_test"))
UNITS = {"s", "short", "percentunit", "bytes", "suffix:/min"}
ALERT_TESTS = sorted((IGBOT / "files/alerts").glob("*_test.yaml"))


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
    read = board(path)
    assert read["uid"] == f"igbot-{path.stem}"
    assert "datasource" in {one["name"] for one in read["templating"]["list"]}
    sources = re.findall(r'"uid":\s*"([^"]+)"', json.dumps(read["panels"]))
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
    asked = [query.expression for query in queries(path)]
    rules = [{"record": f"query:{n}", "expr": query} for n, query in enumerate(asked)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    command = [need("promtool"), "check", "rules", "--lint=none", str(tmp_path / "rules.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert asked


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_whoever_never_saw_a_dashboard_can_read_it(path):
    first, *panels = board(path)["panels"]
    assert first["type"] == "text"
    assert "docs/operations.md" in first["options"]["content"] or "`igbot " in first["options"]["content"]
    titles = [panel["title"] for panel in panels]
    assert len(set(titles)) == len(titles)
    for panel in panels:
        assert panel["title"].endswith("?"), panel["title"]
        assert len(panel["title"]) * 7 < panel["gridPos"]["w"] * 1600 / 24 - 24, f"{panel['title']} would be cut off"
        assert panel["description"].endswith("."), panel["title"]
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"] in UNITS, panel["title"]
        assert defaults["thresholds"]["steps"][0]["value"] is None
        assert {step["color"] for step in defaults["thresholds"]["steps"]} <= {"green", "yellow", "red", "blue"}


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_panels_lie_side_by_side(path):
    taken = set()
    for panel in board(path)["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & cells, panel["title"]
        taken |= cells


def test_gauges_of_a_whole_store_are_never_added_up():
    store_wide = {family.name for one in SERVICES for family in families(one) if "store-wide" in family.documentation}
    asked = [query.expression for path in DASHBOARDS for query in queries(path)]
    asked += [rule["expr"] for rule in alerts()]
    found = [(text, name) for text in asked for name in used_metrics(text) & store_wide]
    assert len({name for _, name in found}) == len(store_wide), "each is looked at"
    for text, name in found:
        assert re.search(rf"\b(max|min)( by \(\w+\))? ?\((max_over_time\()?{name}\b", text), text


def test_nothing_is_measured_that_nobody_looks_at():
    seen = used([query.expression for path in DASHBOARDS for query in queries(path)])
    every = {name_of(family) for one in SERVICES for family in families(one)}
    assert every - seen == set()
