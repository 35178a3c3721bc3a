"""values.yaml, its schema, its README and its deltas say the same."""

import json
import re
from typing import Any

import pytest

from tests.chart.rendering import DEV, IGBOT, paths, values_of
from tests.tools import ROOT

SCHEMAS = [IGBOT, DEV]


def closed_objects(schema: Any, where: str = "") -> Any:
    if isinstance(schema, dict):
        if "properties" in schema:
            yield where or "the root", schema
        for key, inner in schema.items():
            yield from closed_objects(inner, f"{where}/{key}")


def schema_of(chart: Any) -> dict[str, Any]:
    return json.loads((chart / "values.schema.json").read_text())


def resolve(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    return root["definitions"][name] if name else schema


def schema_paths(schema: dict[str, Any], root: dict[str, Any], prefix: str = "") -> Any:
    for key, inner in schema.get("properties", {}).items():
        yield prefix + key
        yield from schema_paths(resolve(inner, root), root, f"{prefix}{key}.")


@pytest.mark.parametrize("chart", SCHEMAS, ids=lambda chart: chart.name)
def test_the_schema_is_closed_at_every_level_that_is_ours(chart):
    open_ones = [
        where for where, one in closed_objects(schema_of(chart)) if one.get("additionalProperties") is not False
    ]
    assert open_ones in ([], ["/properties/global"])


@pytest.mark.parametrize("chart", SCHEMAS, ids=lambda chart: chart.name)
def test_every_value_is_in_the_schema_and_every_schema_key_is_shown(chart):
    schema = schema_of(chart)
    known, shown = set(schema_paths(schema, schema)), set(paths(values_of(chart)))
    assert {path for path in shown - known if not in_free_map(path, schema)} == set()
    inherited = {f"{c}.{key}" for c in ("gateway", "tokens", "responder") for key in component_keys(known)}
    assert known - shown - inherited - {"enabled", "global"} == set()


def component_keys(known: set[str]) -> set[str]:
    return {path.removeprefix("defaults.") for path in known if path.startswith("defaults.")}


def in_free_map(path: str, schema: dict[str, Any]) -> bool:
    """Whether the path lies inside a map that is passed through, such as an affinity."""
    at: dict[str, Any] = schema
    for key in path.split("."):
        at = resolve(at, schema)
        if "properties" not in at:
            return True
        if key not in at["properties"]:
            return False
        at = at["properties"][key]
    return False


def test_every_setting_in_the_readme_is_a_value_and_every_value_is_in_the_readme():
    table = (IGBOT / "README.md").read_text()
    listed = set(re.findall(r"^\| `([a-zA-Z0-9.]+)` \|", table, re.MULTILINE))
    shown = set(paths(values_of()))
    assert {path for path in listed if path not in shown} == set()
    covered = {path for path in shown if any(path == one or path.startswith(f"{one}.") for one in listed)}
    branches = {path for path in shown if any(one.startswith(f"{path}.") for one in listed)}
    assert shown - covered - branches == set()


def test_the_versions_of_chart_and_package_agree():
    package = re.search(r'^version = "(.+)"$', (IGBOT.parent.parent / "pyproject.toml").read_text(), re.MULTILINE)
    assert package
    for chart in SCHEMAS:
        assert f'appVersion: "{package[1]}"' in (chart / "Chart.yaml").read_text()


def test_each_of_the_40_points_names_what_exists():
    rows = re.findall(r"^\| (\d+) \| .* \| (.*) \|$", (IGBOT / "README.md").read_text(), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 41))
    for _, shown in rows:
        file = ""
        for word in re.findall(r"`([^`]+)`", shown):
            path, _, test = word.partition("::")
            file = path or file
            if file.endswith(".py"):
                source = next(one for one in (ROOT / "tests/chart" / file, ROOT / file) if one.exists()).read_text()
                assert not test or f"def {test}(" in source, word
            elif "/" in file or file.endswith((".md", ".yaml")):
                assert (ROOT / file).exists() or (IGBOT / file).exists(), word
