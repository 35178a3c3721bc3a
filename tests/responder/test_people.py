"""What people do: look, pause, resume, retry, write themselves, erase."""

import asyncio

import pytest

from services.common.errors import NotFound, Refused, Unavailable, Undeliverable
from tests.responder.fakes import REFUSED_CONNECTION, SCOPED, SILENCE, A, B, graph_error
from tests.responder.town import ANNA, BEN, HOUR, MINUTE, SECOND, Outside, hold_one, opened

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
        asking.append(await town.speak())

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


@pytest.mark.parametrize(("enabled", "tags", "outcome"), [(False, [False], "dropped"), (True, [False, True], "sent")])
async def test_words_that_wait_until_the_24_hours_are_over_go_under_human_agent(file, enabled, tags, outcome):
    async with opened(file, human_agent=enabled) as town:
        await town.say("hello")
        await town.run()
        town.clock.ms += 24 * HOUR - 3 * SECOND
        town.instagram.script = [REFUSED_CONNECTION]
        asking = await town.speak()
        await town.work()
        await town.run(for_ms=MINUTE)
        assert (await asking).outcome == outcome
        assert [tagged for *_, tagged in town.instagram.posts[1:]] == tags


async def test_words_that_were_accepted_late_need_no_human_agent_once_the_customer_has_written(file):
    async with opened(file, human_agent=True) as town:
        await town.say("hello")
        await town.run()
        town.clock.ms += 25 * HOUR
        town.instagram.script = [REFUSED_CONNECTION]
        asking = await town.speak()
        await town.work()
        await town.say("are you still there?")
        await town.run(for_ms=MINUTE)
        assert (await asking).outcome == "sent"
        assert [tagged for *_, tagged in town.instagram.posts[1:]] == [True, False]


async def test_a_held_part_of_the_bots_that_is_sent_again_never_goes_under_human_agent(file):
    async with opened(file, human_agent=True) as town:
        await hold_one(town)
        held = (await town.people.held(""))[0]
        town.clock.ms = (await town.row()).window_closes_at - SECOND
        town.instagram.script = [REFUSED_CONNECTION]
        before = len(town.instagram.posts)
        await town.people.resolve(held.id, 0, "resend")
        await town.run(for_ms=HOUR)
        assert [tagged for *_, tagged in town.instagram.posts[before:]] == [False]


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


async def test_words_while_a_part_is_being_sent_are_for_later_and_leave_nothing_behind(town):
    refused = []

    async def speak(_mid):
        with pytest.raises(Unavailable) as refusal:
            await town.people.say(account=A, person=ANNA, text="words", request_id="r")
        refused.append((refusal, (await town.store.accounts.get(A)).speaking))

    town.instagram.meanwhile = [speak]
    await town.say("hello")
    await town.advance(2 * SECOND)
    assert [speaking for _, speaking in refused] == [()]


@pytest.mark.parametrize("arrived", [True, False])
async def test_a_persons_words_do_not_wait_for_what_became_of_the_bots(town, arrived):
    question = await town.say("hello")
    town.instagram.script = [("arrives", SILENCE) if arrived else SILENCE]
    await town.advance(2 * SECOND)
    assert await town.parts() == ["unknown"]
    assert (await say(town)).outcome == "sent"
    assert town.got() == ["answer 1"] * arrived + ["A person's words"]
    unsettled = [one for one in await town.store.sends.of(A, ANNA, 9) if one.author == "bot"]
    assert [one.outcome for one in unsettled] == ["unsettled"]
    await town.run(for_ms=20 * MINUTE)
    assert town.got() == ["answer 1"] * arrived + ["A person's words"]
    sent = [one for one in await town.store.sends.of(A, ANNA, 9) if one.author == "bot"]
    assert [one.outcome for one in sent] == ["sent" if arrived else "dropped"]
    assert await town.answered_by(question) == (sent[0].id if arrived else "")  # the pause keeps it


async def test_a_persons_words_wait_for_what_is_left_of_another_persons(town):
    await town.say("hello")
    town.instagram.script = [SILENCE]
    saying = await town.speak("a" * 900 + ".\n\n" + "b" * 900)
    await town.work()
    assert await town.parts() == ["unknown", "ready"]
    with pytest.raises(Unavailable):
        await town.people.say(account=A, person=ANNA, text="more", request_id="r2")
    saying.cancel()


async def test_words_that_instagram_refuses_answer_nobody_and_the_message_tells_which_they_were(town):
    question = await town.say("anybody?")
    town.instagram.script = [graph_error(100, 2534015)]
    said = await say(town)
    assert said.outcome == "refused"
    assert await town.answered_by(question) == said.id


async def test_a_persons_words_go_on_in_a_paused_account_until_they_are_sent(town):
    await town.say("hello")
    await town.people.pause(account=A, person="", until=0)
    town.instagram.script = [REFUSED_CONNECTION, REFUSED_CONNECTION, SILENCE]
    saying = await town.speak()
    await town.run(for_ms=5 * MINUTE)
    assert (await saying).outcome == "sent"
    assert town.got() == ["me"]
    assert (await town.store.accounts.get(A)).speaking == ()


async def test_a_persons_words_of_which_nobody_knows_are_looked_for_in_a_paused_account_too(town):
    await town.say("hello")
    await town.people.pause(account=A, person="", until=0)
    town.instagram.script = [SILENCE]
    saying = await town.speak()
    await town.work()
    await town.say("anybody?")
    await town.run(for_ms=10 * SECOND)
    assert (await town.store.accounts.get(A)).speaking == (ANNA,)
    town.instagram.unreadable = True
    await town.run(for_ms=5 * MINUTE)
    assert await town.parts() == ["unknown"]  # nothing newer waits for it: the bot is silent anyway
    assert (await town.store.accounts.get(A)).speaking == (ANNA,)
    await town.run(for_ms=10 * MINUTE)
    assert [one.person for one in await town.people.held(A)] == [ANNA]
    assert (await town.store.accounts.get(A)).speaking == ()
    assert (await saying).outcome in {"unsettled", "held"}


async def test_who_was_to_speak_when_their_process_died_is_forgotten_and_a_paused_account_rests(town):
    await town.say("hello")
    await town.people.pause(account=A, person="", until=0)
    await town.book.speaks(A, ANNA)  # and it dies before the words are in the row
    await town.run(for_ms=MINUTE)
    assert (await town.store.accounts.get(A)).speaking == ()
    assert (await town.row()).fence == 1
    assert (await town.row()).lease_until == 0
    assert town.got() == []


async def test_words_that_come_while_others_are_found_missing_go_out_in_a_paused_account(town):
    await town.say("hello")
    await town.people.pause(account=A, person="", until=0)
    await town.book.speaks(A, ANNA)
    claim, saying = town.store.conversations.claim, []

    async def claimed(*args, **kwargs):
        town.store.conversations.claim = claim
        row = await claim(*args, **kwargs)
        saying.append(await town.speak())
        return row

    town.store.conversations.claim = claimed
    town.clock.ms += 2 * SECOND
    await town.run(for_ms=MINUTE)
    assert (await saying[0]).outcome == "sent"
    assert town.got() == ["me"]


async def test_the_accounts_row_forgets_whom_words_waited_for_when_they_are_erased(town):
    await town.say("hello")
    town.instagram.always = REFUSED_CONNECTION
    saying = await town.speak()
    await town.work()
    assert (await town.store.accounts.get(A)).speaking == (ANNA,)
    await town.people.erase(A, ANNA)
    assert (await town.store.accounts.get(A)).speaking == ()
    saying.cancel()


async def test_a_persons_words_go_out_by_another_replica_although_the_account_is_paused_afterwards(file):
    outside = Outside(file)
    async with opened(file, outside=outside) as one, opened(file, outside=outside, owner="two") as two:
        await one.say("hello")
        await one.say("hello", person=BEN)
        saying = await one.speak()
        await one.people.pause(account=A, person="", until=0)
        await two.run(for_ms=MINUTE)
        assert (await saying).outcome == "sent"
        assert (two.got(), two.got(BEN)) == (["me"], [])


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


async def test_a_pause_in_the_past_is_refused(town):
    await town.say("hello")
    with pytest.raises(Refused):
        await town.people.pause(account=A, person=ANNA, until=town.clock.now())


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
