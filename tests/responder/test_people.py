"""What people do: look, pause, resume, retry, settle what is held, write themselves, erase; and who is told."""

import asyncio
from contextlib import suppress
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry

from services.common.errors import NotFound, Refused, Unavailable, Undeliverable
from services.responder.handover import Handovers
from services.responder.message import Kind
from services.responder.metrics import ResponderMetrics
from services.responder.pauses import paused_at
from services.responder.servicer import conversation
from tests.responder.fakes import REFUSED_CONNECTION, SCOPED, SILENCE, A, B, graph_error
from tests.responder.town import ANNA, BEN, HOUR, MINUTE, SECOND, Outside, opened

DAY = 24 * HOUR


async def say(town, text="A person's words", person=ANNA, request_id="r1"):
    """Say it while the worker works, as in the running service."""
    saying = asyncio.create_task(town.people.say(account=A, person=person, text=text, request_id=request_id))
    while not saying.done():
        await town.work()
        await asyncio.sleep(0.005)
    return await saying


# --- a person's words ----------------------------------------------------------------------------------------


async def test_a_persons_words_go_out_pause_the_bot_and_answer_what_waits(town):
    question = await town.say("anybody?")
    said = await say(town)
    assert said.outcome == "sent"
    assert town.got() == ["A person's words"]
    assert await town.answered_by(question) == "human"
    later = await town.say("thanks")
    await town.run()
    assert town.got() == ["A person's words"]
    assert await town.answered_by(later) == "paused"


async def test_the_same_request_id_sends_once_however_often_it_is_asked(town):
    await town.say("anybody?")
    first = await say(town)
    again = await say(town)
    both = await asyncio.gather(say(town, request_id="r2"), say(town, request_id="r2"), return_exceptions=True)
    assert first.id == again.id
    assert all(not isinstance(one, Exception) for one in both)
    assert town.got() == ["A person's words"] * 2


async def test_a_persons_words_go_out_although_the_conversation_and_the_account_are_paused(town):
    await town.human("first by hand")
    await town.people.pause(account=A, person="", until=0)
    await town.say("hello")
    await town.say("hello", person=BEN)
    assert (await say(town)).outcome == "sent"
    assert town.got() == ["A person's words"]
    await town.run(for_ms=HOUR)
    assert town.got(BEN) == []


async def test_a_persons_words_wait_for_no_version_and_no_opt_out(town):
    await town.say("stop")
    await town.run()
    said = await say(town)
    assert said.outcome == "sent"


async def test_the_text_that_the_bot_writes_gives_way_to_a_persons_words(town):
    question = await town.say("anybody?")
    asking = []

    async def person_speaks():
        asking.append(asyncio.create_task(town.people.say(account=A, person=ANNA, text="me", request_id="r")))
        await asyncio.sleep(0.05)

    town.writer.meanwhile.append(person_speaks)
    await town.advance(2 * SECOND)
    await town.work()
    assert (await asking[0]).outcome == "sent"
    assert town.got() == ["me"]
    assert await town.answered_by(question) == "human"


async def test_what_the_bot_was_about_to_answer_is_answered_by_the_persons_words(town):
    question = await town.say("anybody?")
    town.instagram.script = [REFUSED_CONNECTION]
    await town.advance(2 * SECOND)
    assert await town.parts() == ["ready"]
    assert (await say(town)).outcome == "sent"
    assert town.got() == ["A person's words"]
    assert await town.answered_by(question) == "human"


@pytest.mark.parametrize("enabled", [False, True])
async def test_human_agent_is_used_only_when_enabled_and_between_24_hours_and_7_days(file, enabled):
    async with opened(file, human_agent=enabled) as town:
        await town.say("hello")
        await town.run()
        town.clock.ms += 23 * HOUR
        assert (await say(town, request_id="in")).outcome == "sent"
        town.clock.ms += 2 * HOUR
        if enabled:
            assert (await say(town, request_id="late")).outcome == "sent"
        else:
            with pytest.raises(Undeliverable):
                await say(town, request_id="late")
        town.clock.ms += 6 * DAY
        with pytest.raises(Undeliverable):
            await say(town, request_id="too late")
        assert [tagged for *_, tagged in town.instagram.posts] == [False, False] + [True] * enabled


async def test_the_bot_never_uses_human_agent(file):
    async with opened(file, human_agent=True, stale=100 * HOUR) as town:
        await town.say("hello", at=town.clock.now() - 30 * HOUR)
        await town.run()
        assert town.instagram.posts == []


@pytest.mark.parametrize("text", ["", "  \n", "word " * 3_000])
async def test_words_that_cannot_be_sent_whole_are_refused(town, text):
    await town.say("hello")
    with pytest.raises(Refused):
        await town.people.say(account=A, person=ANNA, text=text, request_id="r")


async def test_words_to_somebody_unknown_are_not_found(town):
    with pytest.raises(NotFound):
        await town.people.say(account=A, person="7", text="hello", request_id="r")


async def test_words_while_a_part_is_being_sent_are_for_later(town):
    await town.say("hello")
    town.instagram.script = [SILENCE]
    await town.advance(2 * SECOND)
    with pytest.raises(Unavailable):
        await town.people.say(account=A, person=ANNA, text="words", request_id="r")


async def test_a_persons_words_go_on_in_a_paused_account_until_they_are_sent(town):
    await town.say("hello")
    await town.people.pause(account=A, person="", until=0)
    town.instagram.script = [REFUSED_CONNECTION, REFUSED_CONNECTION, SILENCE]
    saying = asyncio.create_task(town.people.say(account=A, person=ANNA, text="me", request_id="r"))
    await asyncio.sleep(0.02)
    await town.run(for_ms=5 * MINUTE)
    assert (await saying).outcome == "sent"
    assert town.got() == ["me"]
    assert (await town.store.accounts.get(A)).speaking == ()


async def test_a_persons_words_go_out_by_another_replica_although_the_account_is_paused_afterwards(file):
    outside = Outside(file)
    async with opened(file, outside=outside) as one, opened(file, outside=outside, owner="two") as two:
        await one.say("hello")
        await one.say("hello", person=BEN)
        saying = asyncio.create_task(one.people.say(account=A, person=ANNA, text="me", request_id="r"))
        await asyncio.sleep(0.02)
        await one.people.pause(account=A, person="", until=0)
        await two.run(for_ms=MINUTE)
        assert (await saying).outcome == "sent"
        assert (two.got(), two.got(BEN)) == (["me"], [])


# --- held ----------------------------------------------------------------------------------------------------


async def hold_one(town):
    town.instagram.script = [SILENCE]
    town.instagram.unreadable = True
    message = await town.say("hello")
    await town.run(for_ms=20 * MINUTE)
    town.instagram.unreadable = False
    return message


async def test_a_part_that_nobody_can_find_is_held_after_ten_minutes_listed_and_counts_as_answered(town):
    message = await hold_one(town)
    held = await town.people.held(A)
    assert [[str(part.state) for part in one.parts] for one in held] == [["held"]]
    assert await town.answered_by(message) == held[0].id
    assert [one.person for one in await town.people.find(account=A, state="held", limit=9)] == [ANNA]
    await town.run()
    assert len(town.instagram.posts) == 1


async def test_waiting_for_a_turn_at_the_conversations_api_does_not_count_towards_the_ten_minutes(town):
    town.instagram.script = [SILENCE]
    town.instagram.unreadable = True
    town.instagram.queue = 2 * MINUTE
    await town.say("hello")
    await town.run(for_ms=HOUR)
    assert len(town.instagram.reads) > 20
    assert await town.parts() == ["unknown"]
    town.instagram.queue = 0
    await town.run(for_ms=9 * MINUTE)
    assert len(await town.people.held(A)) == 1


async def test_neither_does_the_time_that_nobody_looked(town):
    town.instagram.script = [SILENCE]
    town.instagram.unreadable = True
    await town.say("hello")
    await town.run(for_ms=MINUTE)
    town.clock.ms += HOUR  # the responder is down
    await town.run(for_ms=MINUTE)
    assert await town.parts() == ["unknown"]


async def test_a_held_part_is_sent_again_when_a_person_says_so_and_answers_nothing_newer(town):
    await hold_one(town)
    newer = await town.say("and this?", at=town.clock.now())
    reply = (await town.people.held(""))[0]
    await town.people.resolve(reply.id, 0, "resend")
    with suppress(NotFound):
        await town.people.resolve(reply.id, 0, "resend")  # a second click
    await town.run()
    assert town.got() == ["answer 1", "answer 2"]
    assert (await town.answered_by(newer)).startswith("reply")
    assert await town.people.held("") == []
    assert (await town.row()).held == ()


async def test_a_held_part_that_is_dropped_is_never_sent(town):
    await hold_one(town)
    reply = (await town.people.held(""))[0]
    await town.people.resolve(reply.id, 0, "drop")
    await town.run()
    assert town.got() == []
    assert await town.people.held("") == []
    assert await town.people.find(account=A, state="held", limit=9) == []


async def test_a_held_part_is_not_sent_again_outside_the_window(file):
    async with opened(file, human_agent=True) as town:
        await hold_one(town)
        town.clock.ms += DAY
        with pytest.raises(Undeliverable):
            await town.people.resolve((await town.people.held(""))[0].id, 0, "resend")
        assert len(await town.people.held("")) == 1


async def test_a_held_part_whose_words_are_gone_is_not_sent_again_and_stays_listed(town):
    await hold_one(town)
    town.clock.ms += MINUTE
    await town.say("are you there?")
    await town.store.erasing.purge(town.clock.now())
    reply = (await town.people.held(""))[0]
    with pytest.raises(Undeliverable, match="text_gone"):
        await town.people.resolve(reply.id, 0, "resend")
    assert [one.id for one in await town.people.held("")] == [reply.id]
    await town.people.resolve(reply.id, 0, "drop")
    assert await town.people.held("") == []


@pytest.mark.parametrize(("reply", "part", "decision"), [("nope", 0, "drop"), ("known", 7, "drop"), ("known", 0, "x")])
async def test_a_wrong_decision_about_a_held_part_changes_nothing(town, reply, part, decision):
    await hold_one(town)
    known = (await town.people.held(""))[0].id
    with pytest.raises((NotFound, Refused)):
        await town.people.resolve(known if reply == "known" else reply, part, decision)
    assert len(await town.people.held("")) == 1


# --- look, pause ---------------------------------------------------------------------------------------------


async def test_the_story_of_a_conversation_names_the_bot_as_the_author_of_its_own_words(town):
    async def echo(mid):
        await town.echo(mid, "answer 1")

    town.instagram.meanwhile = [echo]  # before the POST is answered
    await town.say("hello")
    await town.run()
    town.clock.ms += SECOND
    await town.human("and a person")
    story = await town.people.get(SCOPED[A], ANNA)
    assert [(one.author, one.text) for one in story.messages] == [
        ("customer", "hello"),
        ("bot", "answer 1"),
        ("human", "and a person"),
    ]
    assert [reply.outcome for reply in story.replies] == ["sent"]


async def test_conversations_are_found_by_state_and_account(file):
    async with opened(file, connected=(A, B)) as town:
        await town.say("hello")
        await town.run()
        await town.human("a person", person=BEN)
        await town.say("hello", account=B)
        await town.work()

        async def found(**query):
            known = {"account": "", "state": "", "limit": 50} | query
            return {(one.account, one.person) for one in await town.people.find(**known)}

        assert await found() == {(A, ANNA), (A, BEN), (B, ANNA)}
        assert await found(state="idle") == {(A, ANNA)}
        assert await found(state="paused") == {(A, BEN)}
        assert await found(state="waiting") == {(B, ANNA)}
        assert await found(account=SCOPED[B]) == {(B, ANNA)}
        with pytest.raises(Refused):
            await found(state="sleeping")


async def test_pausing_everybody_and_resuming_everybody(file):
    async with opened(file, connected=(A, B)) as town:
        for account in (A, B):
            await town.say("hello", account=account)
        assert await town.people.pause(account="", person="", until=0) == 2
        await town.run(for_ms=HOUR)
        assert town.instagram.posts == []
        assert await town.people.resume(account="", person="", answer_pending=True) == 2
        await town.run()
        assert len(town.instagram.posts) == 2


async def test_the_pause_of_an_account_is_seen_on_each_of_its_conversations(town):
    await town.say("hello")
    until = town.clock.now() + HOUR
    await town.people.pause(account=A, person="", until=until)
    row, account = await town.row(), await town.store.accounts.get(A)
    now = town.clock.now()
    shown = conversation(row, account, now)
    assert (shown.state, shown.waiting_for, shown.paused_until_ms) == ("paused", "paused", until)
    assert [one.person for one in await town.people.find(account=A, state="paused", limit=9)] == [ANNA]
    town.clock.ms = until
    await town.run()
    assert conversation(await town.row(), account, until).state == "idle"


async def test_resuming_an_account_ends_the_takeovers_of_its_conversations_too(town):
    await town.human("a person", person=BEN)
    await town.human("a person")
    town.clock.ms += SECOND
    waits = await town.say("anybody?")
    skipped = await town.say("hello", person=BEN)
    await town.run(for_ms=MINUTE)
    assert (await town.row()).waiting_for == "paused"
    await town.people.resume(account=A, person="", answer_pending=True)
    town.clock.ms += SECOND
    await town.run(for_ms=MINUTE)
    assert (await town.answered_by(waits)).startswith("reply")
    assert (await town.answered_by(skipped)).startswith("reply")
    assert town.got() != []


async def test_resuming_an_account_without_answers_skips_what_came_in_its_takeovers(town):
    await town.human("a person")
    town.clock.ms += SECOND
    skipped = await town.say("anybody?")
    town.clock.ms += SECOND
    await town.people.resume(account=A, person="", answer_pending=False)
    await town.run(for_ms=MINUTE)
    assert await town.answered_by(skipped) == "paused"
    town.clock.ms += SECOND
    answered = await town.say("and now?")
    await town.run(for_ms=MINUTE)
    assert (await town.answered_by(answered)).startswith("reply")


@pytest.mark.parametrize("known", [True, False], ids=["a running conversation", "its first event"])
async def test_a_persons_words_from_before_the_resume_of_the_account_pause_nothing(town, known):
    await town.say("hello", person=ANNA if known else BEN)
    await town.run()
    town.clock.ms += MINUTE
    typed = town.clock.now()
    question = town.event(text="are you there?", at=typed - SECOND)
    town.clock.ms += SECOND
    await town.people.resume(account=A, person="", answer_pending=True)
    town.clock.ms += 2 * SECOND  # another replica's view of the account is a second old at most
    await town.deliver(question)
    late = await town.human("a person was quicker", at=typed)
    assert not paused_at(await town.row(), town.clock.now())
    assert (await town.row()).handovers == ()
    newer = await town.say("thanks, and now?")
    await town.run(for_ms=MINUTE)
    assert await town.answered_by(question) == "human"
    assert (await town.message(late, Kind.ECHO)).author == "human"
    assert (await town.answered_by(newer)).startswith("reply")


async def test_a_takeover_after_the_resume_of_the_account_stands(file):
    """Also where it was recorded by a replica that had not heard of the Resume yet."""
    outside = Outside(file)
    async with opened(file, outside=outside) as one, opened(file, outside=outside, owner="two") as two:
        await one.say("hello")
        await one.run()
        await two.book.current(A, fresh=True)
        await one.people.resume(account=A, person="", answer_pending=True)
        outside.clock.ms += 500
        await two.human("a person")
        outside.clock.ms += 2 * SECOND
        await one.say("thanks")
        await one.run(for_ms=HOUR)
        assert len(one.got()) == 1


async def test_a_pause_in_the_past_is_refused(town):
    await town.say("hello")
    with pytest.raises(Refused):
        await town.people.pause(account=A, person=ANNA, until=town.clock.now())


# --- who is told ---------------------------------------------------------------------------------------------


class FakeNotes:
    def __init__(self, failures=0):
        self.failures, self.posted, self.all = failures, [], []

    @property
    def tried(self):
        return len(self.all)

    async def post(self, content):
        self.all.append(content)
        if self.failures:
            self.failures -= 1
            raise Unavailable("HANDOVER_URL answers 500")
        self.posted.append(content)


def told(town, failures=0):
    """Let the town tell a stand-in for HANDOVER_URL; return it."""
    notes = FakeNotes(failures)
    handovers = Handovers(notes, town.metrics, town.clock.now, town.store.conversations)
    town.worker.handover = handovers.tell
    return notes, handovers


async def work(town, handovers, for_ms):
    """Let time pass, and notes arrive, step by step."""
    for _ in range(for_ms // SECOND):
        await town.advance(SECOND)
        await asyncio.gather(*handovers.sending.values())


async def test_a_takeover_is_told_once_however_often_the_person_writes(town):
    notes, handovers = told(town)
    await town.say("hello")
    await town.advance(SECOND)
    first = await town.human("one")
    await work(town, handovers, SECOND)
    await town.human("two")
    await town.deliver(first)
    await work(town, handovers, MINUTE)
    assert [(one["reason"], one["account"], one["person"]) for one in notes.posted] == [("taken_over", A, ANNA)]
    assert "one" not in str(notes.posted)
    assert town.metric("igbot_handovers_total", reason="taken_over") == 1
    assert (await town.row()).handovers == ()


async def test_a_failed_and_a_held_conversation_are_told(town):
    from services.responder.outside import ModelRefused

    notes, handovers = told(town)
    await hold_one(town)
    town.writer.script = [ModelRefused("400")] * 8
    await town.say("hello", person=BEN)
    await town.run(for_ms=HOUR)
    await work(town, handovers, 10 * SECOND)
    assert [(one["reason"], one["person"]) for one in notes.posted] == [("held", ANNA), ("failed", BEN)]
    assert (await town.row(BEN)).due_at is None
    assert [one.person for one in await town.people.find(account=A, state="failed", limit=9)] == [BEN]


async def test_a_note_is_tried_again_under_the_same_id_until_it_is_taken(town):
    notes, handovers = told(town, failures=2)
    await town.human("a person")
    await work(town, handovers, MINUTE)
    assert (notes.tried, len(notes.posted)) == (3, 1)
    assert len({one["id"] for one in notes.all}) == 1
    assert town.metric("igbot_handovers_total", reason="taken_over") == 1


async def test_a_note_that_nobody_takes_is_given_up_after_a_day(town):
    notes, handovers = told(town, failures=10_000)
    await town.human("a person")
    for _ in range(26 * 60):
        await town.advance(MINUTE)
        await asyncio.gather(*handovers.sending.values())
    assert 24 * 6 < notes.tried < 26 * 6
    assert (await town.row()).handovers == ()


@pytest.mark.parametrize("died", ["before", "after"])
async def test_news_outlive_the_process_that_has_them_in_hand(file, died):
    """It died before it posted the note, or after that and before it wrote so."""
    outside = Outside(file)
    async with opened(file, outside=outside) as one:
        notes, handovers = told(one)
        if died == "before":
            notes.post = lambda _content: asyncio.sleep(60)
        else:
            handovers.rows = SimpleNamespace(load=lambda _account, _person: asyncio.sleep(60))
        await one.human("a person")
        await one.work()
        await asyncio.sleep(0)
        await handovers.close()
        assert len(notes.posted) == (died == "after")
    async with opened(file, outside=outside, owner="two") as two:
        again, handovers = told(two)
        await work(two, handovers, MINUTE)
        assert [note["reason"] for note in again.posted] == ["taken_over"]
        assert {note["id"] for note in notes.all} <= {note["id"] for note in again.all}
        assert (await two.row()).handovers == ()


async def test_takeovers_faster_than_people_write_raise_an_alarm(town):
    """Instagram's own automatic replies look like people who answer within seconds, again and again."""
    told(town)
    for n in range(5):
        await town.say("hello", person=str(n + 10))
        town.clock.ms += SECOND
        assert town.metric("igbot_automatic_replies_suspected") == 0
        await town.human("Thank you! We answer soon.", person=str(n + 10))
        await town.work()
    assert town.metric("igbot_automatic_replies_suspected") == 1
    for n in range(6):
        await town.say("hello", person=str(n + 20))
        town.clock.ms += MINUTE
        await town.human("hello", person=str(n + 20))
        await town.work()
    assert town.metric("igbot_automatic_replies_suspected") == 0


async def test_without_an_address_news_are_counted_all_the_same():
    metrics = ResponderMetrics(registry := CollectorRegistry())
    Handovers(None, metrics, lambda: 0, None).watch(A, quick=False)
    assert registry.get_sample_value("igbot_automatic_replies_suspected") == 0


# --- what a reply cost ---------------------------------------------------------------------------------------


async def test_the_time_that_igbot_adds_to_a_reply_is_observed(town):
    await town.say("hello")
    town.clock.ms += 2_500  # half a second after it was due
    await town.work()
    assert town.metric("igbot_reply_added_seconds_count") == 1
    assert town.metric("igbot_reply_added_seconds_sum") == pytest.approx(0.5, abs=0.05)
    assert town.metric("igbot_reply_seconds_count") == 1
    town.instagram.script = [graph_error(551)]
    await town.say("hello")
    await town.run()
    assert town.metric("igbot_replies_total", outcome="refused") == 1
