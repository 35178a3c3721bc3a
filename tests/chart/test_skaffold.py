"""skaffold.yaml names only what exists. Skaffold itself checks it where it is installed."""

import re
import shutil
import subprocess

import kubernetes_validate
import pytest
import yaml

from tests.chart.rendering import DEV, IGBOT, NEWEST, render, values_of
from tests.tools import ROOT

CONFIGS = {one["metadata"]["name"]: one for one in yaml.safe_load_all((ROOT / "skaffold.yaml").read_text())}
TARGETS = set(re.findall(r"^FROM .* AS (\w+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
IMAGE = CONFIGS["image"]["build"]["artifacts"][0]
VERIFY = CONFIGS["app"]["verify"][0]


def releases():
    return [one for config in CONFIGS.values() for one in config.get("deploy", {}).get("helm", {}).get("releases", [])]


def patches():
    return [one for config in CONFIGS.values() for profile in config.get("profiles", []) for one in profile["patches"]]


def at(config, path):
    """What a JSON patch's path leads to."""
    for step in path.strip("/").split("/"):
        config = config[int(step) if isinstance(config, list) else step]
    return config


def test_the_stores_come_before_the_app_and_app_alone_builds_its_image():
    assert list(CONFIGS) == ["image", "dev", "app"]
    assert all(CONFIGS[name]["requires"] == [{"configs": ["image"]}] for name in ("dev", "app"))
    assert [one["name"] for one in releases()] == ["igbot-dev", "igbot"]


def test_every_file_and_folder_exists():
    values = [file for one in releases() for file in one.get("valuesFiles", [])]
    values += [file for one in patches() if one["path"].endswith("valuesFiles") for file in one["value"]]
    named = [one["chartPath"] for one in releases()] + values + [IMAGE["docker"]["dockerfile"]]
    named.append(VERIFY["executionMode"]["kubernetesCluster"]["jobManifestPath"])
    assert [name for name in named if not (ROOT / name).exists()] == []
    [sync] = [one["value"] for one in patches() if one["path"].endswith("/sync")]
    assert all(list(ROOT.glob(rule["src"])) for rule in sync["manual"])


def test_every_profile_patches_what_is_there():
    assert {profile["name"] for one in CONFIGS.values() for profile in one.get("profiles", [])} == {
        "hot-reload",
        "debug",
    }
    for config in CONFIGS.values():
        for profile in config.get("profiles", []):
            for patch in profile["patches"]:
                parent, _, leaf = patch["path"].rpartition("/")
                assert (leaf in at(config, parent)) == (patch["op"] == "replace")
                # An empty list in a profile would not override anything.
                assert patch["value"]


def test_every_build_target_is_a_stage_of_the_dockerfile():
    wanted = [IMAGE["docker"]["target"], *(one["value"] for one in patches() if one["path"].endswith("/target"))]
    assert set(wanted) <= TARGETS


def test_the_image_that_is_built_is_the_one_deployed_and_verified():
    assert IMAGE["image"] == VERIFY["container"]["image"] == "igbot"
    templates = {key for one in releases() for key in one["setValueTemplates"]}
    assert templates == {"image.repository", "image.tag", "sandbox.image.repository", "sandbox.image.tag"}
    assert "image" in values_of(DEV)["sandbox"]


@pytest.mark.long
def test_every_forwarded_service_exists_with_that_port():
    dev, app = render(chart=DEV, release="igbot-dev"), render("values-dev.yaml")
    services = {one["metadata"]["name"]: one["spec"]["ports"] for chart in (dev, app) for one in chart.all("Service")}
    for config in CONFIGS.values():
        for forward in config.get("portForward", []):
            assert forward["port"] in {one["port"] for one in services[forward["resourceName"]]}
            assert forward["namespace"] == "igbot"


@pytest.mark.long
def test_verify_asks_the_deployed_services_with_their_secret():
    told = {row["name"]: row["value"] for row in VERIFY["container"]["env"]}
    app = render("values-dev.yaml", namespace="igbot")
    for name in ("tokens", "responder"):
        port = values_of()[name]["ports"]["grpc"]
        assert told[f"{name.upper()}_ADDRESS"] == f"{app.one('Service', name)['metadata']['name']}:{port}"
    assert told["APP_SECRET"] == app.one("Secret", "dev-meta")["stringData"]["appSecret"]
    smoke = app.one("Pod", "smoke")["spec"]["containers"][0]["env"]
    assert set(told) == {row["name"] for row in smoke}


def test_the_verify_job_is_valid_and_let_in_by_the_policies():
    job = yaml.safe_load((ROOT / "tests/e2e/verify-job.yaml").read_text())
    kubernetes_validate.validate(job, NEWEST.removesuffix(".0"), strict=True)
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/component"] == "smoke"
    assert labels["app.kubernetes.io/instance"] == releases()[1]["name"]


def test_hot_reload_has_one_writable_copy_and_no_long_wait():
    values = values_of(IGBOT, "ci/hot-reload-values.yaml")["defaults"]
    assert values["containerSecurityContext"]["readOnlyRootFilesystem"] is False
    assert values["replicas"] == 1


@pytest.mark.long
def test_skaffold_takes_it():
    skaffold = shutil.which("skaffold")
    if skaffold is None:
        pytest.skip("skaffold is not installed")
    done = subprocess.run([skaffold, "diagnose", "--yaml-only"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
