"""Names and labels: no collision, no name too long, no selector that changes."""

import pytest

from tests.chart.rendering import COMPONENTS, FULL, MINIMAL, render, scenario

pytestmark = pytest.mark.long

LONG = "a-release-name-as-long-as-helm-permits-it-to-be-53chr"


def names(chart):
    return {(one["kind"], one["metadata"]["name"]) for one in chart.objects}


def test_two_releases_in_one_namespace_share_no_name_no_selector_and_no_redis_key():
    one, two = render(MINIMAL, release="shop"), render(MINIMAL, release="hotel")
    assert not names(one) & names(two)
    selectors = [{str(d["spec"]["selector"]) for d in chart.all("Deployment")} for chart in (one, two)]
    assert not selectors[0] & selectors[1]
    prefixes = [
        chart.one("ConfigMap", f"{name}-igbot-gateway")["data"]["REDIS_PREFIX"]
        for chart, name in ((one, "shop"), (two, "hotel"))
    ]
    assert prefixes == ["prod:shop-igbot:", "prod:hotel-igbot:"]


def test_the_same_release_in_two_namespaces_shares_no_redis_key():
    first, second = (render(MINIMAL, namespace=name).config("gateway")["REDIS_PREFIX"] for name in ("prod", "staging"))
    assert first != second


@pytest.mark.parametrize("values", [MINIMAL, FULL])
def test_long_release_names_stay_distinct_and_short_enough(values):
    chart = render(values, release=LONG, sets=("tests.enabled=true",))
    assert len(LONG) == 53
    found = [(one["kind"], one["metadata"]["name"]) for one in chart.objects]
    assert len(found) == len(set(found))
    assert max(len(name) for _, name in found) <= 63


def test_selectors_hold_only_what_never_changes():
    for deployment in render(MINIMAL).all("Deployment"):
        labels = deployment["spec"]["selector"]["matchLabels"]
        assert set(labels) == {f"app.kubernetes.io/{key}" for key in ("name", "instance", "component")}
        pod = deployment["spec"]["template"]["metadata"]["labels"]
        assert labels.items() <= pod.items()
        # A chart-only release must not restart pods.
        assert "helm.sh/chart" not in pod


def test_the_version_label_is_the_app_s_also_when_the_image_is_a_digest():
    for deployment in scenario(FULL).all("Deployment"):
        assert deployment["metadata"]["labels"]["app.kubernetes.io/version"] == "0.1.0"


def test_common_labels_and_annotations_are_on_every_object():
    for one in scenario(FULL).objects:
        if not one["metadata"]["name"].endswith("-extra"):
            assert one["metadata"]["labels"]["team"] == "social"
            assert one["metadata"]["annotations"]["example.com/owner"] == "social"


def test_the_image_is_named_in_one_place():
    images = {pod["containers"][0]["image"] for pod in scenario(FULL).pods()}
    assert images == {f"registry.example.com/bots/igbot@sha256:{'a' * 64}"}
    assert {tuple(one["name"] for one in pod["imagePullSecrets"]) for pod in scenario(FULL).pods()} == {
        ("all", "registry")
    }
    plain = {pod["containers"][0]["image"] for pod in render(MINIMAL, sets=("image.tag=v9",)).pods()}
    assert plain == {"igbot:v9"}


def test_extra_objects_go_through_tpl():
    extra = scenario(FULL).one("ConfigMap", "extra")
    assert extra["data"] == {"who": "igbot"}


def test_each_component_has_its_own_service_account_with_annotations():
    accounts = {one["metadata"]["name"] for one in scenario(FULL).all("ServiceAccount")}
    assert {scenario(FULL).pod(one)["serviceAccountName"] for one in COMPONENTS} == accounts
    assert len(accounts) == 3
    for one in scenario(FULL).all("ServiceAccount"):
        assert one["automountServiceAccountToken"] is False
        assert "eks.amazonaws.com/role-arn" in one["metadata"]["annotations"]
    given = render(MINIMAL, sets=("tokens.serviceAccount.create=false", "tokens.serviceAccount.name=mine"))
    assert given.pod("tokens")["serviceAccountName"] == "mine"
