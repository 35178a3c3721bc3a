import pytest

from tests import tools

Fails, Skips = pytest.fail.Exception, pytest.skip.Exception


def outcome(name, find):
    """What becomes of a test that misses a tool, and the line that says so."""
    try:
        find(name)
    except (Fails, Skips) as ended:
        return type(ended), str(ended)
    return None


def test_a_tool_that_is_there_is_found():
    assert tools.need("sh").endswith("/sh")


def test_a_missing_tool_skips(monkeypatch):
    monkeypatch.delenv("REQUIRE_ALL", raising=False)
    assert outcome("nonesuch", tools.need) == (Skips, "nonesuch is not installed")


def test_a_missing_tool_that_nobody_promised_skips_in_the_gate_too(monkeypatch):
    monkeypatch.setenv("REQUIRE_ALL", "1")
    assert outcome("nonesuch", tools.need) == (Skips, "nonesuch is not installed")


def test_a_missing_tool_that_the_gate_installs_fails_there(monkeypatch):
    monkeypatch.setenv("REQUIRE_ALL", "1")
    assert outcome("chromium", tools.miss) == (Fails, "chromium is not installed: apt-get install chromium")


def test_the_same_tool_skips_elsewhere_and_says_how_to_get_it(monkeypatch):
    monkeypatch.delenv("REQUIRE_ALL", raising=False)
    assert outcome("chromium", tools.miss) == (Skips, "chromium is not installed: apt-get install chromium")


def test_a_tool_that_the_gate_installs_under_another_name_fails_there_too(monkeypatch):
    monkeypatch.setenv("REQUIRE_ALL", "1")
    assert outcome("helm", tools.miss) == (Fails, "helm is not installed: make tools")
