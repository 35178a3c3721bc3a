"""docs/operations.md has a section for each alert, and every command of it exists."""

import re
import shlex

import pytest
import typer
import yaml

from services.cli.app import app
from tests.prometheus import RULES
from tests.system.runbooks import BLOCK, PAGE, filled, runbook, section, words

ALERTS = [rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
TESTS = yaml.safe_load(RULES.with_name(f"{RULES.stem}_test.yaml").read_text())["tests"]
SAMPLE = """
## Alerts

### One

It is bad.

**See why.**

```sh
igbot accounts check ACCOUNT
```

**What to type.** First:

```sh
setting APP_SECRET NEW_SECRET
```

Then the owner agrees.

```sh
igbot accounts list
```

## More
"""


def commands():
    """Every igbot command that the page shows, in a block or in a line."""
    text = PAGE.read_text()
    lines = [line for block in BLOCK.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    shown = [line.strip() for line in lines] + re.findall(r"`(igbot [^`]+)`", text.replace("\n", " "))
    return sorted({line for line in shown if line.startswith("igbot ") and "…" not in line})


@pytest.mark.parametrize("alert", ALERTS)
def test_a_section_says_what_it_means_how_to_see_why_and_what_to_type(alert):
    meaning, why, mend = re.split(r"\*\*(?:See why|What to type)\.\*\*", section(f"### {alert}"))
    assert all(len(part.split()) > 5 for part in (meaning, why, mend))
    assert runbook(alert).see


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_is_tested_firing_and_silent(alert):
    asked = [one for test in TESTS for one in test["alert_rule_test"] if one["alertname"] == alert]
    assert {bool(one["exp_alerts"]) for one in asked} == {True, False}


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_page_exists_with_its_options(line):
    found = typer.main.get_command(app)
    said = shlex.split(line, comments=True)[1:]
    context = typer.Context(found)
    while said and hasattr(found, "get_command"):
        found = found.get_command(context, said.pop(0))
        assert found is not None, line
    known = {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in said if word.startswith("--")} <= known


def test_the_page_has_commands():
    assert len(commands()) > 30


def test_a_section_ends_where_the_next_one_begins():
    assert section("### One", SAMPLE).rstrip().endswith("```")
    assert "## More" not in section("### One", SAMPLE)


def test_words_in_capitals_are_filled_in_and_names_of_settings_are_not():
    block = "setting APP_SECRET NEW_SECRET\nigbot conversations show ACCOUNT PERSON\n"
    facts = {"NEW_SECRET": "it's new", "ACCOUNT": "1", "PERSON": "2"}
    assert filled(block, facts) == "setting APP_SECRET 'it'\"'\"'s new'\nigbot conversations show 1 2\n"


def test_a_word_that_nobody_fills_in_is_an_error():
    with pytest.raises(KeyError):
        filled("igbot accounts check ACCOUNT", {})


def test_the_words_of_one_machine_are_functions():
    assert re.findall(r"^(\w+)\(\)", words(), re.MULTILINE) == ["igbot", "setting", "restart"]
