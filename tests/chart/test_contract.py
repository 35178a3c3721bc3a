"""Chart and code agree: variables, defaults, ports, paths, secrets."""

import base64
import re
import typing
from functools import cache
from importlib import import_module
from urllib.parse import urlsplit

import pytest
import yaml
from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from services.common.settings import Address
from tests.chart.rendering import COMPONENTS, DEV, FULL, IGBOT, MINIMAL, camel, render, scenario, values_of

pytestmark = pytest.mark.long


@cache
def fields(service):
    """A service's settings, by variable."""
    settings = import_module(f"services.{service}.settings").Settings
    return {name.upper(): field for name, field in settings.model_fields.items()}


def variables(component):
    """What the chart may set for a component: everything is set in the full scenario."""
    chart = scenario(FULL)
    extra = {row["name"] for row in values_of(name=FULL)["defaults"]["extraEnv"]}
    rows = {row["name"] for row in chart.container(component)["env"]}
    return (rows | set(chart.config(component))) - extra


@pytest.mark.parametrize("component", COMPONENTS)
def test_each_variable_that_the_chart_sets_is_read(component):
    assert variables(component) - set(fields(component)) == set()


@pytest.mark.parametrize("component", COMPONENTS)
def test_each_variable_that_is_read_can_be_set(component):
    ours = {name for name in fields(component) if not name.startswith("IGBOT_TEST_")}
    assert ours - variables(component) == set()


@pytest.mark.parametrize("component", COMPONENTS)
def test_what_is_secret_in_the_code_comes_from_a_secret_in_the_chart(component):
    secret = {name for name, field in fields(component).items() if SecretStr in flat(field.annotation)}
    assert secret - set(scenario(FULL).secret_env(component)) == set()


def flat(annotation):
    """A type and all that it is made of."""
    return {annotation, *(inner for one in typing.get_args(annotation) for inner in flat(one))}


@pytest.mark.parametrize("component", COMPONENTS)
def test_the_chart_s_defaults_are_the_code_s(component):
    values = values_of()["config"]
    settings = values["common"] | values[component] | (values["graph"] if component != "gateway" else {})
    different = {}
    for name, field in fields(component).items():
        ours = settings.get(camel(name), "")
        if ours in ("", "auto") or field.default is PydanticUndefined:
            continue
        theirs = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        if theirs is not None and str(theirs) != str(ours) and theirs != ours:
            different[name] = (theirs, ours)
    assert different == {}


@pytest.mark.parametrize("component", COMPONENTS)
def test_the_minimal_values_satisfy_the_settings(component, tmp_path):
    chart = render(MINIMAL)
    told = chart.config(component) | {name: stand_in(name) for name in chart.secret_env(component)}
    if "TOKEN_KEYS_DIR" in told:
        (tmp_path / "2026-01").write_text(base64.b64encode(bytes(32)).decode())
        told["TOKEN_KEYS_DIR"] = str(tmp_path)
    settings = import_module(f"services.{component}.settings").Settings(
        **{name.lower(): value for name, value in told.items()}
    )
    ports = {one["containerPort"] for one in chart.container(component)["ports"]}
    assert ports == {settings.listen_address.port, settings.ops_address.port}
    assert settings.listen_address.host == settings.ops_address.host == ""


def stand_in(name):
    return {"DATABASE_URL": "mongodb://db/igbot", "REDIS_URL": "redis://redis:6379/0"}.get(name, "1000000000000001")


def test_the_ports_are_those_of_the_programs_defaults():
    ports = {"gateway": "http", "tokens": "grpc", "responder": "grpc"}
    for component, name in ports.items():
        default = fields(component)["LISTEN_ADDRESS"].default
        assert isinstance(default, Address)
        assert values_of()[component]["ports"][name] == default.port


def test_addresses_lead_to_the_services():
    chart = render(MINIMAL)
    for caller, callee in (("gateway", "tokens"), ("gateway", "responder"), ("responder", "tokens")):
        address = chart.config(caller)[f"{callee.upper()}_ADDRESS"]
        service = chart.one("Service", callee)
        assert address == f"{service['metadata']['name']}.prod.svc:{service['spec']['ports'][0]['port']}"


def test_the_redirect_is_the_same_for_both_who_need_it():
    chart = render(MINIMAL)
    expected = "https://dm.example.com/oauth/callback"
    assert [chart.config(one)["REDIRECT_URI"] for one in ("gateway", "tokens")] == [expected, expected]


def test_the_system_prompt_is_a_file_that_the_responder_is_told_of():
    chart = scenario(FULL)
    assert chart.one("ConfigMap", "responder-prompt")["data"]["system.txt"] == values_of(name=FULL)["systemPrompt"]
    [mount] = [one for one in chart.container("responder")["volumeMounts"] if one["name"] == "prompt"]
    assert chart.config("responder")["SYSTEM_PROMPT_FILE"] == f"{mount['mountPath']}/system.txt"
    assert "SYSTEM_PROMPT_FILE" not in render(MINIMAL).config("responder")


def test_large_numbers_are_not_written_as_floats():
    chart = render(MINIMAL, sets=("config.responder.sendsPerSecond=1000000",))
    assert chart.config("responder")["SENDS_PER_SECOND"] == "1000000"


def test_the_smoke_test_is_told_what_the_command_reads():
    chart = scenario(FULL)
    settings = import_module("services.cli.operator").OperatorSettings
    told = {row["name"] for row in chart.container("smoke")["env"]}
    assert told <= {name.upper() for name in settings.model_fields}
    assert {"PUBLIC_URL", "APP_SECRET", "TOKENS_ADDRESS", "RESPONDER_ADDRESS", "GRPC_TLS_DIR"} <= told


def test_the_public_paths_are_the_gateway_s_routes():
    listed = set(re.findall(r"path: (/[\w./-]*)", (IGBOT / "templates/_routes.tpl").read_text()))
    rules = import_module("services.gateway.pages").application(None).wildcard_router.rules
    # A pattern's beginning, up to what varies: that one is let in as a prefix.
    routes = {re.split(r"/?\(|\$", rule.matcher.regex.pattern.replace("\\", ""))[0] or "/" for rule in rules}
    assert listed == routes


def test_the_dev_chart_tells_the_sandbox_what_it_reads():
    deployment = next(one for one in render(chart=DEV, release="igbot-dev").all("Deployment"))
    told = {row["name"] for row in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert told <= set(fields("sandbox"))


def test_the_dev_values_fit_the_dev_chart():
    dev, ours = values_of(DEV), scenario("values-dev.yaml")
    secrets = {one["metadata"]["name"].removeprefix("igbot-dev-"): one["stringData"] for one in ours.all("Secret")}
    sandbox = dev["sandbox"]
    assert {key: sandbox[key] for key in secrets["meta"]} == secrets["meta"]
    services = {
        one["metadata"]["name"]: one["spec"]["ports"][0]["port"]
        for one in render(chart=DEV, release="igbot-dev", namespace="prod").all("Service")
    }
    text = yaml.safe_dump(values_of(name="values-dev.yaml"))
    named = set(re.findall(r"//(igbot-dev-\w+):(\d+)", text))
    assert named == {(name, str(port)) for name, port in services.items()}
    address = urlsplit(sandbox["webhookUrl"])
    gateway = ours.one("Service", "gateway")
    assert (address.hostname, address.port) == (gateway["metadata"]["name"], gateway["spec"]["ports"][0]["port"])
