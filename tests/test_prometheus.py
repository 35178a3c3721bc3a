import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import yaml

from tests.prometheus import chart_rules, prometheus, service_target, sped_up, sped_up_expression

RULES = """
groups:
  - name: one
    rules:
      - alert: TooMuch
        expr: max(max_over_time(things{service="igbot-gateway"}[10m])) > 2
        for: 1m
        labels: {severity: warning}
        annotations: {summary: "{{ $value }} things"}
"""


class Exporter(BaseHTTPRequestHandler):
    """Prints one gauge that the test sets."""

    things = 0

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(f"things {type(self).things}\n".encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def exporter():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Exporter)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def until(happened, seconds=20):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.long
def test_an_alert_fires_and_falls_silent_in_seconds(tmp_path, exporter):
    target = service_target("gateway", exporter)
    with prometheus(
        tmp_path, [target], scrape_seconds=0.25, rules=sped_up(RULES, 600), evaluate_seconds=0.25
    ) as server:
        until(lambda: server.query("scalar(things) + 1") == [({}, 1.0)] and server.targets() == {exporter: "up"})
        began = time.time()
        assert [rule["health"] for rule in server.rules()] == ["ok"]
        until(lambda: [labels["namespace"] for labels, _ in server.query("things")] == ["demo"])
        assert server.firing() == set()
        Exporter.things = 3
        until(lambda: server.firing() == {"TooMuch"})
        assert server.alerts()[0].annotations["summary"] == "3 things"
        [(_, points)] = server.query_range("things", began, time.time(), 0.25)
        assert {value for _, value in points} == {0.0, 3.0}
        Exporter.things = 0
        until(lambda: server.alerts() == [])
        with pytest.raises(ValueError, match="parse error"):
            server.query("sum(")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("rate(a_total[5m])", "rate(a_total[5s])"),
        ("max_over_time(rate(a[1h30m])[1d:5m])", "max_over_time(rate(a[90s])[1440s:5s])"),
        ("a offset 10m > 300", "a offset 10s > 300"),
        ("a offset -30s + b[6h:]", "a offset -500ms + b[360s:]"),
        ("a[10ms] > 7 * 86400", "a[1ms] > 7 * 86400"),
        ('a{text="5m"} > 60', 'a{text="5m"} > 60'),
    ],
)
def test_windows_are_divided_and_thresholds_are_not(before, after):
    assert sped_up_expression(before, 60) == after


def test_the_chart_s_rules_keep_everything_but_their_durations():
    slow, fast = yaml.safe_load(chart_rules()), yaml.safe_load(sped_up(chart_rules(), 60))
    slow, fast = ([rule for group in one["groups"] for rule in group["rules"]] for one in (slow, fast))
    assert [one["alert"] for one in slow] == [one["alert"] for one in fast]
    assert all(
        a["labels"] == b["labels"] and a["annotations"] == b["annotations"] for a, b in zip(slow, fast, strict=True)
    )
    assert all(a["for"] != b["for"] for a, b in zip(slow, fast, strict=True))
    assert "NAMESPACE" not in chart_rules()
    assert 'service="igbot-gateway"' in chart_rules()
