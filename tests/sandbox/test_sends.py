"""Sends, sender actions, and Meta's refusals."""

import pytest

from tests.sandbox.conftest import MIRA, A, B

DAY = 24 * 3_600_000


async def test_a_send_answers_with_recipient_and_mid(sandbox):
    token = await sandbox.connect()
    await sandbox.say("hello")
    status, body = await sandbox.send(token, "hi!")
    assert status == 200
    assert body["recipient_id"] == MIRA
    assert 150 < len(body["message_id"]) < 200


async def test_a_send_goes_to_the_accounts_own_id_as_well(sandbox):
    token = await sandbox.connect()
    await sandbox.say("hello")
    body = {"recipient": {"id": MIRA}, "message": {"text": "hi"}}
    assert (await sandbox.post(f"/v99.0/{A}/messages", body, token))[0] == 200
    assert (await sandbox.post(f"/v25.0/{B}/messages", body, token))[1]["error"]["error_subcode"] == 33


async def test_a_send_without_a_token_is_refused(sandbox):
    status, body = await sandbox.send("", "hi")
    assert (status, body["error"]["code"]) == (400, 190)


async def test_a_thousand_bytes_are_the_limit(sandbox):
    token = await sandbox.connect()
    await sandbox.say("hello")
    assert (await sandbox.send(token, "é" * 500))[0] == 200
    status, body = await sandbox.send(token, "é" * 500 + "x")
    assert (status, body["error"]["code"]) == (400, 100)


@pytest.mark.parametrize("text", ["", " \n "])
async def test_an_empty_text_is_invalid(sandbox, text):
    token = await sandbox.connect()
    await sandbox.say("hello")
    assert (await sandbox.send(token, text))[1]["error"]["error_subcode"] == 2534015


async def test_the_window_closes_24_hours_after_the_person_last_wrote(sandbox):
    token = await sandbox.connect()
    await sandbox.say("hello")
    sandbox.time[0] += DAY - 1
    assert (await sandbox.send(token, "just in time"))[0] == 200
    sandbox.time[0] += 1
    status, body = await sandbox.send(token, "too late")
    assert (status, body["error"]["code"], body["error"]["error_subcode"]) == (403, 10, 2534022)


async def test_somebody_who_never_wrote_is_not_found(sandbox):
    token = await sandbox.connect()
    assert (await sandbox.send(token, "psst", "6900000000000999"))[1]["error"]["error_subcode"] == 2534014


async def test_the_human_agent_tag_needs_metas_approval(sandbox):
    token = await sandbox.connect()
    await sandbox.say("hello")
    status, body = await sandbox.send(token, "hi", messaging_type="MESSAGE_TAG", tag="HUMAN_AGENT")
    assert status == 403
    assert "Human Agent" in body["error"]["message"]


async def test_sender_actions_answer_without_a_message_id(sandbox):
    token = await sandbox.connect()
    await sandbox.say("hello")
    for action in ("mark_seen", "typing_on"):
        body = {"recipient": {"id": MIRA}, "sender_action": action}
        assert await sandbox.post("/v25.0/me/messages", body, token) == (200, {"recipient_id": MIRA})
    assert [entry["action"] for entry in await sandbox.ledger("action")] == ["mark_seen", "typing_on"]


async def test_a_sender_action_goes_alone(sandbox):
    token = await sandbox.connect()
    await sandbox.say("hello")
    assert (await sandbox.send(token, "hi", sender_action="typing_on"))[0] == 400


async def test_how_much_of_the_limits_is_used_is_in_the_headers(sandbox):
    token = await sandbox.connect()
    await sandbox.say("hello")
    body = {"recipient": {"id": MIRA}, "message": {"text": "hi"}}
    headers = {"Authorization": f"Bearer {token}"}
    async with sandbox.http.post(f"{sandbox.base}/v25.0/me/messages", json=body, headers=headers) as answer:
        assert A in answer.headers["X-Business-Use-Case-Usage"]
        assert "call_volume" in answer.headers["X-App-Usage"]


async def test_every_send_is_in_the_ledger_refused_ones_too(sandbox):
    token = await sandbox.connect()
    await sandbox.say("hello")
    await sandbox.send(token, "fine")
    await sandbox.send(token, "x" * 1001)
    assert [(entry["text"][:4], entry["accepted"]) for entry in await sandbox.ledger("send")] == [
        ("fine", True),
        ("xxxx", False),
    ]
