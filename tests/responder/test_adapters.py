"""GraphInstagram and OpenAIWriter against servers that answer with fixtures."""

import asyncio
import gc
import json
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from services.common import graph
from services.common.graph import GraphFailure
from services.common.traffic import Ending, Target
from services.responder.graph_instagram import GraphInstagram, moment
from services.responder.metrics import ModelOutcome, ResponderMetrics
from services.responder.model import FOREVER, PartState
from services.responder.openai_writer import OpenAIWriter, openai_client
from services.responder.outside import BreakerOpen, Lent, ModelBreakerOpen, ModelDown, ModelRefused, Turn
from services.responder.settle import Sight, sight
from services.responder.times import Times
from services.responder.words import digest
from tests.responder.fakes import SCOPED, A
from tests.responder.stores import a_part, a_reply, a_row

FIXTURES = Path(__file__).parent.parent / "fixtures" / "graph"
LEO = "6900000000000046"
LENT = Lent(account=A, token=SecretStr("IGAAtoken"), version=1, app_scoped_id=SCOPED[A])


@asynccontextmanager
async def serving(answer):
    """A server that answers each request with what `answer(request)` returns."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def fixture(case, status=200, headers=None):
    suffix = next(one.suffix for one in (FIXTURES / case).glob(f"{status}.*") if "headers" not in one.name)
    body = (FIXTURES / case / f"{status}{suffix}").read_bytes()
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def always(make):
    """A server's handler that answers everything alike."""

    async def answer(request):
        return make()

    return answer


@asynccontextmanager
async def instagram(answer, **options):
    async with serving(answer) as address, graph.session(address) as session:
        yield GraphInstagram(graph.GraphClient(session, f"{address}/v25.0", 2), **options)


def in_pieces(case, status):
    """A server's handler that answers with a fixture, each half of it in a packet of its own."""
    whole = fixture(case, status)

    async def answer(request):
        response = web.StreamResponse(status=status, headers={"Content-Type": "application/json"})
        response.content_length = len(whole.body)
        await response.prepare(request)
        middle = len(whole.body) // 2
        for piece in (whole.body[:middle], whole.body[middle:]):
            await response.write(piece)
            for _ in range(50):  # the client, in the same loop, reads what has come so far
                await asyncio.sleep(0)
        return response

    return answer


async def test_an_answer_that_comes_in_pieces_is_read_whole():
    sent = json.loads((FIXTURES / "send_text/200.json").read_text())["message_id"]
    async with instagram(in_pieces("send_text", 200)) as api:
        assert await api.post_text(LENT, LEO, "hello", human_agent=False, within=2) == sent


@pytest.mark.parametrize(("case", "status"), [("error_190_463_expired", 400), ("error_10_2534022_window_pt", 403)])
async def test_a_refusal_that_comes_in_pieces_is_read_whole(case, status):
    async with instagram(always(lambda: fixture(case, status))) as api:
        with pytest.raises(GraphFailure) as at_once:
            await api.post_text(LENT, LEO, "hello", human_agent=False, within=2)
    async with instagram(in_pieces(case, status)) as api:
        with pytest.raises(GraphFailure) as in_two:
            await api.post_text(LENT, LEO, "hello", human_agent=False, within=2)
    assert in_two.value.error == at_once.value.error
    assert in_two.value.fault is at_once.value.fault


async def test_an_answer_larger_than_we_would_keep_is_a_failure():
    async with instagram(always(lambda: web.Response(body=b"{" * (graph.MAX_ANSWER_BYTES + 1)))) as api:
        with pytest.raises(GraphFailure, match="more than") as caught:
            await api.post_text(LENT, LEO, "hello", human_agent=False, within=2)
    assert caught.value.reached


async def test_a_text_is_posted_with_the_token_in_the_header_and_its_mid_comes_back():
    seen = []

    async def answer(request):
        seen.append((request.path, request.headers["Authorization"], await request.json(), request.query_string))
        return fixture("send_text")

    async with instagram(answer) as api:
        mid = await api.post_text(LENT, LEO, "hello", human_agent=False, within=2)
        await api.post_text(LENT, LEO, "hello", human_agent=True, within=2)
    assert mid == json.loads((FIXTURES / "send_text/200.json").read_text())["message_id"]
    path, header, body, query = seen[0]
    assert (path, header, query) == ("/v25.0/me/messages", "Bearer IGAAtoken", "")
    assert body == {"recipient": {"id": LEO}, "message": {"text": "hello"}}
    assert seen[1][2] == body | {"messaging_type": "MESSAGE_TAG", "tag": "HUMAN_AGENT"}


async def test_usage_headers_of_a_send_are_heard():
    heard = []

    async def answer(request):
        return fixture("send_text", headers={"X-App-Usage": '{"call_volume":86,"cpu_time":3}'})

    async with instagram(answer, heard=lambda account, usage: heard.append((account, usage.percent))) as api:
        await api.post_text(LENT, LEO, "hello", human_agent=False, within=2)
    assert heard == [(A, 86.0)]


async def test_a_conversation_is_read_message_by_message_when_the_list_holds_only_ids():
    async def answer(request):
        if request.path.endswith("/me/conversations"):
            assert request.query["user_id"] == LEO
            return fixture("conversation_of_person")
        if request.query.get("fields", "").startswith("messages"):
            return fixture("conversation_messages")
        own = request.path.endswith("NDc1OTgwODAwMAZDZD")
        return fixture("message_detail_own" if own else "message_detail_unix_time")

    async with instagram(answer) as api:
        reading = await api.read(LENT, LEO)
    assert reading.whole
    assert [(one.sender, bool(one.text)) for one in reading.messages] == [(A, True), (LEO, False)]
    assert reading.messages[1].at == 1_790_855_910_000
    assert reading.hidden == (1_790_855_880_000,)  # listed as unsupported: nobody knows whose it is


async def test_a_message_that_is_gone_is_known_to_be_hidden():
    async def answer(request):
        if request.path.endswith("/me/conversations"):
            return fixture("conversation_of_person")
        if request.query.get("fields", "").startswith("messages"):
            return fixture("conversation_messages")
        return fixture("error_9000001_deleted", 400)

    async with instagram(answer) as api:
        reading = await api.read(LENT, LEO)
    assert len(reading.hidden) == 3
    assert all(0 < at < FOREVER for at in reading.hidden)


CUSTOMERS = {"id": "old", "created_time": "2026-10-01T11:00:00+0000", "from": {"id": LEO}, "message": "Bread?"}
PERSONS = {"id": "new", "created_time": "2026-10-01T12:00:03+0000", "from": {"id": A}, "message": "Yes, bread."}


@pytest.mark.parametrize(
    ("newest", "shows"),
    [
        (PERSONS, Sight.PRESENT),
        (PERSONS | {"created_time": "1790856003"}, Sight.PRESENT),
        (PERSONS | {"created_time": "soon"}, Sight.UNREADABLE),
        ({name: PERSONS[name] for name in ("id", "from", "message")}, Sight.UNREADABLE),
        ({"id": "new", "created_time": PERSONS["created_time"], "is_unsupported": True}, Sight.UNREADABLE),
        ({"id": "new", "created_time": "2026-10-01T11:30:00+0000", "is_unsupported": True}, Sight.ABSENT),
        (PERSONS | {"from": {}}, Sight.UNREADABLE),
        ({name: PERSONS[name] for name in ("created_time", "from", "message")}, Sight.UNREADABLE),
    ],
)
async def test_a_message_of_which_not_all_can_be_read_is_no_proof_that_the_reply_is_absent(newest, shows):
    async def answer(request):
        if request.path.endswith("/me/conversations"):
            return fixture("conversation_of_person")
        return web.json_response({"messages": {"data": [newest, CUSTOMERS]}})

    async with instagram(answer) as api:
        reading = await api.read(LENT, LEO)
    part = a_part(sha256=digest("Yes, bread."), sending_at=1_790_856_000_000, state=PartState.UNKNOWN)
    row = a_row(reply=a_reply(parts=(part,)))
    assert sight(row, part, reading, ours={A, SCOPED[A]}, known=set(), times=Times())[0] is shows


async def test_no_conversation_is_no_proof():
    async with instagram(always(lambda: fixture("conversation_none"))) as api:
        assert await api.read(LENT, LEO) is None


async def test_the_conversations_of_an_account_name_the_other_side():
    async with instagram(always(lambda: fixture("conversations_list"))) as api:
        talks = await api.talks(LENT, since=1_790_855_999_000)
    assert [one.person for one in talks] == [LEO, "6900000000000001"]
    assert talks[0].updated_at == 1_790_855_998_000


@pytest.mark.parametrize(
    ("since", "pages"),
    [(1_790_855_999_000, 1), (1_790_855_950_000, 2), (1, 3)],
    ids=["newer-than-all", "between-pages", "older-than-all"],
)
async def test_the_list_of_conversations_is_followed_by_its_cursor_as_far_back_as_is_asked(since, pages):
    asked = []

    async def answer(request):
        asked.append(request.query.get("after"))
        assert "next" not in request.query
        if len(asked) == 3:
            return web.json_response({"data": []})
        listed = json.loads((FIXTURES / "conversations_list/200.json").read_text())
        if len(asked) == 2:
            for one in listed["data"]:
                one["updated_time"] = "2026-10-01T11:50:00+0000"
            listed["paging"]["cursors"]["after"] = "second"
        return web.json_response(listed)

    async with instagram(answer) as api:
        talks = await api.talks(LENT, since=since)
    assert asked == [None, "QVFIUfixtureCursor0001", "second"][:pages]
    assert len(talks) == 2 * min(pages, 2)


async def test_a_list_of_conversations_without_an_end_is_left_after_some_pages():
    async with instagram(always(lambda: fixture("conversations_list")), pages=3) as api:
        assert len(await api.talks(LENT, since=1)) == 6


async def test_whoever_is_not_in_a_hurry_reads_once_in_two_seconds_and_in_the_others_turn():
    async with instagram(always(lambda: fixture("conversation_none"))) as api:
        slow, clock, ends = api.unhurried(), asyncio.get_running_loop().time, []
        began = clock()
        for reader in (slow, api, api, slow):
            await reader.read(LENT, LEO)
            ends.append(clock() - began)
    assert ends[1] < 0.45  # the second of two a second does not wait its half
    assert 0.4 < ends[2] < 1.5  # the first read counted among the two a second
    assert 1.8 < ends[3] < 3


@pytest.mark.parametrize(
    ("case", "status", "name"),
    [
        ("profile", 200, "leo.h"),
        ("profile_empty", 200, ""),
        ("error_230_consent", 400, ""),
        ("error_9010_review_bot", 400, ""),
    ],
)
async def test_a_profile_may_be_hidden(case, status, name):
    async with instagram(always(lambda: fixture(case, status))) as api:
        found = await api.username(LENT, LEO)
        assert bool(found) == bool(name)


async def test_reads_are_paced_to_two_a_second_an_account_and_tell_how_long_they_waited():
    async with instagram(always(lambda: fixture("conversation_none"))) as api:
        waits = []
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(api.read(LENT, LEO, waited=waits.append) for _ in range(4)))
        assert asyncio.get_running_loop().time() - began > 0.9
        assert len(waits) == 4
        assert min(waits) < 0.3
        assert max(waits) > 0.8


@pytest.mark.parametrize(
    ("case", "status", "opens"),
    [("error_2_transient", 500, True), ("error_613_rate", 400, False), ("error_551_unreachable", 400, False)],
)
async def test_the_breaker_of_an_account_opens_on_passing_faults_only(case, status, opens):
    async with instagram(always(lambda: fixture(case, status))) as api:
        for _ in range(8):
            with pytest.raises(GraphFailure):
                await api.post_text(LENT, LEO, "hello", human_agent=False, within=2)
        with pytest.raises(BreakerOpen) if opens else nullcontext():
            await api.ready(LENT)
        with pytest.raises(BreakerOpen if opens else GraphFailure):
            await api.post_text(LENT, LEO, "hello", human_agent=False, within=2)
        other = Lent(account="other", token=SecretStr("t"), version=1)
        await api.ready(other)
        with pytest.raises(GraphFailure):
            await api.post_text(other, LEO, "hello", human_agent=False, within=2)


async def test_a_post_that_nobody_answers_may_have_arrived_and_one_refused_at_the_door_has_not():
    async def silent(request):
        await asyncio.sleep(5)

    async with instagram(silent) as api:
        with pytest.raises(GraphFailure) as unknown:
            await api.post_text(LENT, LEO, "hello", human_agent=False, within=0.5)
    async with graph.session("http://127.0.0.1:1") as session:
        api = GraphInstagram(graph.GraphClient(session, "http://127.0.0.1:1/v25.0", 2))
        with pytest.raises(GraphFailure) as refused:
            await api.post_text(LENT, LEO, "hello", human_agent=False, within=2)
    assert (unknown.value.refused, refused.value.refused) == (False, True)
    assert "IGAAtoken" not in f"{unknown.value}{refused.value}"


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        ("2026-10-01T11:59:57+0000", 1_790_855_997_000),
        (1_790_855_910, 1_790_855_910_000),
        ("never", 0),
        (None, 0),
        (True, 0),
        ("1790855910", 1_790_855_910_000),
        ("1790855910.5", 1_790_855_910_500),
        (float("inf"), 0),
        (-1, 0),
        ("", 0),
    ],
)
def test_times_come_as_iso_text_or_unix_seconds(value, ms):
    assert moment(value) == ms


# --- the model -----------------------------------------------------------------------------------------------


def completion(text, **fields):
    message = {"role": "assistant", "content": text}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    usage = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}
    known = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": usage}
    return web.json_response(known | fields)


@asynccontextmanager
async def writer(answer, *, timeout=1.0, stream=False):
    registry = CollectorRegistry()
    async with serving(answer) as address:
        client = openai_client("sk-pretend", f"{address}/v1")
        made = OpenAIWriter(client, "small", timeout, stream, ResponderMetrics(registry))
        try:
            yield made, lambda outcome: registry.get_sample_value("igbot_model_calls_total", {"outcome": outcome})
        finally:
            await client.close()


TURNS = [Turn(role="system", text="Be kind."), Turn(role="user", text="my secret words")]


async def test_the_model_is_asked_once_with_the_turns_as_they_are():
    seen = []

    async def answer(request):
        seen.append((request.path, await request.json()))
        return completion("Hello!")

    async with writer(answer) as (model, calls):
        written = await model.write_reply(TURNS, within=5)
        assert (written.text, written.tokens_in, written.tokens_out) == ("Hello!", 11, 5)
        assert calls("answered") == 1
    assert seen == [
        (
            "/v1/chat/completions",
            {
                "model": "small",
                "messages": [
                    {"role": "system", "content": "Be kind."},
                    {"role": "user", "content": "my secret words"},
                ],
            },
        )
    ]


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [
        (400, ModelRefused, "failed"),
        (422, ModelRefused, "failed"),
        (401, ModelDown, "failed"),
        (404, ModelDown, "failed"),
        (429, ModelDown, "rate_limited"),
        (500, ModelDown, "failed"),
        (503, ModelDown, "failed"),
    ],
)
async def test_only_a_refusal_of_this_very_prompt_is_the_conversations_fault(status, error, outcome):
    asked = []

    async def answer(request):
        asked.append(1)
        return web.json_response({"error": {"message": "you said: my secret words"}}, status=status)

    async with writer(answer) as (model, calls):
        with pytest.raises(error) as found:
            await model.write_reply(TURNS, within=5)
        assert calls(outcome) == 1
    assert len(asked) == 1  # no retries of the library's own
    assert "secret" not in str(found.value)
    assert found.value.__cause__ is None


@pytest.mark.parametrize("body", [{"choices": []}, {"choices": None}, {}, "text"])
async def test_an_answer_without_text_is_the_models_fault(body):
    async def answer(request):
        return web.json_response(body) if body != {} else completion(None)

    async with writer(answer) as (model, _):
        with pytest.raises(ModelDown):
            await model.write_reply(TURNS, within=5)


async def test_the_deadline_of_the_reply_is_the_calls_when_it_is_shorter():
    async def silent(request):
        await asyncio.sleep(5)

    async with writer(silent, timeout=20) as (model, calls):
        began = asyncio.get_running_loop().time()
        with pytest.raises(ModelDown):
            await model.write_reply(TURNS, within=0.1)
        assert asyncio.get_running_loop().time() - began < 2
        assert calls("timeout") == 1


def dripping(left, piece, *, status=200):
    """A server's handler whose answer comes drop by drop until its client leaves, which it tells `left`."""

    async def answer(request):
        response = web.StreamResponse(status=status, headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            for _ in range(500):
                await response.write(piece)
                await asyncio.sleep(0.01)
        except ConnectionError:
            left.set()
        return response

    return answer


HELLO = b'data: {"choices": [{"index": 0, "delta": {"content": "Hello"}}]}\n\n'


@pytest.mark.parametrize(
    ("piece", "status", "stream"),
    [
        (b"\n", 200, False),
        (b"\n", 200, True),
        (b": keep-alive\n\n", 200, True),
        (HELLO, 200, True),
        (b"\n", 500, False),
        (b"\n", 500, True),
    ],
    ids=["whole", "stream", "keep-alive", "words", "error", "error-of-stream"],
)
async def test_an_answer_that_drips_in_has_no_more_time_than_any_other_and_is_hung_up_on(piece, status, stream):
    left = asyncio.Event()
    async with writer(dripping(left, piece, status=status), timeout=0.3, stream=stream) as (model, calls):
        async with asyncio.timeout(3):
            with pytest.raises(ModelDown, match="in time"):
                await model.write_reply(TURNS, within=5)
            await left.wait()
        assert calls("timeout") == 1
        assert model.metrics.calls.counts[Target.MODEL, Ending.SLOW]._value.get() == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_caller_that_waits_no_longer_gets_its_own_time_out_and_the_model_no_blame(stream):
    left = asyncio.Event()
    async with writer(dripping(left, b"\n"), timeout=20, stream=stream) as (model, calls):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await model.write_reply(TURNS, within=20)
        async with asyncio.timeout(3):
            await left.wait()
        assert not any(calls(outcome) for outcome in ModelOutcome)


async def test_a_stream_that_no_words_can_be_read_from_is_hung_up_on():
    left = asyncio.Event()
    broken = b'data: {"choices": [{"index": 0}]}\n\n'
    async with writer(dripping(left, broken), timeout=20, stream=True) as (model, calls):
        gc.disable()  # which would hang up too, some day
        try:
            with pytest.raises(ModelDown, match="failed"):
                await model.write_reply(TURNS, within=20)
            async with asyncio.timeout(3):
                await left.wait()
        finally:
            gc.enable()
        assert calls("failed") == 1


@pytest.mark.parametrize(("status", "opens"), [(500, True), (400, False)])
async def test_the_models_breaker_opens_on_outages_and_not_on_refusals(status, opens):
    async with writer(always(lambda: web.json_response({}, status=status))) as (model, _):
        for _ in range(8):
            with pytest.raises((ModelDown, ModelRefused)):
                await model.write_reply(TURNS, within=5)
        with pytest.raises(ModelBreakerOpen if opens else ModelRefused):
            await model.write_reply(TURNS, within=5)


def stream(*texts, usage=None, each=False):
    """An answer as a stream of chunks; the tokens come in one without text behind them, or in each."""
    pieces = []
    for n, text in enumerate(texts):
        told = {"usage": {"prompt_tokens": 11, "completion_tokens": n}} if each else {}
        pieces.append({"choices": [{"index": 0, "delta": {"content": text}}], **told})
    pieces += [{"choices": [], "usage": usage}] if usage else []
    base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    lines = [f"data: {json.dumps(base | piece)}\n\n" for piece in pieces]
    return web.Response(text="".join([*lines, "data: [DONE]\n\n"]), content_type="text/event-stream")


USAGE = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}


@pytest.mark.parametrize(
    ("told", "tokens"),
    [({"usage": USAGE}, (11, 5)), ({"each": True}, (11, 2)), ({}, (0, 0))],
    ids=["last", "each", "no"],
)
async def test_a_streamed_answer_is_put_together_and_its_tokens_are_counted(told, tokens):
    async def answer(request):
        body = await request.json()
        assert body["stream"] is True
        assert body["stream_options"] == {"include_usage": True}
        return stream("Hel", "lo", "!", **told)

    async with writer(answer, stream=True) as (model, _):
        written = await model.write_reply(TURNS, within=5)
        assert (written.text, written.tokens_in, written.tokens_out) == ("Hello!", *tokens)
        counted = [model.metrics.model_tokens.labels(way)._value.get() for way in ("in", "out")]
        assert counted == list(tokens)


@pytest.mark.parametrize("status", [400, 422])
async def test_a_server_that_refuses_to_be_asked_for_tokens_is_asked_without_from_then_on(status):
    asked = []

    async def answer(request):
        asked.append("stream_options" in await request.json())
        return web.json_response({}, status=status) if asked[-1] else stream("Hello!", usage=USAGE)

    async with writer(answer, stream=True) as (model, calls):
        for _ in range(2):
            written = await model.write_reply(TURNS, within=5)
            assert (written.text, written.tokens_out) == ("Hello!", 5)
        assert calls("answered") == 2
        assert not calls("failed")
    assert asked == [True, False, False]


@pytest.mark.parametrize(
    ("status", "error", "calls"), [(400, ModelRefused, 2), (500, ModelDown, 1), (429, ModelDown, 1)]
)
async def test_a_stream_that_is_refused_either_way_is_the_conversations_fault(status, error, calls):
    asked = []

    async def answer(request):
        asked.append("stream_options" in await request.json())
        return web.json_response({}, status=status)

    async with writer(answer, stream=True) as (model, counted):
        with pytest.raises(error):
            await model.write_reply(TURNS, within=5)
        assert model.asks_tokens
        assert counted("rate_limited" if status == 429 else "failed") == 1
    assert asked == [True, False][:calls]
