"""Conversations, messages and profiles."""

from tests.sandbox.conftest import MIRA, A, B


async def conversation_of(sandbox, token, person=MIRA):
    _, body = await sandbox.get("/v25.0/me/conversations", token, platform="instagram", user_id=person)
    return body["data"]


async def test_the_conversation_with_a_person_is_found(sandbox):
    token = await sandbox.connect()
    assert await conversation_of(sandbox, token) == []
    await sandbox.say("hello")
    await sandbox.say("other", person="6900000000000777")
    found = await conversation_of(sandbox, token)
    assert len(found) == 1
    assert found[0]["updated_time"] == "2026-10-01T12:00:00+0000"


async def test_all_conversations_come_newest_first_and_in_pages(sandbox):
    token = await sandbox.connect()
    for n in range(3):
        sandbox.time[0] += 1000
        await sandbox.say("hello", person=f"690000000000070{n}")
    query = {"platform": "instagram", "fields": "participants", "limit": "2"}
    _, body = await sandbox.get("/v25.0/me/conversations", token, **query)
    people = [row["participants"]["data"][1]["id"][-1] for row in body["data"]]
    _, rest = await sandbox.get("/v25.0/me/conversations", token, after=body["paging"]["cursors"]["after"], **query)
    assert people + [row["participants"]["data"][1]["id"][-1] for row in rest["data"]] == ["2", "1", "0"]
    assert "paging" not in rest


async def test_the_platform_must_be_named(sandbox):
    token = await sandbox.connect()
    assert (await sandbox.get("/v25.0/me/conversations", token))[0] == 400


async def test_messages_come_newest_first_with_the_fields_that_were_asked_for(sandbox):
    token = await sandbox.connect()
    await sandbox.say("hello")
    sandbox.time[0] += 2000
    await sandbox.send(token, "hi!")
    (found,) = await conversation_of(sandbox, token)
    fields = "messages{id,created_time,from,to,message}"
    _, body = await sandbox.get(f"/v25.0/{found['id']}", token, fields=fields)
    newest, oldest = body["messages"]["data"]
    assert newest["message"] == "hi!"
    assert newest["from"] == {"username": "north_pier_bakery", "id": A}
    assert newest["to"]["data"][0]["id"] == MIRA
    assert newest["created_time"] == "2026-10-01T12:00:02+0000"
    assert oldest["from"]["id"] == MIRA
    _, bare = await sandbox.get(f"/v25.0/{found['id']}", token, fields="messages")
    assert set(bare["messages"]["data"][0]) == {"id", "created_time"}


async def test_only_the_twenty_newest_can_be_read(sandbox):
    token = await sandbox.connect()
    first = await sandbox.say("0")
    mids = [await sandbox.say(str(n)) for n in range(1, 21)]
    (found,) = await conversation_of(sandbox, token)
    _, body = await sandbox.get(f"/v25.0/{found['id']}", token, fields="messages{id}")
    assert [row["id"] for row in body["messages"]["data"]] == mids[::-1]
    assert (await sandbox.get(f"/v25.0/{first}", token, fields="message"))[1]["error"]["code"] == 9000001
    assert (await sandbox.get(f"/v25.0/{mids[0]}", token, fields="message"))[1]["message"] == "1"


async def test_what_was_taken_back_can_no_longer_be_read(sandbox):
    token = await sandbox.connect()
    mid = await sandbox.say("oops")
    await sandbox.say("hello")
    await sandbox.post("/sandbox/unsend", {"mid": mid})
    assert (await sandbox.get(f"/v25.0/{mid}", token, fields="message"))[1]["error"]["code"] == 9000001


async def test_another_accounts_conversation_is_hidden(sandbox):
    a, b = await sandbox.connect(A), await sandbox.connect(B)
    mid = await sandbox.say("hello")
    (found,) = await conversation_of(sandbox, a)
    for node in (mid, found["id"]):
        assert (await sandbox.get(f"/v25.0/{node}", b, fields="messages"))[1]["error"]["error_subcode"] == 33


async def test_a_profile_needs_that_the_person_wrote(sandbox):
    token = await sandbox.connect()
    fields = "name,username,profile_pic"
    assert (await sandbox.get(f"/v25.0/{MIRA}", token, fields=fields))[1]["error"]["code"] == 230
    await sandbox.say("hello")
    assert (await sandbox.get(f"/v25.0/{MIRA}", token, fields=fields))[1]["username"] == "mira.k"


async def test_reads_are_in_the_ledger(sandbox):
    token = await sandbox.connect()
    await sandbox.say("hello")
    await conversation_of(sandbox, token)
    assert [entry["what"] for entry in await sandbox.ledger("read")] == ["conversations"]
