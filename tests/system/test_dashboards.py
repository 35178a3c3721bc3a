"""Dashboards and alerts against a real Prometheus that has watched a real igbot through a night of faults."""

import asyncio
import re
import struct

import pytest

from tests.dashboards import DASHBOARDS
from tests.metrics_page import SERVICES, alerts, families
from tests.pictures import IMAGES, WIDTH, draw_all, height_of
from tests.system.night import filled_in, spent
from tests.system.stage import OURS, watched
from tests.system.supervisor import ROOT, Supervisor
from tests.system.town import A
from tests.tools import need

pytestmark = pytest.mark.long

INJECTED = ROOT / "tests/system/test_injected_faults.py"
EMPTY_WHEN_WELL = {
    "IgbotComponentAbsent": "before_anybody_is_there",
    "IgbotInboxOld": "before_anybody_is_there",
    "IgbotRedisUnsafe": "redis_in_trouble",
    "IgbotDeliveriesRefused": "redis_in_trouble",
    "IgbotSignaturesWrong": "strangers",
    "IgbotSendsHeld": "instagram_in_trouble",
    "IgbotRateLimited": "instagram_in_trouble",
    "IgbotWebhooksMissing": "tokens_in_trouble",
    "IgbotAutomaticReplies": "automatic_replies",
    "IgbotAccountsNeedOwner": "tokens_in_trouble",
    "IgbotTokenExpiresSoon": "tokens_in_trouble",
    "MassTokenRejection": "tokens_in_trouble",
    "IgbotDeadLetters": "an_evening",
    "IgbotConversationsFailed": "an_evening",
    "IgbotRepliesLate": "test_whoever_waits_for_two_minutes_is_seen",
    "IgbotModelDown": "test_the_model_is_down",
    "IgbotDatabaseDown": "test_the_database_is_down",
    "IgbotCertificateExpires": "test_a_certificate_is_expired",
}
"""Every alert's expression is rightly empty while all is well; the scene, or the test, in which it is not."""


def expression(alert):
    return next(rule["expr"] for rule in alerts() if rule["alert"] == alert)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    need("prometheus")
    return asyncio.run(spent(tmp_path_factory.mktemp("night")))


def test_every_panel_has_data(night):
    assert night.whole
    assert [str(query) for query, series in night.whole.items() if not series] == []


def test_every_panel_has_data_on_an_ordinary_evening(night):
    assert [str(query) for query, series in night.evening.items() if not series] == []


def test_every_rule_is_evaluated(night):
    assert night.unhealthy == []


def test_each_alert_is_filled_by_its_fault(night):
    assert set(EMPTY_WHEN_WELL) == {rule["alert"] for rule in alerts()}
    elsewhere = {alert for alert, where in EMPTY_WHEN_WELL.items() if where.startswith("test_")}
    assert set(EMPTY_WHEN_WELL) - elsewhere - night.filled == set()


@pytest.mark.parametrize(("alert", "where"), [pair for pair in EMPTY_WHEN_WELL.items() if pair[1].startswith("test_")])
def test_the_other_faults_have_tests_of_their_own(alert, where):
    if where not in globals():
        body = re.search(rf"^async def {where}\(.*?(?=^async def |\Z)", INJECTED.read_text(), re.MULTILINE | re.DOTALL)
        assert body
        assert alert in body[0]


@pytest.mark.parametrize("service", OURS)
def test_what_a_service_exposes_is_what_it_declared(night, service):
    declared = {sample.name for family in families(service) for sample in family.samples}
    assert {one.partition("{")[0] for one in night.first[service]} == declared
    assert set(SERVICES) == set(OURS)


@pytest.mark.parametrize("service", OURS)
def test_no_series_appears_that_was_not_there_from_the_start(night, service):
    assert night.last[service] - night.first[service] == set()


async def test_whoever_waits_for_two_minutes_is_seen(tmp_path):
    """One worker and a model that thinks for longer than that: the second customer waits."""
    patient = {"WORKERS": "1", "MODEL_TIMEOUT_SECONDS": "170", "REPLY_DEADLINE_SECONDS": "200"}
    async with watched(Supervisor(tmp_path, settings=patient)) as stage:
        await stage.machine.start_all()
        await stage.town.connect(A)
        await stage.town.control("faults", target="model", kind="timeout", seconds=170, times=2)
        for person in ("6900000000000001", "6900000000000002"):
            await stage.town.say(person, "Are you open?")
        await stage.sees(filled_in(expression("IgbotRepliesLate")), 170)


def test_each_dashboard_can_be_drawn_with_what_was_seen(night, tmp_path):
    made = draw_all(night.evening, tmp_path)
    assert [path.stem for path in made] == [path.stem for path in DASHBOARDS]
    assert all(path.stat().st_size > 50_000 for path in made)


def test_there_is_a_picture_of_each_dashboard_as_wide_and_high_as_it_is_now():
    for path in DASHBOARDS:
        with (IMAGES / f"{path.stem}.png").open("rb") as file:
            assert struct.unpack(">II", file.read(24)[16:]) == (WIDTH, height_of(path)), f"{path.stem}: make pictures"
