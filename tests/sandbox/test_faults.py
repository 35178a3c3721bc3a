"""What goes wrong on request."""

import aiohttp
import pytest

from tests.sandbox.conftest import MIRA, A


async def order(sandbox, **fault):
    status, body = await sandbox.post("/sandbox/faults", fault)
    assert status == 200, body


async def test_a_fault_happens_as_often_as_ordered(sandbox):
    token = await sandbox.connect()
    await sandbox.say("hello")
    await order(sandbox, target="graph", kind="status", status=500, times=2)
    assert [(await sandbox.send(token, "hi"))[0] for _ in range(3)] == [500, 500, 200]
    assert [entry["accepted"] for entry in await sandbox.ledger("send")] == [True]


async def test_a_fault_meets_only_what_matches(sandbox):
    token = await sandbox.connect()
    await sandbox.say("hello")
    await order(sandbox, target="graph", kind="status", match="needle")
    assert (await sandbox.send(token, "hay"))[0] == 200
    assert (await sandbox.send(token, "needle"))[0] == 500


async def test_a_match_sees_texts_as_people_write_them(sandbox):
    token = await sandbox.connect()
    await sandbox.say("hello")
    await order(sandbox, target="graph", kind="status", match="“né/é”")
    assert (await sandbox.send(token, "“né/é”"))[0] == 500


async def test_a_message_may_be_sent_although_the_answer_is_an_error(sandbox):
    token = await sandbox.connect()
    await sandbox.say("hello")
    await order(sandbox, target="graph", kind="status", status=400, code=1, subcode=1357046, after=True)
    status, body = await sandbox.send(token, "hi")
    assert (status, body["error"]["error_subcode"]) == (400, 1357046)
    assert [entry["accepted"] for entry in await sandbox.ledger("send")] == [True]


@pytest.mark.parametrize("after", [False, True])
async def test_a_reset_leaves_the_caller_without_an_answer(sandbox, after):
    token = await sandbox.connect()
    await sandbox.say("hello")
    await order(sandbox, target="graph", kind="reset", after=after)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await sandbox.send(token, "hi")
    assert len(await sandbox.ledger("send")) == int(after)


async def test_a_timeout_answers_nothing_for_its_seconds(sandbox):
    token = await sandbox.connect()
    await sandbox.say("hello")
    await order(sandbox, target="graph", kind="timeout", seconds=0.05)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await sandbox.send(token, "hi")


@pytest.mark.parametrize("target", ["graph", "webhook"])
async def test_no_echo_and_late_echo(sandbox, target):
    token = await sandbox.connect()
    await sandbox.say("hello")
    await sandbox.webhook.until(1)
    await order(sandbox, target=target, kind="no_echo", match="one")
    await order(sandbox, target=target, kind="late_echo", match="two", seconds=1)
    for text in ("one", "two", "three"):
        await sandbox.send(token, text)
    await sandbox.webhook.until(3)
    echoes = [body["entry"][0]["messaging"][0]["message"]["text"] for body in sandbox.webhook.bodies()[1:]]
    assert echoes == ["three", "two"]


async def test_a_limit_says_in_a_header_how_long(sandbox):
    token = await sandbox.connect()
    await order(sandbox, target="graph", kind="limit")
    headers = {"Authorization": f"Bearer {token}"}
    async with sandbox.http.get(f"{sandbox.base}/v25.0/me?fields=id", headers=headers) as answer:
        assert (await answer.json())["error"]["code"] == 80002
        assert '"estimated_time_to_regain_access": 1' in answer.headers["X-Business-Use-Case-Usage"]


async def test_a_dead_token_is_190(sandbox):
    token = await sandbox.connect()
    await order(sandbox, target="graph", kind="dead_token", match=A)
    status, body = await sandbox.get("/v25.0/me", token, fields="id")
    assert (status, body["error"]["code"]) == (401, 190)


async def test_the_model_fails_in_its_own_shape(sandbox):
    await order(sandbox, target="model", kind="status", status=503)
    status, body = await sandbox.post("/v1/chat/completions", {"model": "m", "messages": []})
    assert (status, body["error"]["type"]) == (503, "server_error")


async def test_the_code_exchange_fails_too(sandbox):
    await order(sandbox, target="oauth", kind="status", status=502)
    assert (await sandbox.exchange((await sandbox.decide())["code"]))[0] == 502


async def test_a_delivery_is_lost_or_only_its_answer(sandbox):
    await sandbox.connect()
    await order(sandbox, target="webhook", kind="timeout", match="message")
    await order(sandbox, target="webhook", kind="reset", match="message", after=True)
    await sandbox.say("hello")
    await sandbox.webhook.until(2)
    while sandbox.courier.waiting():
        await sandbox.get("/sandbox/ledger")
    assert [entry["status"] for entry in await sandbox.ledger("delivery")] == [0, 0, 200]


@pytest.mark.parametrize(
    "fault",
    [
        {"target": "moon", "kind": "status"},
        {"target": "graph", "kind": "boom"},
        {"target": "graph", "kind": "status", "tmes": 1},
        {"target": "graph", "kind": "status", "times": "often"},
        {"target": "graph", "kind": "status", "times": 0},
        {"target": "graph", "kind": "status", "times": -1},
        {"target": "graph", "kind": "status", "times": True},
        {"target": "graph", "kind": "status", "subcode": "none"},
        {"target": "model", "kind": "no_echo"},
    ],
)
async def test_a_fault_that_makes_no_sense_is_refused_with_a_reason(sandbox, fault):
    status, body = await sandbox.post("/sandbox/faults", fault)
    assert status == 400
    assert body["error"]


async def test_a_default_may_be_said(sandbox):
    await order(sandbox, target="graph", kind="status", subcode=None, times=1)


async def test_faults_can_be_called_off(sandbox):
    token = await sandbox.connect()
    await sandbox.say("hello")
    await order(sandbox, target="graph", kind="status", times=100, match=MIRA)
    async with sandbox.http.delete(f"{sandbox.base}/sandbox/faults") as answer:
        assert answer.status == 200
    assert (await sandbox.send(token, "hi"))[0] == 200
