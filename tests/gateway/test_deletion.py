import base64
import hashlib
import hmac
import json
import re
import time

import grpc
import pytest

from services.gateway.requests_of_meta import SIDE_BY_SIDE
from tests.gateway.world import ACCOUNT, NEXT_SECRET, SECRET, until

USER = "27640000000000001"


def signed_request(user=USER, secret=SECRET, **more):
    claims = {"algorithm": "HMAC-SHA256", "user_id": user, "issued_at": 1790856000, **more}
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    digest = hmac.new(secret.encode(), payload.encode(), hashlib.sha256).digest()
    return f"{base64.urlsafe_b64encode(digest).decode().rstrip('=')}.{payload}"


async def ask(world, path, request=None):
    form = {"signed_request": signed_request() if request is None else request}
    async with world.session.post(world.url(path), data=form) as answer:
        return answer.status, await answer.json(), answer.content_type


async def status_page(world, code):
    async with world.session.get(world.url(f"/data-deletion/{code}")) as answer:
        return answer.status, await answer.text()


async def test_a_deletion_answers_the_exact_json_and_its_page_tells_when_it_is_done(world):
    gateway = world.start()
    gateway.clerk.tenure = type("Nobody", (), {"active": False, "stopping": gateway.dispatcher.stopping})()
    status, body, kind = await ask(world, "/data-deletion")
    code = body["confirmation_code"]
    assert (status, kind) == (200, "application/json")
    assert body == {"url": f"http://127.0.0.1:8080/data-deletion/{code}", "confirmation_code": code}
    assert len(code) >= 22
    assert "is being deleted" in (await status_page(world, code))[1]
    gateway.clerk.tenure = gateway.dispatcher.tenure

    async def done():
        return "Your data is deleted" in (await status_page(world, code))[1]

    await until(lambda: world.redis.xlen("tasks") == 0)
    assert await done()
    ttl = world.redis.pttl(f"deletion:{code}") / 1000
    assert 17 * 86_400 < ttl <= 18 * 86_400  # a fifth of 90 days, as all times here


async def test_a_deletion_disconnects_erases_and_forgets_in_this_order(world):
    world.redis.xadd("dead", {"reason": "refused", "account": ACCOUNT, "body": b"{}"})
    world.redis.xadd("dead", {"reason": "unreadable", "account": "", "body": f"cut {ACCOUNT} off".encode()})
    world.redis.xadd("dead", {"reason": "refused", "account": "17841400000000002", "body": b"{}"})
    world.start()
    await ask(world, "/data-deletion")
    await until(lambda: world.redis.xlen("tasks") == 0)
    assert world.tokens.log == [("disconnect", USER), ("forget", USER)]
    assert world.responder.erased == [(ACCOUNT, "")]
    assert [letter["account"] for letter in world.dead()] == ["17841400000000002"]
    kept = b"".join(
        value for key in world.redis.keys("*") for value in (world.redis.dump(key) or b"", key) if b"dead" not in key
    )
    assert USER.encode() not in kept
    assert ACCOUNT.encode() not in kept


async def test_a_deletion_reaches_what_is_kept_under_ids_that_the_account_had_before(world):
    former = ["17841400000000008", "17841400000000009"]
    world.tokens.former = former
    world.tokens.forget_failures = 1  # so that it goes on with what it noted
    world.redis.xadd("dead", {"reason": "refused", "account": former[0], "body": b"{}"})
    world.start()
    await ask(world, "/data-deletion")
    await until(lambda: world.redis.xlen("tasks") == 0)
    assert world.responder.erased == [(account, "") for account in (ACCOUNT, *former)] * 2
    assert world.dead() == []


async def test_what_is_asked_holds_for_what_was_connected_before(world):
    world.start()
    await ask(world, "/deauthorize")
    await until(lambda: world.redis.xlen("tasks") == 0)
    assert world.tokens.asked_at == [1790856000999]  # as Meta signed it, to the second's end

    for claim in ({"issued_at": 10**12}, {"issued_at": "soon"}, {"issued_at": None}, {"issued_at": True}):
        now = int(time.time() * 1000)
        await ask(world, "/deauthorize", signed_request(**claim))
        await until(lambda: world.redis.xlen("tasks") == 0)
        assert now - 5_000 < world.tokens.asked_at[-1] < now + 5_000  # no time to believe: when it came


async def test_a_deauthorization_only_disconnects(world):
    world.start()
    status, body, _ = await ask(world, "/deauthorize", signed_request(secret=NEXT_SECRET))
    assert (status, body) == (200, {"success": True})
    await until(lambda: world.redis.xlen("tasks") == 0)
    assert world.tokens.log == [("disconnect", USER)]
    assert world.responder.erased == []


async def test_a_request_outlives_services_that_are_down_and_the_gateway(world):
    world.tokens.status = grpc.StatusCode.UNAVAILABLE
    first = world.start()
    _, body, _ = await ask(world, "/data-deletion")
    await until(lambda: first.clerk.tries)
    await world.stop(first)
    world.tokens.status = None
    world.start()
    await until(lambda: world.redis.xlen("tasks") == 0)
    assert ("forget", USER) in world.tokens.log
    assert "Your data is deleted" in (await status_page(world, body["confirmation_code"]))[1]


async def test_the_professional_id_is_kept_once_it_is_known(world):
    world.responder.erase_status = grpc.StatusCode.UNAVAILABLE
    gateway = world.start()
    await ask(world, "/data-deletion")
    await until(lambda: gateway.clerk.tries)
    world.tokens.row_is_gone = True
    world.responder.erase_status = None
    await until(lambda: world.redis.xlen("tasks") == 0)
    assert world.responder.erased == [(ACCOUNT, "")]


async def test_who_asks_anew_while_a_deletion_is_open_is_heard_with_it(world):
    world.responder.erase_status = grpc.StatusCode.UNAVAILABLE
    gateway = world.start()
    codes = set()
    # The owner came back and asks again; an older request that comes late takes nothing from that.
    for issued_at in (1790856000, 1790859600, 1790857000):
        _, body, _ = await ask(world, "/data-deletion", signed_request(issued_at=issued_at))
        codes.add(body["confirmation_code"])
        await until(lambda: gateway.clerk.tries)
    world.responder.erase_status = None
    await until(lambda: world.redis.xlen("tasks") == 0)
    assert len(codes) == 1
    assert world.tokens.log[-2:] == [("disconnect", USER), ("forget", USER)]
    assert (world.tokens.asked_at[0], world.tokens.asked_at[-1]) == (1790856000999, 1790859600999)
    _, again, _ = await ask(world, "/data-deletion", signed_request(issued_at=1790859600))
    assert again["confirmation_code"] in codes
    assert world.redis.xlen("tasks") == 0


async def test_who_asks_anew_while_a_deletion_is_carried_out_is_heard_too(world):
    world.responder.slow.clear()
    world.start()
    _, body, _ = await ask(world, "/data-deletion")
    await until(lambda: world.tokens.log)
    await ask(world, "/data-deletion", signed_request(issued_at=1790859600))
    world.responder.slow.set()
    await until(lambda: world.redis.xlen("tasks") == 0)
    assert world.tokens.log == [("disconnect", USER), ("forget", USER)] * 2
    assert world.tokens.asked_at == [1790856000999, 1790859600999]
    assert "Your data is deleted" in (await status_page(world, body["confirmation_code"]))[1]


async def test_the_same_request_while_it_is_open_is_one_request(world):
    world.tokens.status = grpc.StatusCode.UNAVAILABLE
    world.start()
    codes = {(await ask(world, "/data-deletion"))[1]["confirmation_code"] for _ in range(3)}
    assert len(codes) == 1
    assert world.redis.xlen("tasks") == 1
    world.tokens.status = None
    await until(lambda: world.redis.xlen("tasks") == 0)
    newer = signed_request(issued_at=1790856001)
    assert (await ask(world, "/data-deletion", newer))[1]["confirmation_code"] not in codes


async def test_a_deletion_that_was_done_is_not_done_again_when_its_request_comes_again(world):
    world.start()
    _, first, _ = await ask(world, "/data-deletion")
    await until(lambda: world.redis.xlen("tasks") == 0)
    for older in ({}, {"issued_at": 1790855999}):  # the owner may have connected the account again meanwhile
        assert (await ask(world, "/data-deletion", signed_request(**older)))[1] == first
    await ask(world, "/data-deletion", signed_request(user="27640000000000002"))
    await until(lambda: world.tokens.log[-1] == ("forget", "27640000000000002"))
    assert world.tokens.log.count(("disconnect", USER)) == len(world.responder.erased) - 1 == 1
    assert "Your data is deleted" in (await status_page(world, first["confirmation_code"]))[1]
    await ask(world, "/data-deletion", signed_request(issued_at=1790856001))
    await until(lambda: world.redis.xlen("tasks") == 0)
    assert world.tokens.log.count(("disconnect", USER)) == 2  # whoever asks anew is heard


@pytest.mark.parametrize("open_still", [False, True])
async def test_a_request_that_comes_again_is_known_after_a_new_app_secret_too(world, open_still):
    world.tokens.forget_failures = 1000 if open_still else 0
    first = world.start(app_secret=SECRET)
    _, before, _ = await ask(world, "/data-deletion")
    await until(lambda: first.clerk.tries if open_still else world.redis.xlen("tasks") == 0)
    await world.stop(first)
    world.start(app_secret=f"{NEXT_SECRET},{SECRET}")
    for secret in (SECRET, NEXT_SECRET):
        assert (await ask(world, "/data-deletion", signed_request(secret=secret)))[1] == before
    world.tokens.forget_failures = 0
    await until(lambda: world.redis.xlen("tasks") == 0)
    assert world.tokens.log.count(("forget", USER)) == 1
    assert "Your data is deleted" in (await status_page(world, before["confirmation_code"]))[1]


async def test_an_account_that_was_connected_since_a_deletion_was_asked_for_is_not_erased(world):
    world.tokens.former = ["17841400000000008"]
    world.tokens.connected_ms = 1790856001000
    world.redis.xadd("dead", {"reason": "refused", "account": ACCOUNT, "body": b"{}"})
    world.start()
    _, body, _ = await ask(world, "/data-deletion")
    await until(lambda: world.redis.xlen("tasks") == 0)
    assert world.tokens.log == [("disconnect", USER)]
    assert world.responder.erased == []
    assert len(world.dead()) == 1
    assert "is connected again" in (await status_page(world, body["confirmation_code"]))[1]


async def test_an_account_that_is_connected_while_its_deletion_waits_is_not_erased(world):
    world.responder.erase_status = grpc.StatusCode.UNAVAILABLE
    gateway = world.start()
    await ask(world, "/data-deletion")
    await until(lambda: gateway.clerk.tries)
    world.tokens.connected_ms = 1790856001000
    world.responder.erase_status = None
    await until(lambda: world.redis.xlen("tasks") == 0)
    assert world.responder.erased == []
    assert ("forget", USER) not in world.tokens.log


async def test_requests_that_cannot_be_carried_out_hold_no_other_up(world):
    world.responder.erase_status = grpc.StatusCode.UNAVAILABLE
    gateway = world.start()
    for number in range(230):
        await ask(world, "/data-deletion", signed_request(user=f"2764{number:013d}"))
    await until(lambda: len(gateway.clerk.tries) == 230)
    late, leaving = "27649999999999998", "27649999999999999"
    await ask(world, "/data-deletion", signed_request(user=late))
    await ask(world, "/deauthorize", signed_request(user=leaving))
    await until(lambda: {("disconnect", late), ("disconnect", leaving)} <= set(world.tokens.log), seconds=3)
    world.responder.erase_status = None
    await until(lambda: world.redis.xlen("tasks") == 0, seconds=30)


async def test_a_deauthorization_does_not_wait_for_deletions_that_take_long(world):
    world.responder.slow.clear()
    world.start()
    for number in range(2 * SIDE_BY_SIDE):
        await ask(world, "/data-deletion", signed_request(user=f"2764{number:013d}"))
    await until(lambda: len(world.tokens.log) == SIDE_BY_SIDE)
    leaving = "27649999999999999"
    await ask(world, "/deauthorize", signed_request(user=leaving))
    await until(lambda: world.tokens.log[-1] == ("disconnect", leaving))
    assert len(world.tokens.log) == SIDE_BY_SIDE + 1  # so many deletions at once, and no more
    world.responder.slow.set()
    await until(lambda: world.redis.xlen("tasks") == 0)
    assert len(world.responder.erased) == 2 * SIDE_BY_SIDE  # each once


async def test_a_request_that_fails_in_a_way_nobody_foresaw_is_put_off_and_holds_no_other_up(world):
    gateway = world.start()
    disconnect = gateway.clerk.tokens.disconnect

    async def broken_for_one(user, kind, asked_ms):
        if user == USER:
            raise ValueError("nobody foresaw this")
        return await disconnect(user, kind, asked_ms)

    gateway.clerk.tokens.disconnect = broken_for_one
    await ask(world, "/deauthorize")
    await until(lambda: gateway.clerk.tries)
    await ask(world, "/deauthorize", signed_request(user="27640000000000002"))
    await until(lambda: world.redis.xlen("tasks") == 1)


async def test_a_deauthorization_does_not_stand_for_a_deletion(world):
    world.start()
    await ask(world, "/deauthorize")
    await until(lambda: world.redis.xlen("tasks") == 0)
    await ask(world, "/data-deletion")
    await until(lambda: world.responder.erased)


async def test_an_unknown_owner_gets_the_same_answer(world):
    world.start()
    status, body, _ = await ask(world, "/data-deletion", signed_request(user="999"))
    assert (status, set(body)) == (200, {"url", "confirmation_code"})
    await until(lambda: world.redis.xlen("tasks") == 0)
    assert world.responder.erased == []  # an empty account would be everybody


@pytest.mark.parametrize("path", ["/deauthorize", "/data-deletion"])
async def test_a_request_that_meta_did_not_sign_is_403(world, path):
    world.start()
    for request in (signed_request(secret="other"), "", "a.b", signed_request()[:-3]):
        status, body, _ = await ask(world, path, request)
        assert (status, body) == (403, {"error": "BadSignature"})
    async with world.session.post(world.url(path)) as answer:
        assert answer.status == 403
    assert world.redis.xlen("tasks") == 0


async def test_a_request_in_the_query_is_read_too(world):
    world.start()
    async with world.session.post(world.url("/deauthorize"), params={"signed_request": signed_request()}) as answer:
        assert answer.status == 200


async def test_redis_down_is_503_so_that_meta_asks_again(own_world):
    own_world.start()
    own_world.redis_server.kill()
    status, body, _ = await ask(own_world, "/data-deletion")
    assert (status, body) == (503, {"error": "Unavailable"})


async def test_an_unknown_code_is_404(world):
    world.start()
    for code in ("unknown", "a" * 64, "%3Cscript%3E"):
        status, page = await status_page(world, code)
        assert status == 404
        assert not re.search("<script", page)
