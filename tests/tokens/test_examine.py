"""What the token service finds when it looks at itself, one fault at a time."""

from dataclasses import replace

import pytest

from services.common.errors import Unavailable
from services.common.graph_errors import GraphFailure, read_error
from services.tokens import check
from services.tokens.connect import SETUP
from services.tokens.examine import examine
from tests.tokens.fakes import A, PlainKeys, silence
from tests.tokens.process import CALLBACK


async def found_in(here):
    return {one.check: one for one in await examine(here.ports, CALLBACK)}


async def test_all_is_well(here):
    await here.connected()
    found = await found_in(here)
    assert {name: one.ok for name, one in found.items()} == {
        "database write": True,
        "keyring in use": True,
        "meta app": True,
    }
    assert found["keyring in use"].found == "all that are stored can be read: 1"


async def test_a_store_that_is_away_is_red_and_the_app_is_asked_all_the_same(here):
    here.store.down = True
    found = await found_in(here)
    assert (found["database"].ok, found["meta app"].ok) == (False, True)
    assert "DATABASE_URL" in found["database"].advice


async def test_a_key_that_was_lost_is_red(here):
    await here.connected()

    class Lost(PlainKeys):
        def open(self, account, field, sealed):
            raise Unavailable("the key 2026-01 is not in the keyring")

    here.ports = replace(here.ports, keys=Lost())
    found = await found_in(here)
    assert (found["keyring in use"].ok, found["keyring in use"].found) == (False, "1 of 1 cannot be read")


@pytest.mark.parametrize("message", ["Invalid platform app", "Error validating client secret.", "Invalid redirect_uri"])
async def test_an_app_that_instagram_does_not_know_is_red(here, message):
    error = read_error(400, {"error_type": "OAuthException", "code": 400, "error_message": message})
    here.meta.faults = [GraphFailure("refused", reached=True, error=error)]
    found = (await found_in(here))["meta app"]
    assert (found.ok, found.advice) == (False, SETUP)


async def test_an_instagram_that_does_not_answer_is_red(here):
    here.meta.faults = [silence()]
    found = (await found_in(here))["meta app"]
    assert found.ok is False
    assert "INSTAGRAM_TOKEN_URL" in found.advice


async def test_an_account_without_a_tester_role_is_told_so(here):
    await here.connected()
    error = read_error(400, {"error": {"message": "Unsupported request - method type: get", "code": 100}})
    here.meta.faults = [GraphFailure("refused", reached=True, error=error)]
    found = {one.check: one for one in (await check.check(here.ports, A.account))[1]}
    assert found["token"].ok is False
    assert "Instagram Tester" in found["token"].advice


async def test_nothing_is_changed_by_looking(here):
    await here.connected()
    before = await here.ports.accounts.find(A.account)
    await found_in(here)
    assert await here.ports.accounts.find(A.account) == before
