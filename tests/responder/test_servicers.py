"""The gRPC doors: under grpcio-testing with our errors' guard, and once each on a real server."""

import asyncio

import grpc
import pytest

from services.common.pb import responder_pb2 as pb
from services.common.pb import responder_pb2_grpc as rpc
from services.common.rpc import Channel, RpcServer
from services.common.settings import Address
from services.responder.examine import Examiner
from services.responder.model import FOREVER
from services.responder.servicer import ALLOWED, ConversationsServicer, ResponderServicer
from services.responder.times import Policy
from tests.grpc_adapter import Calls
from tests.responder.fakes import SILENCE, A
from tests.responder.outer import event
from tests.responder.town import ANNA, HOUR, MINUTE, SECOND, Outside, Town

SERVICES = pb.DESCRIPTOR.services_by_name
OK = grpc.StatusCode.OK


class Doors:
    """Both servicers of a town, called by name; the town's own coroutines run between the calls."""

    def __init__(self, town):
        self.town = town
        conversations = ConversationsServicer(
            town.people, town.gaps, town.clock.now, Examiner(town.store, town.writer, set)
        )
        self.calls = {
            "Responder": Calls(ResponderServicer(town.deliverer), SERVICES["Responder"]),
            "Conversations": Calls(conversations, SERVICES["Conversations"]),
        }

    def deliver(self, *events):
        return self.calls["Responder"].unary("Deliver", pb.DeliverRequest(events=events))

    def call(self, name, **fields):
        return self.calls["Conversations"].unary(name, getattr(pb, f"{name}Request")(**fields))

    def do(self, coroutine):
        return asyncio.run(coroutine)


@pytest.fixture
def doors(file):
    outside = Outside(file)
    outside.tokens.connect(A)
    town = Town(outside, Policy())
    asyncio.run(town.store.open())
    yield Doors(town)
    asyncio.run(town.store.close())


def message(doors, mid="m1", text="hello", **fields):
    one = event(mid, text, **fields)
    one.timestamp_ms = doors.town.clock.now()
    return one


def test_deliver_answers_one_verdict_an_event_in_order(doors):
    unknown = message(doors, "m2")
    unknown.account = unknown.recipient = "99"
    odd = pb.Event(kind=99, account=A)
    answer, code, _ = doors.deliver(message(doors), odd, unknown, message(doors), pb.Event(kind=pb.KIND_MESSAGE))
    assert code is OK
    assert [(one.outcome, one.reason) for one in answer.verdicts] == [
        (pb.OUTCOME_STORED, ""),
        (pb.OUTCOME_IGNORED, "unknown_kind"),
        (pb.OUTCOME_UNKNOWN_ACCOUNT, ""),
        (pb.OUTCOME_DUPLICATE, ""),
        (pb.OUTCOME_INVALID, "no_account"),
    ]


def test_deliver_is_unavailable_when_the_responders_own_store_is_down(doors):
    with doors.town.store_down():
        _, code, _ = doors.deliver(message(doors))
    assert code is grpc.StatusCode.UNAVAILABLE


def test_a_conversation_is_listed_and_told_whole(doors):
    doors.deliver(message(doors, text="are you open?"))
    doors.do(doors.town.advance(2 * SECOND))
    answer, code, _ = doors.call("List", state="idle")
    assert code is OK
    assert [(one.account, one.person, one.state, one.username) for one in answer.conversations] == [
        (A, ANNA, "idle", "somebody")
    ]
    story, code, _ = doors.call("Get", account=A, person=ANNA)
    assert code is OK
    assert [(one.direction, one.author, one.text) for one in story.messages] == [
        ("in", "customer", "are you open?"),
        ("out", "bot", "answer 1"),
    ]
    reply = story.replies[0]
    assert (reply.outcome, list(reply.answers), [(part.n, part.state) for part in reply.parts]) == (
        "sent",
        ["m1"],
        [(0, "sent")],
    )
    assert story.messages[0].answered_by == reply.id


def test_pause_resume_and_retry(doors):
    doors.deliver(message(doors))
    now = doors.town.clock.now()
    answer, code, _ = doors.call("Pause", account=A, person=ANNA, until_ms=now + HOUR)
    assert (answer.paused, code) == (1, OK)
    told = doors.call("Get", account=A, person=ANNA)[0].conversation
    assert (told.state, told.paused_until_ms) == ("paused", now + HOUR)
    assert doors.call("Pause", account=A, person=ANNA)[1] is OK
    assert doors.call("Get", account=A, person=ANNA)[0].conversation.paused_until_ms == FOREVER
    answer, code, _ = doors.call("Resume", account=A, person=ANNA, answer_pending=True)
    assert (answer.resumed, code) == (1, OK)
    assert doors.call("Retry", account=A, person=ANNA)[1] is OK
    doors.do(doors.town.advance(2 * SECOND))
    assert doors.town.got() == ["answer 1"]


def test_held_replies_are_listed_and_settled(doors):
    doors.town.instagram.script, doors.town.instagram.unreadable = [SILENCE], True
    doors.deliver(message(doors))
    doors.do(doors.town.run(for_ms=20 * MINUTE))
    held = doors.call("ListHeld")[0].replies
    assert [part.state for part in held[0].parts] == ["held"]
    assert doors.call("ResolveHeld", reply=held[0].id, part=0, decision="perhaps")[1] is (
        grpc.StatusCode.INVALID_ARGUMENT
    )
    assert doors.call("ResolveHeld", reply=held[0].id, part=0, decision="drop")[1] is OK
    assert list(doors.call("ListHeld")[0].replies) == []


def test_a_persons_words_and_what_became_of_them(doors):
    doors.deliver(message(doors))

    async def say():
        people = doors.town.people
        saying = asyncio.create_task(people.say(account=A, person=ANNA, text="words", request_id="r"))
        while not saying.done():
            await doors.town.work()
            await asyncio.sleep(0.005)

    doors.do(say())
    answer, code, _ = doors.call("SendInstagramMessage", account=A, person=ANNA, text="words", request_id="r")
    assert (code, answer.outcome) == (OK, "sent")
    doors.town.clock.ms += 25 * HOUR
    _, code, details = doors.call("SendInstagramMessage", account=A, person=ANNA, text="late", request_id="r2")
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert details.startswith("window_closed")


def test_erase_and_check_gaps(doors):
    doors.deliver(message(doors))
    doors.do(doors.town.book.mirror())
    answer, code, _ = doors.call("CheckGaps")
    assert (answer.checked, answer.found, code) == (1, 0, OK)
    answer, code, _ = doors.call("Erase", account=A, person=ANNA)
    assert code is OK
    assert answer.erased >= 2
    assert doors.call("Get", account=A, person=ANNA)[1] is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("name", "fields", "code"),
    [
        ("Get", {"account": "99", "person": ANNA}, grpc.StatusCode.NOT_FOUND),
        ("Get", {"account": A, "person": "7"}, grpc.StatusCode.NOT_FOUND),
        ("List", {"state": "sleeping"}, grpc.StatusCode.INVALID_ARGUMENT),
        ("Pause", {"account": A, "person": "7"}, grpc.StatusCode.NOT_FOUND),
        ("Pause", {"account": A, "person": ANNA, "until_ms": 1}, grpc.StatusCode.INVALID_ARGUMENT),
        ("Retry", {"account": A, "person": "7"}, grpc.StatusCode.NOT_FOUND),
        ("ResolveHeld", {"reply": "no", "decision": "drop"}, grpc.StatusCode.NOT_FOUND),
        ("SendInstagramMessage", {"account": A, "person": ANNA, "text": " "}, grpc.StatusCode.INVALID_ARGUMENT),
        ("CheckGaps", {"account": "99"}, grpc.StatusCode.NOT_FOUND),
    ],
)
def test_what_cannot_be_done_has_its_own_code(doors, name, fields, code):
    doors.deliver(message(doors))
    assert doors.call(name, **fields)[1] is code


def test_every_method_says_who_may_call_it():
    methods = {method.name for service in SERVICES.values() for method in service.methods}
    assert set(ALLOWED) == methods
    assert all("operator" in callers for callers in ALLOWED.values())
    assert {name for name, callers in ALLOWED.items() if "gateway" in callers} == {"Deliver", "Erase", "CheckGaps"}


async def test_both_servicers_on_a_real_server(town):
    server = RpcServer(Address("127.0.0.1", 0))
    rpc.add_ResponderServicer_to_server(ResponderServicer(town.deliverer), server.server)
    conversations = ConversationsServicer(
        town.people, town.gaps, town.clock.now, Examiner(town.store, town.writer, set)
    )
    rpc.add_ConversationsServicer_to_server(conversations, server.server)
    await server.start("igbot.responder.v1.Responder")
    channel = Channel(f"127.0.0.1:{server.port}")
    try:
        one = event("m1", "hello")
        one.timestamp_ms = town.clock.now()
        answer = await channel.stub(rpc.ResponderStub).Deliver(pb.DeliverRequest(events=[one]), timeout=5)
        assert [verdict.outcome for verdict in answer.verdicts] == [pb.OUTCOME_STORED]
        stub = channel.stub(rpc.ConversationsStub)
        listed = await stub.List(pb.ListRequest(), timeout=5)
        assert [found.person for found in listed.conversations] == [ANNA]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Get(pb.GetRequest(account=A, person="7"), timeout=5)
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    finally:
        await channel.close()
        await server.stop(0)
