"""Pods pass Pod Security "restricted", and each secret reaches only the service that needs it."""

import pytest

from tests.chart.rendering import COMPONENTS, DEV, FULL, MINIMAL, SCENARIOS, render, scenario

pytestmark = pytest.mark.long

RESTRICTED = [name for name in SCENARIOS if "hot-reload" not in name and "debug" not in name]
# concern -> the variables and files it becomes, by service; nothing else may hold it.
REACH = {
    ("meta", "clientId"): {"gateway", "tokens"},
    ("meta", "clientSecret"): {"tokens"},
    ("meta", "appSecret"): {"gateway", "smoke"},
    ("meta", "verifyToken"): {"gateway"},
    ("gateway", "operatorPassword"): {"gateway"},
    ("model", "apiKey"): {"responder"},
    ("mongodb", "uri"): {"tokens", "responder"},
    ("redis", "url"): {"gateway"},
}


def restricted(pod):
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    for volume in pod.get("volumes", []):
        assert not {"hostPath"} & set(volume)
    for container in pod["containers"] + pod.get("initContainers", []):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "privileged" not in context


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_pod_is_restricted(name):
    for pod in scenario(name).pods():
        restricted(pod)


@pytest.mark.parametrize("name", RESTRICTED)
def test_every_pod_has_a_read_only_root_a_sized_tmp_and_no_token(name):
    for pod in scenario(name).pods():
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}} in pod["volumes"]
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]


def test_the_dev_chart_s_pods_are_restricted_too():
    for pod in render(chart=DEV, release="igbot-dev").pods():
        restricted(pod)
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_user_id_is_fixed_so_that_openshift_may_choose(name):
    for pod in scenario(name).pods():
        for context in [pod["securityContext"], *(one["securityContext"] for one in pod["containers"])]:
            assert not {"runAsUser", "runAsGroup", "fsGroup"} & set(context)


@pytest.mark.parametrize("row", REACH, ids=".".join)
def test_a_secret_reaches_only_its_services(row):
    concern, key = row
    chart = render(MINIMAL, sets=(f"secrets.{concern}.existingSecret=marked", f"secrets.{concern}.keys.{key}=itself"))
    holders = {one for one in (*COMPONENTS, "smoke") if ("marked", "itself") in chart.secret_env(one).values()}
    assert holders == REACH[row]


def test_the_keyring_reaches_only_tokens_and_as_a_folder():
    chart = render(MINIMAL)
    assert {one for one in (*COMPONENTS, "smoke") if "igbot-token-keys" in chart.secret_files(one)} == {"tokens"}
    [mount] = [one for one in chart.container("tokens")["volumeMounts"] if one["name"] == "token-keys"]
    assert mount == {"name": "token-keys", "mountPath": chart.config("tokens")["TOKEN_KEYS_DIR"], "readOnly": True}


def test_certificates_reach_only_their_services():
    chart = scenario(FULL)
    mounted = {one: chart.secret_files(one) for one in COMPONENTS}
    assert mounted == {
        "gateway": {"gateway-tls", "redis-ca"},
        "tokens": {"tokens-tls", "keyring", "mongo-ca"},
        "responder": {"responder-tls", "mongo-ca"},
    }


@pytest.mark.parametrize("name", [name for name in SCENARIOS if "dev" not in name])
def test_no_whole_secret_becomes_an_environment(name):
    for pod in scenario(name).pods():
        for container in pod["containers"]:
            assert all("secretRef" not in source for source in container.get("envFrom", []))


def test_the_chart_makes_no_secret_outside_development():
    assert [name for name in SCENARIOS if scenario(name).all("Secret")] == [
        "ci/debug-values.yaml",
        "ci/hot-reload-values.yaml",
        "values-dev.yaml",
    ]


def test_a_secret_of_the_dev_values_is_in_no_other_object():
    chart = scenario("values-dev.yaml")
    words = {value for secret in chart.all("Secret") for value in secret["stringData"].values() if len(value) > 5}
    others = [str(one) for one in chart.objects if one["kind"] != "Secret"]
    assert words
    assert [word for word in words if any(word in text for text in others)] == []
