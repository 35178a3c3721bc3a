import json

import pytest

BODY = json.dumps({"entry": [{"messaging": [{"message": {"mid": "m1", "text": "my secret"}}]}]}).encode()


@pytest.fixture
def dead(valkey):
    """Two dead letters; their ids."""
    fields = {"source": "dispatcher", "at": 1_790_000_000_000, "account": "1", "person": "9", "mids": "m1"}
    return [
        valkey.xadd("t:dead", {**fields, "reason": reason, "body": body}).decode()
        for reason, body in (("unreadable", b"\xff{"), ("responder_error", BODY))
    ]


@pytest.fixture
def igbot(bare, valkey_url):
    return lambda *words, **more: bare("dead-letters", *words, REDIS_URL=valkey_url, REDIS_PREFIX="t:", **more)


def test_dead_letters_are_listed_without_their_bodies(igbot, dead):
    ran = igbot("list", "--json")
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert [(row["id"], row["reason"], row["bytes"]) for row in rows] == [
        (dead[0], "unreadable", 2),
        (dead[1], "responder_error", len(BODY)),
    ]
    assert "secret" not in ran.out


def test_dead_letters_are_listed_by_reason(igbot, dead):
    ran = igbot("list", "--reason", "unreadable")
    assert dead[0] in ran.out
    assert dead[1] not in ran.out


def test_none_is_exit_code_one(igbot, valkey):
    assert igbot("list").code == 1


def test_what_people_wrote_is_masked_unless_asked_for(igbot, dead):
    masked, whole = igbot("show", dead[1]), igbot("show", dead[1], "--text")
    assert "my secret" not in masked.out
    assert "m1" in masked.out
    assert "my secret" in whole.out


@pytest.mark.parametrize(
    "body",
    [
        {"message": "my private words"},
        {"text": ["my private words"]},
        {"message": {"is_echo": "my private words", "mid": "my private words"}},
        {"entry": [["my private words"]]},
        {"my private words": 1},
        "my private words",
        {"attachments": [{"type": "image", "payload": {"url": "https://cdn/my%20private%20words"}}]},
    ],
)
def test_words_are_masked_wherever_they_stand(igbot, valkey, body):
    letter = valkey.xadd("t:dead", {"reason": "not_an_event", "body": json.dumps(body)}).decode()
    assert "private" not in igbot("show", letter).out
    assert "private" in igbot("show", letter, "--text").out


def test_what_tells_where_a_message_belongs_is_shown(igbot, valkey):
    message = {"mid": "aWdfZAG1faXRlbQ.=", "is_echo": True, "attachments": [{"type": "image"}]}
    item = {"sender": {"id": "9"}, "timestamp": 1790856000000, "message": message}
    whole = {"object": "instagram", "entry": [{"id": "1784", "time": 1790856000, "messaging": [item]}]}
    letter = valkey.xadd("t:dead", {"reason": "not_an_event", "body": json.dumps(whole)}).decode()
    (row,) = map(json.loads, igbot("show", letter, "--json").out.splitlines())
    assert json.loads(row["body"]) == whole


@pytest.fixture
def full(valkey):
    """A Redis that has no room for one more."""
    limit = valkey.config_get("maxmemory")["maxmemory"]
    valkey.config_set("maxmemory", 1)
    yield
    valkey.config_set("maxmemory", limit)


def test_a_replay_into_a_full_redis_says_so_and_shows_no_words(igbot, dead, full, valkey):
    ran = igbot("replay", dead[1])
    assert ran.code == 1
    assert ran.err == "igbot: Redis is full: it refuses to write (OOM)\n"
    assert valkey.xlen("t:dead") == 2


def test_a_redis_that_refuses_otherwise_is_one_line_without_words(igbot, dead, valkey):
    valkey.set("t:inbox", "no stream")
    ran = igbot("replay", dead[1])
    assert (ran.code, ran.err) == (1, "igbot: Redis refuses (WRONGTYPE)\n")


def test_bytes_that_cannot_be_read_are_shown_only_when_asked_for(igbot, dead):
    assert "not JSON" in igbot("show", dead[0]).out
    assert r"\xff{" in igbot("show", dead[0], "--text").out


def test_a_replay_moves_the_body_to_the_inbox(igbot, dead, valkey):
    ran = igbot("replay", dead[1])
    assert ran.code == 0
    ((_, entry),) = valkey.xrange("t:inbox")
    assert entry[b"body"] == BODY
    assert int(entry[b"at"]) > 1_790_000_000_000 - 10**12
    assert [one.decode() for one, _ in valkey.xrange("t:dead")] == [dead[0]]


def test_all_with_one_reason_are_dropped(igbot, dead, valkey):
    assert igbot("drop", "--all", "--reason", "unreadable", "--yes").code == 0
    assert [one.decode() for one, _ in valkey.xrange("t:dead")] == [dead[1]]


def test_dropping_asks_first(igbot, dead, valkey):
    assert igbot("drop", dead[0], typed="n\n").code == 1
    assert valkey.xlen("t:dead") == 2


@pytest.mark.parametrize("words", [("replay",), ("drop",), ("replay", "1-1", "--all")])
def test_without_one_clear_target_nothing_happens(igbot, dead, valkey, words):
    assert igbot(*words, "--yes").code == 2
    assert valkey.xlen("t:dead") == 2


def test_an_id_that_is_not_there_is_exit_code_one(igbot, dead, valkey):
    ran = igbot("drop", "1-1", "--yes")
    assert ran.code == 1
    assert "1-1" in ran.err


def test_an_id_that_is_no_id_is_a_usage_error(igbot, dead):
    assert igbot("show", "nonsense").code == 2


def test_more_than_a_page_is_read_whole(igbot, valkey):
    for n in range(450):
        valkey.xadd("t:dead", {"reason": "unreadable", "body": str(n)})
    assert len(igbot("list", "--limit", "1000", "--json").out.splitlines()) == 450


def test_a_redis_that_is_not_there_is_exit_code_three(bare):
    ran = bare("dead-letters", "list", REDIS_URL="redis://:hunter2@127.0.0.1:1/0")
    assert ran.code == 3
    assert "hunter2" not in ran.err
