"""The id that follows a delivery: made here, or a trusted proxy's; in the inbox, in the call, in the lines."""

import io
from itertools import pairwise

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from services.common.request_id import bound, incoming, outgoing, request_ids, well_formed
from services.gateway.handed_on import tell
from services.gateway.ports import Entry, Outcome, Verdict
from services.gateway.works import Delivery, Work, read
from tests.gateway.world import delivery, message, sign, until


async def post(world, body, request_id):
    headers = {"X-Hub-Signature-256": sign(body), "X-Request-ID": request_id}
    async with world.session.post(world.url(), data=io.BytesIO(body), headers=headers) as answer:
        assert answer.status == 200
    return await until(lambda: world.responder.events)


async def test_each_delivery_gets_an_id_that_reaches_the_responder(world):
    world.start()
    for n in (1, 2):
        await world.post(delivery(message(n)))
    first, second = await until(lambda: len(world.responder.events) == 2 and world.responder.events)
    assert well_formed(first.request)
    assert first.request != second.request


async def test_a_trusted_proxys_id_is_kept(world):
    world.start(trust_proxy=True)
    (event,) = await post(world, delivery(message(1)), "proxy-0123456789")
    assert event.request == "proxy-0123456789"


@pytest.mark.parametrize(
    ("trusted", "given"), [(False, "proxy-0123456789"), (True, "short"), (True, "x" * 65), (True, "a b c d e f g h")]
)
async def test_any_other_id_is_replaced(world, trusted, given):
    world.start(trust_proxy=trusted)
    (event,) = await post(world, delivery(message(1)), given)
    assert event.request != given
    assert well_formed(event.request)


async def test_an_entry_of_an_older_igbot_is_followed_by_its_own_id(world):
    name = world.redis.xadd("inbox", {"body": delivery(message(1)), "at": 1_790_856_000_000}).decode()
    world.start()
    (event,) = await until(lambda: world.responder.events)
    assert (event.request, event.delivery) == (name, name)


async def test_calls_tell_the_ids_of_a_few_deliveries_and_none_of_many():
    assert outgoing() == ()
    with bound(["one-0123456789", "", "one-0123456789"]):
        assert outgoing() == (("x-request-id", "one-0123456789"),)
    with bound(["one-0123456789", "two-0123456789"]):
        assert incoming(outgoing()) == ["one-0123456789", "two-0123456789"]
    with bound([str(n) for n in range(17)]):
        assert outgoing() == ()


def test_what_callers_send_is_an_id_or_nothing():
    given = [("x-request-id", "good-0123456789"), ("x-request-id", "no\nline"), ("x-request-id", b"x" * 20), ("y", "z")]
    assert incoming(given) == ["good-0123456789"]
    assert incoming(None) == []


def test_ids_are_all_different():
    one, other = request_ids(), request_ids()
    made = sorted([one(), one(), other(), other()])
    assert all(first != second for first, second in pairwise(made))
    assert all(well_formed(each) and each.isalnum() for each in made)


def works(count):
    entries = [Entry(f"{n}-0", 1, delivery(message(n)), f"request{n:04}") for n in range(count)]
    return [Work(Delivery(entry), item.what, item.source) for entry in entries for item in read(entry)]


def test_an_event_that_comes_alone_has_a_line_and_many_share_one():
    stored = Verdict(Outcome.STORED, "")
    with capture_logs() as lines:
        tell(works(1), [Verdict(Outcome.LATER, "x")])
        tell(works(2), [stored, Verdict(Outcome.LATER, "x")])
    alone, both = lines
    assert (alone["request"], alone["mid"], alone["outcome"]) == ("request0000", "m0", "later")
    assert (both["requests"], both["stored"], both["later"]) == (["request0000", "request0001"], 1, 1)
    with capture_logs() as lines:
        tell(works(201), [stored] * 201)
    assert [len(one["requests"]) for one in lines] == [200, 1]
    assert [one["stored"] for one in lines] == [200, 1]


async def test_refused_deliveries_are_told_once_a_second(world):
    gateway = world.start()
    with capture_logs() as lines:
        for _ in range(20):
            assert await world.post(delivery(message(1)), signature="sha256=" + "0" * 64) == 403
        gateway.web.door.sweep(0)
        gateway.web.door.sweep(0)
    told = [one for one in lines if one["event"] == "deliveries_refused"]
    assert sum(one["bad_signature"] for one in told) == 20
    assert len(told) <= 10  # two, and one more for each second that this took


async def test_a_page_has_an_id_too(world):
    gateway = world.start(trust_proxy=True)
    url = world.url("/oauth/callback?code=secret-code&state=secret-state", gateway)
    with capture_logs(processors=[merge_contextvars]) as lines:
        async with world.session.get(url, headers={"X-Request-ID": "proxy-0123456789"}) as answer:
            assert answer.status == 400
        async with world.session.get(world.url("/nowhere", gateway)) as answer:
            assert answer.status == 404
    (line,) = [one for one in lines if one["event"] == "page_served"]
    assert (line["request"], line["door"], line["status"]) == ("proxy-0123456789", "callback", 400)
    assert "secret" not in str(lines)
