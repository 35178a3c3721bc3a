"""What the documents say is so."""

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest
from dotenv import dotenv_values
from pydantic import SecretStr

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
EXAMPLE = (ROOT / ".env.example").read_text()
SERVICES = ("gateway", "tokens", "responder")
SEEDS = {
    "handleConnect": "services/gateway",
    "handleOAuthCallback": "services/gateway",
    "handleWebhook": "services/gateway",
    "handleMessage": "services/responder",
    "sendInstagramMessage": "services/responder",
}


def settings(service):
    return import_module(f"services.{service}.settings").Settings


def fields(service):
    """A service's fields by variable, without those that only tests set."""
    found = settings(service).model_fields
    return {name.upper(): field for name, field in found.items() if not name.startswith("igbot_test_")}


def names(service):
    return set(fields(service))


def all_names():
    return set().union(*(names(service) for service in SERVICES))


def rows(section):
    """The cells of each row of the table under a heading."""
    text = README.split(f"## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def documented():
    """Variable to the services and the default that the README gives."""
    return {name.strip("`"): (who, default.strip("`")) for name, who, default, *_ in rows("Settings")}


def test_the_readme_lists_every_variable_and_no_other():
    assert set(documented()) == all_names() | names("sandbox")


@pytest.mark.parametrize("service", [*SERVICES, "sandbox"])
def test_the_readme_says_who_reads_a_variable(service):
    read = {name for name, (who, _) in documented().items() if who == "all" or service in who.split(", ")}
    assert read == names(service)


def shown(value):
    """A default as the README writes it."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value in ("", ()):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple) and not hasattr(value, "port"):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize("service", SERVICES)
def test_the_readme_says_the_defaults(service):
    for name, field in fields(service).items():
        if name in {"LISTEN_ADDRESS", "OPS_ADDRESS", "DATABASE_URL", "GRAPH_URL"}:
            continue  # said in words, or beside other services'
        default = documented()[name][1]
        assert default == ("required" if field.is_required() else shown(field.default)), name


def test_the_example_has_every_variable_and_no_other():
    assert set(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=", EXAMPLE, re.MULTILINE)) == all_names()


def test_the_examples_commented_values_are_the_defaults():
    told = dict(re.findall(r"^# ([A-Z][A-Z0-9_]+)=(.*)$", EXAMPLE, re.MULTILINE))
    for service in SERVICES:
        for name, field in fields(service).items():
            default = "" if field.is_required() else shown(field.default)
            if default and name not in {"LISTEN_ADDRESS", "OPS_ADDRESS", "DATABASE_URL"}:
                assert told[name] == default, name


def test_the_example_filled_in_is_accepted(tmp_path):
    (tmp_path / "key").write_text("A" * 43 + "=")
    filled = {name: value or "filled-in" for name, value in dotenv_values(ROOT / ".env.example").items()}
    for service in SERVICES:
        values = {**filled, "TOKEN_KEYS_DIR": str(tmp_path)}
        settings(service)(**{name.lower(): value for name, value in values.items()})


@pytest.mark.parametrize("seed", SEEDS)
def test_a_name_of_the_brief_leads_to_one_definition(seed):
    (row,) = [row for row in rows("Where the names of the brief are") if row[0] == f"`{seed}`"]
    ((path, name),) = re.findall(r"^\[`(.+):(.+)`\]", row[1])
    assert path.startswith(SEEDS[seed])
    found = [
        (file.relative_to(ROOT).as_posix(), node.name)
        for file in (ROOT / "services").rglob("*.py")
        if "pb" not in file.parts
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
    ]
    assert found == [(path, name)]


@pytest.mark.parametrize(
    "document", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name
)
def test_links_inside_the_repository_lead_somewhere(document):
    text = document.read_text()
    for link in re.findall(r"\]\((?!https?:|mailto:)([^)#]*)(?:#[^)]*)?\)", text):
        assert not link or (document.parent / link).exists(), link


def test_make_targets_in_documents_exist():
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        assert set(re.findall(r"`make ([a-z0-9-]+)", document.read_text())) <= targets, document.name


@pytest.mark.parametrize("document", ["README.md", "docs/architecture.md", "docs/operations.md"])
def test_metrics_in_documents_exist(document):
    told = set(re.findall(r"`(igbot_[a-z_]+)", (ROOT / document).read_text()))
    assert told <= set(re.findall(r"`(igbot_[a-z_]+)`", (ROOT / "docs/metrics.md").read_text()))


@pytest.mark.parametrize("document", ["README.md", "docs/operations.md", "docs/meta-app.md"])
def test_a_check_of_an_account_names_it(document):
    told = re.findall(r"igbot accounts\s+(?:check|refresh)\b([^\n`]*)", (ROOT / document).read_text())
    assert [rest for rest in told if not rest.startswith(" ACCOUNT")] == []


def test_two_documents_tell_the_same_memory_of_a_service_at_rest():
    told = re.search(r"\| memory of a service at rest.*?\| (\d+), (\d+), (\d+) MiB", README)
    sized = re.search(
        r"\| service at rest \| gateway (\d+) MiB, tokens (\d+) MiB, responder (\d+) MiB",
        (ROOT / "docs/operations.md").read_text(),
    )
    assert told
    assert sized
    assert told.groups() == sized.groups()
