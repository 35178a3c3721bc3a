import itertools
import re

import pytest

from tests.metrics_page import PAGE, SERVICES, alerts, families, labels_of, name_of, page

PERSONAL = {"account", "person", "mid", "user", "username", "token", "conversation"}
DESIGNED = {
    "igbot_webhook_deliveries_total{outcome}",
    "igbot_inbox_entries",
    "igbot_inbox_oldest_seconds",
    "igbot_dead_letters",
    "igbot_replies_total{outcome}",
    "igbot_reply_seconds",
    "igbot_skips_total{reason}",
    "igbot_sends_total{outcome}",
    "igbot_sends_held",
    "igbot_conversations_due",
    "igbot_conversations_due_oldest_seconds",
    "igbot_model_calls_total{outcome}",
    "igbot_accounts{state}",
    "igbot_token_expiry_seconds",
    "igbot_refreshes_total{outcome}",
    "igbot_gap_messages_total",
    "igbot_dependency_up{dependency}",
    "igbot_build_info{version}",
}


def every():
    return [(service, family) for service in SERVICES for family in families(service)]


def test_the_page_of_metrics_is_what_the_services_declare():
    assert PAGE.read_text() == page(), "run `make metrics` and commit docs/metrics.md"


@pytest.mark.parametrize("service", SERVICES)
def test_every_series_is_there_from_the_start(service):
    for family in families(service):
        assert family.samples, f"{family.name} has no series before its first event"
        labels = labels_of(family)
        made = {tuple(one.labels.get(label) for label in labels) for one in family.samples}
        assert made == set(itertools.product(*labels.values())), family.name


@pytest.mark.parametrize("service", SERVICES)
def test_every_counter_begins_with_zero(service):
    for family in families(service):
        if family.type in {"counter", "histogram"}:
            assert {one.value for one in family.samples} == {0}, family.name


def test_no_label_tells_of_an_account_or_a_person():
    assert not {label for _, family in every() for label in labels_of(family)} & PERSONAL


def test_names_follow_the_rule():
    for _, family in every():
        assert re.fullmatch(r"igbot_[a-z]+(_[a-z]+)*", family.name)
        assert family.documentation.endswith(".")
        assert family.type != "histogram" or family.name.endswith("_seconds")


def test_what_others_rely_on_is_there():
    made = {name_of(one) + "".join(f"{{{label}}}" for label in labels_of(one)) for _, one in every()}
    assert DESIGNED - made == set()


def test_what_alerts_look_at_is_declared():
    made = {name_of(one) for _, one in every()}
    series = {found for rule in alerts() for found in re.findall(r"\bigbot_\w+", rule["expr"])}
    assert {re.sub("_(bucket|sum|count)$", "", one) for one in series} - made == set()
