"""What helm prints after installing: the next step, and what is not safe."""

import os
import subprocess

import pytest

from tests.chart.rendering import DEV, FULL, IGBOT, MINIMAL, values_of
from tests.tools import need

pytestmark = pytest.mark.long


def notes(*values, sets=(), chart=IGBOT, release="igbot"):
    """Install into no cluster at all; only Helm 4 believes in a new enough Kubernetes without asking one."""
    files = [argument for name in values for argument in ("--values", str(chart / name))]
    files += [argument for one in sets for argument in ("--set", one)]
    command = [need("helm4"), "install", release, str(chart), "--namespace", "prod", "--dry-run=client", *files]
    env = {**os.environ, "KUBECONFIG": os.devnull}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    return done.stdout.partition("NOTES:")[2]


def test_they_say_what_goes_into_the_meta_app_and_what_comes_next():
    said = notes(MINIMAL)
    for path in ("/webhook", "/oauth/callback", "/deauthorize", "/data-deletion", "/connect"):
        assert f"https://dm.example.com{path}" in said
    assert "helm -n prod test igbot" in said
    assert "port-forward service/igbot-gateway 8080" in said


def test_they_warn_of_plain_grpc_and_only_then():
    assert "WARNING: gRPC between the services is plain text" in notes(MINIMAL)
    assert "plain text" not in notes("values-prod.example.yaml")


def test_they_warn_of_an_ingress_without_tls_and_of_no_way_in():
    warning = "ingress.tls.secretName is empty"
    assert warning in notes(MINIMAL, sets=("ingress.enabled=true",))
    assert warning not in notes("values-prod.example.yaml")
    assert "Nothing leads here from outside" in notes(MINIMAL)
    assert "Nothing leads here from outside" not in notes(FULL)


def test_they_warn_of_what_is_for_development_and_hold_no_secret():
    said = notes("values-dev.yaml")
    assert "secrets.create=true" in said
    secrets = values_of(name="values-dev.yaml")["secrets"]
    words = [str(word) for one in secrets.values() if isinstance(one, dict) for word in one["values"].values()]
    assert [word for word in words if len(word) > 5 and word in said] == []
    assert "for development and evaluation only" in notes(chart=DEV, release="igbot-dev")
