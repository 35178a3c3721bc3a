"""What is read from Meta's OAuth, profile and subscription answers, as they were captured."""

import json
from pathlib import Path

import pytest

from services.common.graph_errors import GraphFailure
from services.tokens import answers, connect
from services.tokens.accounts import Profile
from services.tokens.subscription import WANTED

FIXTURES = Path(__file__).parents[1] / "fixtures" / "graph"
BOTH = ("instagram_business_basic", "instagram_business_manage_messages")
NORTH_PIER = Profile("17841400000000001", "27640000000000001", "north_pier_bakery")


def body(case):
    return json.loads((FIXTURES / case / "200.json").read_bytes())


@pytest.mark.parametrize("case", ["flat", "wrapped", "wrapped_number"])
def test_flat_and_wrapped_grants_are_the_same_grant(case):
    grant = answers.grant(body(f"oauth_short_token_{case}"))
    assert grant.text == "IGAAfixtureShortANotARealToken00000000000000000001"
    assert (grant.scopes, grant.app_scoped_id) == (BOTH, "27640000000000001")


def test_a_grant_without_permissions_says_nothing_about_them():
    assert answers.grant(body("oauth_short_token_no_permissions")).scopes is None


def test_an_empty_grant_is_a_failed_call():
    with pytest.raises(GraphFailure):
        answers.grant(body("oauth_short_token_empty"))


@pytest.mark.parametrize(
    "case", ["long_lived_token", "refresh_token", "refresh_token_same", "refresh_token_with_permissions"]
)
def test_a_long_lived_token_tells_its_life_in_seconds(case):
    fresh = answers.fresh(body(case))
    assert fresh.text.startswith("IGAAfixture")
    assert 5_183_000 < fresh.lives <= 5_184_000


@pytest.mark.parametrize("lives", [None, True, "soon", -1, 0])
def test_a_life_that_makes_no_sense_is_sixty_days(lives):
    assert answers.fresh({"access_token": "x", "expires_in": lives}).lives == answers.DEFAULT_LIFE


@pytest.mark.parametrize("case", ["me_flat", "me_wrapped", "me_number_ids", "me_account_type_doc_case"])
def test_every_shape_of_me_is_the_same_account(case):
    assert answers.profile(body(case)) == NORTH_PIER


def test_me_without_a_professional_id_has_none():
    assert answers.profile(body("me_without_user_id")).account == ""


@pytest.mark.parametrize("value", [None, 1.7e16, True, "abc", "\uff11\uff12", [], {}])
def test_what_is_no_id_is_not_taken_for_one(value):
    assert answers.identifier(value) == ""


def test_ids_beyond_2_53_are_exact():
    assert answers.identifier(json.loads("27640875392278831")) == "27640875392278831"


def test_subscribed_fields_are_read():
    assert set(answers.fields(body("subscribed_list"), "1")) == set(WANTED)
    assert answers.fields(body("subscribed_list_partial"), "1") == ("messages",)
    assert answers.fields(body("subscribed_list_empty"), "1") == ()


def test_another_apps_subscription_is_not_ours():
    listed = {"data": [{"id": "7", "subscribed_fields": ["messages"]}, {"id": 8, "subscribed_fields": ["x"]}]}
    assert answers.fields(listed, "8") == ("x",)
    assert answers.fields(listed, "9") == ("messages", "x")


def test_secrets_are_in_no_repr():
    grant, fresh = answers.grant(body("oauth_short_token_flat")), answers.fresh(body("refresh_token"))
    assert "IGAA" not in f"{grant!r} {fresh!r}"


def test_the_required_scopes_are_those_of_a_full_grant():
    assert set(connect.REQUIRED) == set(BOTH)
