"""The control interface, the page, and what is kept over a restart."""

import pytest

from services.sandbox.compose import make_stage
from services.sandbox.keeper import Keeper
from tests.sandbox.conftest import MIRA, A


@pytest.mark.parametrize("path", ["say", "human", "unsend", "edit", "faults", "meet", "revoke", "dashboard"])
@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"account":"1","person":"2","text":"t"}', b'{"mid":"m","text":"t"}']
)
async def test_what_makes_no_sense_is_refused_with_a_reason(sandbox, path, body):
    async with sandbox.http.post(f"{sandbox.base}/sandbox/{path}", data=body) as answer:
        assert answer.status in {400, 404}
        assert (await answer.json())["error"]


async def test_the_account_may_be_named_by_either_id(sandbox):
    _, said = await sandbox.post("/sandbox/say", {"account": "27640000000000001", "person": 1, "text": "x"})
    assert (said["account"], said["person"]) == (A, "1")


async def test_only_a_customers_own_messages_can_be_taken_back(sandbox):
    token = await sandbox.connect()
    await sandbox.say("hello")
    mid = (await sandbox.send(token, "hi"))[1]["message_id"]
    assert (await sandbox.post("/sandbox/unsend", {"mid": mid}))[0] == 404


async def test_somebody_met_may_be_written_to(sandbox):
    token = await sandbox.connect()
    await sandbox.post("/sandbox/meet", {"account": A, "person": "6900000000000001"})
    assert (await sandbox.send(token, "hi", "6900000000000001"))[0] == 200


async def test_a_revoked_token_is_dead_and_webhooks_go_on(sandbox):
    token = await sandbox.connect()
    await sandbox.say("hello")
    assert (await sandbox.post("/sandbox/revoke", {"account": A}))[0] == 200
    assert (await sandbox.send(token, "hi"))[1]["error"]["code"] == 190
    await sandbox.say("anybody there?")
    assert await sandbox.ledger("undelivered") == []
    assert (await sandbox.send(await sandbox.connect(), "hi"))[0] == 200


async def test_a_field_that_the_dashboard_does_not_tick_is_not_delivered(sandbox):
    token = await sandbox.connect()
    await sandbox.post("/sandbox/dashboard", {"fields": ["message_edit"]})
    await sandbox.say("hello")
    assert [entry["event"] for entry in await sandbox.ledger("undelivered")] == ["message"]
    await sandbox.post("/sandbox/dashboard", {"fields": ["message_edit", "messages"]})
    await sandbox.post("/v25.0/me/subscribed_apps?subscribed_fields=messages", token=token)
    await sandbox.say("hello again")
    assert len(await sandbox.ledger("undelivered")) == 1


async def test_the_ledger_is_read_from_where_one_left_off(sandbox):
    await sandbox.say("one")
    _, first = await sandbox.get("/sandbox/ledger")
    await sandbox.say("two")
    _, then = await sandbox.get("/sandbox/ledger", since=str(first["next"]))
    assert [entry["text"] for entry in then["entries"] if entry["kind"] == "said"] == ["two"]
    assert [entry["n"] for entry in first["entries"] + then["entries"]] == list(range(then["next"]))


@pytest.mark.parametrize(
    ("path", "status"), [("ledger?since=abc", 400), ("ledger?limit=-1", 400), ("nowhere", 404), ("say", 405)]
)
async def test_whatever_is_wrong_with_a_question_is_told_in_json(sandbox, path, status):
    async with sandbox.http.get(f"{sandbox.base}/sandbox/{path}") as answer:
        assert answer.status == status
        assert (await answer.json())["error"]


async def test_reset_forgets_everything_but_the_connection(sandbox):
    token = await sandbox.connect()
    await sandbox.say("hello")
    await sandbox.post("/sandbox/reset")
    assert await sandbox.ledger() == []
    assert (await sandbox.send(token, "hi"))[1]["error"]["error_subcode"] == 2534014
    await sandbox.say("hello again")
    assert await sandbox.ledger("undelivered") == []


async def chat(sandbox, known=""):
    return (await sandbox.get("/sandbox/chat", account=A, person=MIRA, known=known))[1]


async def test_the_page_shows_what_the_customer_sees(sandbox):
    assert (await chat(sandbox))["connected"] is False
    token = await sandbox.connect()
    mid = await sandbox.say("hello")
    await sandbox.post("/v25.0/me/messages", {"recipient": {"id": MIRA}, "sender_action": "mark_seen"}, token)
    await sandbox.post("/v25.0/me/messages", {"recipient": {"id": MIRA}, "sender_action": "typing_on"}, token)
    state = await chat(sandbox)
    assert (state["connected"], state["seen"], state["typing"]) == (True, mid, True)
    await sandbox.send(token, "hi!")
    state = await chat(sandbox, state["fingerprint"])
    assert (state["seen"], state["typing"]) == ("", False)
    assert [(one["author"], one["text"]) for one in state["messages"]] == [("customer", "hello"), ("app", "hi!")]


async def test_typing_ends_by_itself(sandbox):
    token = await sandbox.connect()
    await sandbox.say("hello")
    await sandbox.post("/v25.0/me/messages", {"recipient": {"id": MIRA}, "sender_action": "typing_on"}, token)
    sandbox.time[0] += 20_000
    assert (await chat(sandbox))["typing"] is False


async def test_nothing_is_left_on_the_page_of_what_was_taken_back(sandbox):
    mid = await sandbox.say("secret words")
    await sandbox.post("/sandbox/unsend", {"mid": mid})
    (bubble,) = (await chat(sandbox))["messages"]
    assert (bubble["text"], bubble["gone"]) == ("", True)


async def test_the_page_and_its_files_are_served_from_here(sandbox):
    async with sandbox.http.get(sandbox.base + "/") as answer:
        page = await answer.text()
    assert "http://127.0.0.1:8080/connect" in page
    for name in ("page.css", "chat.js"):
        async with sandbox.http.get(f"{sandbox.base}/static/{name}") as answer:
            assert answer.status == 200
            assert "//" not in (await answer.text()).replace("// ", "")


async def test_account_and_conversation_are_kept_over_a_restart(sandbox, tmp_path):
    token = await sandbox.connect()
    mid = await sandbox.say("hello")
    await sandbox.send(token, "hi!")
    Keeper(sandbox.stage, tmp_path).keep()

    again = make_stage(sandbox.settings)
    Keeper(again, tmp_path).load()
    assert [message.text for message in again.world.conversations[A, MIRA].messages] == ["hello", "hi!"]
    assert again.grants.delivers(A, "messages")
    assert again.grants.tokens[token].account == A
    assert again.heard.mids(["hello"]) == [mid]
    assert again.world.say(A, MIRA, "more", 0).mid not in sandbox.stage.world.messages


async def test_a_delivery_that_waits_is_carried_on_after_a_restart(sandbox, tmp_path):
    await sandbox.connect()
    sandbox.webhook.statuses = [503] * 100
    await sandbox.say("hello")
    Keeper(sandbox.stage, tmp_path).keep()
    (waiting,) = Keeper(make_stage(sandbox.settings), tmp_path).load()
    assert waiting == sandbox.courier.waiting()[0]


@pytest.mark.parametrize("text", ["", "{", "{}", '{"format": 99}', '{"format": 1, "grants": {}}'])
async def test_a_broken_memory_does_not_keep_it_from_starting(sandbox, tmp_path, text):
    (tmp_path / "sandbox.json").write_text(text)
    assert Keeper(make_stage(sandbox.settings), tmp_path).load() == []
