"""The owner's yes or no, codes and tokens."""

import pytest

from tests.sandbox.conftest import BACK, A

HOUR = 3_600_000


async def test_the_page_asks_for_what_the_app_wants(sandbox):
    query = {
        "client_id": sandbox.settings.instagram_client_id,
        "redirect_uri": BACK,
        "state": "<s>",
        "scope": "instagram_business_basic,instagram_business_manage_messages",
    }
    async with sandbox.http.get(f"{sandbox.base}/oauth/authorize", params=query) as answer:
        page = await answer.text()
    assert answer.status == 200
    assert "@north_pier_bakery" in page
    assert 'value="instagram_business_manage_messages" checked' in page
    assert "<s>" not in page


@pytest.mark.parametrize("change", [{"client_id": "1"}, {"redirect_uri": BACK + "/"}])
async def test_an_app_or_return_address_that_is_not_registered_gets_no_redirect(sandbox, change):
    query = {"client_id": sandbox.settings.instagram_client_id, "redirect_uri": BACK, **change}
    async with sandbox.http.get(f"{sandbox.base}/oauth/authorize", params=query) as answer:
        assert answer.status == 400
        assert "Invalid" in await answer.text()


async def test_yes_comes_back_with_code_and_state(sandbox):
    back = await sandbox.decide()
    assert back["state"] == "s1"
    assert back["code"]


async def test_no_comes_back_with_metas_words_for_it(sandbox):
    back = await sandbox.decide("refuse")
    assert back["error"] == "access_denied"
    assert back["error_reason"] == "user_denied"
    assert back["state"] == "s1"
    assert "code" not in back


async def test_a_code_becomes_a_short_token_with_a_number_and_a_list(sandbox):
    status, body = await sandbox.exchange((await sandbox.decide())["code"])
    assert status == 200
    assert body["user_id"] == 27640000000000001
    assert body["permissions"] == ["instagram_business_basic", "instagram_business_manage_messages"]


async def test_an_unticked_box_is_missing_from_the_permissions(sandbox):
    code = (await sandbox.decide(scopes=["instagram_business_basic"]))["code"]
    assert (await sandbox.exchange(code))[1]["permissions"] == ["instagram_business_basic"]


async def test_a_code_is_good_once(sandbox):
    code = (await sandbox.decide())["code"]
    await sandbox.exchange(code)
    status, body = await sandbox.exchange(code)
    assert status == 400
    assert body["error_message"] == "Matching code was not found or was already used"


async def test_a_code_is_good_for_an_hour(sandbox):
    code = (await sandbox.decide())["code"]
    sandbox.time[0] += HOUR + 1
    assert (await sandbox.exchange(code))[0] == 400


@pytest.mark.parametrize("change", [{"redirect_uri": BACK + "/"}, {"client_secret": "x"}, {"client_id": "1"}])
async def test_an_exchange_that_is_not_quite_right_fails_and_leaves_the_code_unspent(sandbox, change):
    code = (await sandbox.decide())["code"]
    status, body = await sandbox.exchange(code, **change)
    assert status == 400
    assert body["error_type"] == "OAuthException"
    assert (await sandbox.exchange(code))[0] == 200


async def test_a_short_token_becomes_one_of_sixty_days(sandbox):
    short = await sandbox.short_token()
    query = {"grant_type": "ig_exchange_token", "client_secret": "sandbox-secret"}
    status, body = await sandbox.get("/access_token", access_token=short, **query)
    assert status == 200
    assert body["token_type"] == "bearer"
    assert body["expires_in"] == 5183944
    status, body = await sandbox.get("/access_token", access_token=body["access_token"], **query)
    assert (status, body["error"]["code"]) == (400, 452)


async def test_a_short_token_lives_an_hour(sandbox):
    short = await sandbox.short_token()
    sandbox.time[0] += HOUR
    status, body = await sandbox.get("/v25.0/me", short)
    assert (status, body["error"]["error_subcode"]) == (400, 463)


async def test_a_token_younger_than_a_day_is_not_refreshed(sandbox):
    token = await sandbox.connect()
    query = {"grant_type": "ig_refresh_token", "access_token": token}
    status, body = await sandbox.get("/refresh_access_token", **query)
    assert (status, body["error"]["code"]) == (400, 100)
    sandbox.time[0] += 24 * HOUR
    status, body = await sandbox.get("/refresh_access_token", **query)
    assert status == 200
    assert body["access_token"] != token


async def test_a_refresh_by_post_is_the_wrong_method(sandbox):
    status, body = await sandbox.post("/refresh_access_token")
    assert (status, body["error"]["message"]) == (400, "Unsupported request - method type: post")


async def test_me_tells_the_two_ids_apart(sandbox):
    token = await sandbox.connect()
    _, body = await sandbox.get("/v25.0/me", token, fields="id,user_id,username")
    assert body == {"user_id": A, "username": "north_pier_bakery", "id": "27640000000000001"}


async def test_the_account_answers_to_either_of_its_ids(sandbox):
    token = await sandbox.connect()
    for node in (A, "27640000000000001"):
        assert (await sandbox.get(f"/v25.0/{node}", token, fields="user_id"))[1]["user_id"] == A


async def test_a_garbled_token_cannot_be_parsed(sandbox):
    status, body = await sandbox.get("/v25.0/me", "nonsense", fields="id")
    assert (status, body["error"]["code"]) == (400, 190)


async def test_the_token_may_come_in_the_query(sandbox):
    token = await sandbox.connect()
    assert (await sandbox.get("/v25.0/me", fields="id", access_token=token))[0] == 200


async def test_subscribed_fields_are_read_back(sandbox):
    token = await sandbox.connect()
    _, body = await sandbox.get("/v25.0/me/subscribed_apps", token)
    assert body["data"][0]["subscribed_fields"] == ["message_edit", "message_reactions", "messages"]


async def test_one_unknown_field_fails_the_whole_subscription(sandbox):
    token = await sandbox.connect()
    status, body = await sandbox.post("/v25.0/me/subscribed_apps", {"subscribed_fields": ["messages", "x"]}, token)
    assert (status, body["error"]["code"]) == (400, 100)
    assert len((await sandbox.get("/v25.0/me/subscribed_apps", token))[1]["data"]) == 1


async def test_without_the_messages_permission_there_is_no_subscription(sandbox):
    token = await sandbox.short_token(scopes=["instagram_business_basic"])
    status, body = await sandbox.post("/v25.0/me/subscribed_apps?subscribed_fields=messages", token=token)
    assert (status, body["error"]["code"]) == (403, 10)


async def test_after_unsubscribing_nothing_is_delivered(sandbox):
    token = await sandbox.connect()
    address = f"{sandbox.base}/v25.0/me/subscribed_apps?access_token={token}"
    async with sandbox.http.delete(address) as answer:
        assert await answer.json() == {"success": True}
    await sandbox.say("anybody?")
    assert [entry["event"] for entry in await sandbox.ledger("undelivered")] == ["message"]


async def test_a_path_that_does_not_exist_is_told_in_metas_way(sandbox):
    status, body = await sandbox.post("/v25.0/me")
    assert (status, body["error"]["code"]) == (400, 100)
