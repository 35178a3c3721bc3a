"""A value that is missing or wrong is named when the chart is rendered, not found out at run time."""

import pytest

from tests.chart.rendering import IGBOT, MINIMAL, SCENARIOS, refusal, render, values_of

pytestmark = pytest.mark.long

REQUIRED = [
    "publicUrl",
    *(f"secrets.{concern}.existingSecret" for concern in ("meta", "gateway", "tokens", "model", "mongodb", "redis")),
]


def test_without_values_every_required_one_is_named_at_once():
    said = refusal()
    assert [name for name in REQUIRED if f"{name} is required" not in said] == []


@pytest.mark.parametrize("name", REQUIRED)
def test_each_missing_value_is_named_alone(name):
    said = refusal(MINIMAL, sets=(f"{name}=",))
    assert f"{name} is required" in said
    assert said.count("is required") == 1


WRONG = [
    ("publicUrl=http://dm.example.com", "publicUrl must be https"),
    ("publicUrl=https://dm.example.com/", "publicUrl"),
    ("gateway.replica=3", "additional properties 'replica' not allowed"),
    ("confg.x=1", "confg"),
    ("config.responder.quietSecs=1", "quietSecs"),
    ("image.digest=sha256:abc", "/image/digest"),
    ("config.common.logLevel=loud", "/config/common/logLevel"),
    ("defaults.probes.timeoutSeconds=1", "/defaults/probes/timeoutSeconds"),
    ("gateway.replicas=null", "/gateway/replicas"),
    ("gateway.terminationGracePeriodSeconds=24", "gateway.terminationGracePeriodSeconds=24"),
    ("defaults.drainSeconds=21", "need 31"),
    ("defaults.autoscaling.minReplicas=11,tokens.autoscaling.enabled=true", "tokens.autoscaling.minReplicas"),
    ("ingress.enabled=true,httpRoute.enabled=true,httpRoute.parentRefs[0].name=x", "set one of them, not both"),
    ("httpRoute.enabled=true", "httpRoute.parentRefs is required"),
    (
        "responder.keda.enabled=true,responder.keda.serverAddress=http://p,responder.autoscaling.enabled=true",
        "responder.autoscaling.enabled and responder.keda.enabled: set one of them, not both",
    ),
    ("responder.keda.enabled=true", "responder.keda.serverAddress is required"),
    ("config.responder.handoverUrl=https://h.example.com", "secrets.alerts.existingSecret is required"),
    ("grpcTls.enabled=true", "grpcTls.tokens.existingSecret is required"),
    ("grpcTls.enabled=true", "grpcTls.operator.existingSecret is required"),
]


@pytest.mark.parametrize(("change", "said"), WRONG)
def test_a_wrong_value_is_refused_with_its_name(change, said):
    assert said in refusal(MINIMAL, sets=(change,))


def test_the_grace_period_may_be_just_enough():
    chart = render(MINIMAL, sets=("gateway.terminationGracePeriodSeconds=25",))
    assert chart.pod("gateway")["terminationGracePeriodSeconds"] == 25


def test_inline_secrets_are_refused_outside_development():
    said = refusal(MINIMAL, sets=("secrets.model.existingSecret=", "secrets.model.values.apiKey=x"))
    assert "secrets.model.existingSecret is required" in said


@pytest.mark.parametrize("name", [name for name in SCENARIOS if "dev" not in name and "full" not in name])
def test_values_files_that_people_copy_are_short_deltas(name):
    text = (IGBOT / name).read_text()
    assert len(text.splitlines()) < 40
    assert set(values_of(name=name)) <= set(values_of())
