"""Who may speak with whom, and what is reachable from outside."""

import pytest

from tests.chart.rendering import COMPONENTS, FULL, MINIMAL, SCENARIOS, render, scenario

pytestmark = pytest.mark.long

PUBLIC = {"/", "/connect", "/oauth/callback", "/webhook", "/deauthorize", "/data-deletion", "/style.css"}


def callers(chart, component):
    """The components that a policy lets in at the main port; None for everyone."""
    for rule in chart.one("NetworkPolicy", component)["spec"]["ingress"]:
        if rule["ports"][0]["port"] != "http-metrics":
            peers = rule.get("from")
            if peers is None:
                return None
            return {one["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for one in peers}
    raise AssertionError(component)


def test_each_service_is_reached_only_by_those_who_call_it():
    chart = render(MINIMAL)
    assert callers(chart, "gateway") is None
    assert callers(chart, "tokens") == {"gateway", "responder", "smoke", "operator"}
    assert callers(chart, "responder") == {"gateway", "smoke", "operator"}


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_policy_selects_only_its_own_pods_and_both_ways(name):
    chart = scenario(name)
    for policy in chart.all("NetworkPolicy"):
        labels = policy["spec"]["podSelector"]["matchLabels"]
        assert set(labels) == {f"app.kubernetes.io/{key}" for key in ("name", "instance", "component")}
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert {
        policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
        for policy in chart.all("NetworkPolicy")
    } == {*COMPONENTS, "smoke"}


def egress(chart, component):
    return chart.one("NetworkPolicy", component)["spec"]["egress"]


def test_only_tokens_and_responder_reach_the_internet_and_never_a_private_or_metadata_address():
    chart = render(MINIMAL)
    for component in COMPONENTS:
        blocks = [
            peer["ipBlock"] for rule in egress(chart, component) for peer in rule.get("to", []) if "ipBlock" in peer
        ]
        world = [one for one in blocks if one["cidr"] in {"0.0.0.0/0", "::/0"}]
        assert len(world) == (0 if component == "gateway" else 2)
        for one in world:
            assert {"169.254.0.0/16", "10.0.0.0/8"} <= set(one["except"]) or "fc00::/7" in one["except"]


def test_stores_are_reached_on_their_ports_and_where_named_only_there():
    loose, strict = render(MINIMAL), scenario("ci/netpol-strict-values.yaml")
    assert {"ports": [{"port": 6379, "protocol": "TCP"}]} in egress(loose, "gateway")
    [redis] = [rule for rule in egress(strict, "gateway") if rule["ports"][0]["port"] == 6379]
    assert redis["to"] == [{"podSelector": {"matchLabels": {"app": "redis"}}}]
    for component in ("tokens", "responder"):
        [mongo] = [rule for rule in egress(strict, component) if rule["ports"][0]["port"] == 27017]
        assert mongo["to"] == [{"ipBlock": {"cidr": "10.9.0.0/24"}}]
        assert all(rule["ports"][0]["port"] != 6379 for rule in egress(strict, component))


def test_everyone_may_ask_dns_also_on_openshift():
    for component in (*COMPONENTS, "smoke"):
        assert egress(render(MINIMAL), component)[0]["ports"] == [
            {"port": 53, "protocol": "UDP"},
            {"port": 53, "protocol": "TCP"},
        ]
        assert egress(scenario("ci/openshift-values.yaml"), component)[0]["ports"][0]["port"] == 5353


def test_the_ingress_lets_in_only_public_paths():
    [ingress] = scenario(FULL).all("Ingress")
    [rule] = ingress["spec"]["rules"]
    assert rule["host"] == "dm.example.com"
    assert {one["path"]: one["pathType"] for one in rule["http"]["paths"]} == dict.fromkeys(
        PUBLIC - {"/data-deletion"}, "Exact"
    ) | {"/data-deletion": "Prefix"}
    assert {one["backend"]["service"]["port"]["name"] for one in rule["http"]["paths"]} == {"http"}
    assert ingress["spec"]["tls"] == [{"hosts": ["dm.example.com"], "secretName": "public-tls"}]


def test_the_route_lets_in_the_same_paths():
    [route] = scenario("ci/gateway-api-values.yaml").all("HTTPRoute")
    [rule] = route["spec"]["rules"]
    assert {match["path"]["value"] for match in rule["matches"]} == PUBLIC
    assert [match["path"]["value"] for match in rule["matches"] if match["path"]["type"] != "Exact"] == [
        "/data-deletion"
    ]
    assert rule["backendRefs"] == [{"name": "igbot-gateway", "port": 8080}]


def test_bodies_of_four_mebibytes_pass_where_the_controller_would_refuse_them():
    [nginx] = scenario(FULL).all("Ingress")
    assert nginx["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-body-size"] == "4m"
    assert nginx["metadata"]["annotations"]["cert-manager.io/cluster-issuer"] == "letsencrypt"
    [traefik] = scenario("values-prod.example.yaml").all("Ingress")
    assert not [key for key in traefik["metadata"]["annotations"] if "nginx" in key]


def test_a_service_that_leaves_the_cluster_does_not_carry_the_metrics():
    services = {one["metadata"]["name"]: one["spec"] for one in scenario(FULL).all("Service")}
    assert services["igbot-gateway"]["type"] == "LoadBalancer"
    assert [port["name"] for port in services["igbot-gateway"]["ports"]] == ["http"]
    assert [port["name"] for port in services["igbot-gateway-metrics"]["ports"]] == ["http-metrics"]


def test_grpc_services_are_headless_so_that_clients_see_every_pod():
    for component in ("tokens", "responder"):
        spec = render(MINIMAL).one("Service", component)["spec"]
        assert spec["clusterIP"] == "None"
        assert spec["ports"][0]["appProtocol"] == "grpc"


def test_forwarded_headers_are_believed_only_behind_a_proxy():
    assert render(MINIMAL).config("gateway")["TRUST_PROXY"] == "false"
    assert scenario("ci/gateway-api-values.yaml").config("gateway")["TRUST_PROXY"] == "true"
    assert render(MINIMAL, sets=("config.gateway.trustProxy=true",)).config("gateway")["TRUST_PROXY"] == "true"
