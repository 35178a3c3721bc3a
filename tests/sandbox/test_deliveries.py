"""What the webhook gets, and what happens when it does not take it."""

import hashlib
import hmac
import json

from services.sandbox.deliveries import LONGEST_PAUSE, pause_before
from tests.sandbox.conftest import MIRA, NOON, A, B


async def test_a_message_is_delivered_as_meta_writes_it(sandbox):
    await sandbox.connect()
    mid = await sandbox.say("rye/wheat é 😍")
    await sandbox.webhook.until(1)
    _, body = sandbox.webhook.taken[0]
    sent = '"sender":{"id":"' + MIRA + '"},"recipient":{"id":"' + A + '"},"timestamp":' + str(NOON)
    text = '"text":"rye\\/wheat \\u00e9 \\ud83d\\ude0d"'
    item = "{" + sent + ',"message":{"mid":"' + mid + '",' + text + "}}"
    entry = '{"time":' + str(NOON) + ',"id":"' + A + '","messaging":[' + item + "]}"
    assert body.decode() == '{"object":"instagram","entry":[' + entry + "]}"


async def test_a_delivery_carries_both_signatures_of_its_bytes(sandbox):
    await sandbox.connect()
    await sandbox.say("hello")
    await sandbox.webhook.until(1)
    headers, body = sandbox.webhook.taken[0]
    for name, algorithm in (("X-Hub-Signature-256", hashlib.sha256), ("X-Hub-Signature", hashlib.sha1)):
        mark = "sha256=" if algorithm is hashlib.sha256 else "sha1="
        assert headers[name] == mark + hmac.new(b"sandbox-secret", body, algorithm).hexdigest()
    assert headers["User-Agent"] == "facebookexternalua"


async def test_what_the_webhook_refuses_comes_again_until_it_is_taken(sandbox):
    await sandbox.connect()
    sandbox.webhook.statuses = [503, 500]
    await sandbox.say("hello")
    await sandbox.webhook.until(3)
    assert len({body for _, body in sandbox.webhook.taken}) == 1
    while sandbox.courier.waiting():
        await sandbox.get("/sandbox/ledger")
    assert [entry["status"] for entry in await sandbox.ledger("delivery")] == [503, 500, 200]


def test_pauses_grow_and_stop_growing():
    pauses = [pause_before(attempt, 1.0) for attempt in range(1, 12)]
    assert pauses == sorted(pauses)
    assert pauses[0] < 0.5
    assert pauses[-1] == LONGEST_PAUSE


async def test_each_send_echoes_with_the_mid_of_the_answer(sandbox):
    token = await sandbox.connect()
    await sandbox.say("hello")
    mid = (await sandbox.send(token, "hi!"))[1]["message_id"]
    await sandbox.webhook.until(2)
    item = next(body for body in sandbox.webhook.bodies() if b"is_echo" in json.dumps(body).encode())
    item = item["entry"][0]["messaging"][0]
    assert (item["sender"]["id"], item["recipient"]["id"]) == (A, MIRA)
    assert item["message"] == {"mid": mid, "text": "hi!", "is_echo": True}


async def test_what_the_owner_writes_echoes_too(sandbox):
    await sandbox.connect()
    await sandbox.post("/sandbox/human", {"account": A, "person": MIRA, "text": "Anna here"})
    await sandbox.webhook.until(1)
    assert sandbox.webhook.bodies()[0]["entry"][0]["messaging"][0]["message"]["is_echo"] is True


async def test_an_unsend_carries_the_mid_and_no_text(sandbox):
    await sandbox.connect()
    mid = await sandbox.say("forget this")
    await sandbox.webhook.until(1)
    sandbox.time[0] += 5000
    await sandbox.post("/sandbox/unsend", {"mid": mid})
    await sandbox.webhook.until(2)
    item = sandbox.webhook.bodies()[1]["entry"][0]["messaging"][0]
    assert item["message"] == {"mid": mid, "is_deleted": True}
    assert item["timestamp"] == NOON + 5000


async def test_an_edit_counts_and_carries_the_new_text(sandbox):
    await sandbox.connect()
    mid = await sandbox.say("20 rolls")
    await sandbox.post("/sandbox/edit", {"mid": mid, "text": "30 rolls"})
    await sandbox.webhook.until(2)
    edits = [body["entry"][0]["messaging"][0].get("message_edit") for body in sandbox.webhook.bodies()]
    assert {"mid": mid, "text": "30 rolls", "num_edit": 1} in edits


async def test_edit_noise_comes_when_it_is_asked_for(sandbox):
    await sandbox.connect()
    sandbox.stage.edit_noise = True
    mid = await sandbox.say("hello")
    await sandbox.webhook.until(2)
    items = [body["entry"][0]["messaging"][0] for body in sandbox.webhook.bodies()]
    noise = next(item for item in items if "message_edit" in item)
    assert noise == {"timestamp": NOON, "message_edit": {"mid": mid, "num_edit": 0}}


async def test_an_account_that_is_not_connected_is_not_delivered(sandbox):
    await sandbox.connect(A)
    await sandbox.say("hello", account=B)
    assert sandbox.courier.waiting() == []
    assert [entry["event"] for entry in await sandbox.ledger("undelivered")] == ["message"]


async def test_no_two_messages_share_a_moment(sandbox):
    for _ in range(3):
        await sandbox.say("hello")
    times = [entry["timestamp"] for entry in await sandbox.ledger("said")]
    assert times == [NOON, NOON + 1, NOON + 2]
