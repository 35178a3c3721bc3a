"""The conditions of section "The reply, exactly once" of docs/architecture.md, and how each is taken out."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """A condition and the lines that make it. `also` is the test that reaches a second lock, `why` says that it is."""

    condition: str
    changes: tuple[tuple[str, str], ...]
    also: str = ""
    why: str = ""


def one(condition: str, old: str, new: str = "", *, also: str = "", why: str = "") -> Mutation:
    """Return a mutation of one place."""
    return Mutation(condition, ((old, new),), also, why)


IN_HAND = "test_reply_in_hand.py::"
LATE = "    if (self.monotonic() - began) * 1000 > self.times.post_within:"
DISOWN = "    if result.posted is Posted.SENT:\n        changed = disown_pause(changed, result.mid)\n"
REFUSED = "    if result.posted is Posted.REFUSED:\n        changed = drop_rest(changed, reply_id)\n"
FENCE = '        if found.fence != fence:\n            raise LostLease("another worker has the conversation")\n'

MOVES = [
    Mutation(
        "the fence is mine",
        (("    if row.fence != fence:\n        return Void.FENCE\n", ""), (FENCE, "")),
        "test_claim.py::test_a_worker_that_lost_its_lease_neither_writes_nor_sends",
        "every write asks for the revision that was read",
    ),
    one("the version is as read", "(draft.version != row.version and not draft.final)", "False"),
    one(
        "the version is as read, for a text that came back to ready",
        "overtaken = reply.version != row.version and not reply.final",
        "overtaken = False",
    ),
    one(
        "no person answered first, for a text that came back to ready",
        "answered = any(answered_by_person(row, one) for one in reply.answers)",
        "answered = False",
        also="test_decide_speaking.py"
        "::test_a_lost_reply_that_no_newer_message_may_stop_is_not_sent_again_over_a_person",
        why="a text that was overtaken twice is lost seldom, which more examples find",
    ),
    one(
        "a customer's message grows the version",
        "row = replace(row, version=row.version + 1, failed=False,",
        "row = replace(row, failed=False,",
    ),
    one("not paused", "        if paused_at(row, now):\n            return Void.PAUSED\n"),
    one("not opted out", "if row.opted_out and not reply.confirms:", "if False:"),
    one("the window is open", "return Void.WINDOW_CLOSED if now >= window else None", "return None"),
    one(
        "not stale",
        "if reply.answers and now - max(one.at for one in reply.answers) > policy.stale:",
        "if False:",
    ),
    one(
        "no answered message taken back, at the point of no return",
        "        if one.key not in open_now:\n            return Void.TAKEN_BACK\n        if open_now",
        "        if one.key in open_now and open_now",
    ),
    one(
        "no answered message taken back, later and again",
        "    if reply.stopped:\n        return Void.TAKEN_BACK\n",
        also=IN_HAND + "test_a_text_that_never_left_is_not_sent_once_its_question_was_taken_back",
        why="an unsend grows the version and drops the parts behind",
    ),
    one("no answered message edited", "if open_now[one.key].edit != one.edit:", "if False:"),
    one(
        "no answered message edited while the first POST failed",
        "return replace(row, reply=replace(reply, answers=newer, final=False), version=row.version + 1)",
        "return row",
    ),
    one(
        "one reply in hand at a time",
        "if row.reply is not None or (draft",
        "if (draft",
        also=IN_HAND + "test_no_text_takes_the_place_of_a_reply_in_hand",
        why="only a person's words come between, and they answer what the text would",
    ),
    one("a text is overtaken twice at most", "MAX_SUPERSEDED = 2", "MAX_SUPERSEDED = 99"),
    one(
        "a finished reply overtakes no text",
        "if not cleared.unanswered and not unsettled:",
        "if not unsettled:",
        also=IN_HAND + "test_a_text_after_a_finished_reply_too_is_superseded_twice_at_most",
        why="it takes five races in a row, which more examples find",
    ),
]

POSTS = [
    one("no POST later than 2 s after its tests", LATE.strip(), "if False:"),
    one(
        "what was not posted is ready again, only with the fence",
        "    if row.fence != fence:\n        return None\n",
        also=IN_HAND + "test_a_part_that_was_not_posted_is_ready_again_only_with_the_fence",
        why="who has the fence made it unknown, or sending once more",
    ),
    one(
        "an answer counts for its own attempt",
        "if part.attempt != attempt or part.state not in",
        "if part.state not in",
    ),
    one(
        "the answer to a POST is recorded whoever has the conversation",
        "                row = await self.reload(row)\n            except Unavailable",
        "                row = await self.again(row, fence)\n            except Unavailable",
        also="test_claim.py::test_the_answer_to_a_post_is_recorded_whoever_holds_the_conversation_by_then",
        why="what was not written down is unknown, and settled",
    ),
    one("after a refused part nothing more goes out", REFUSED),
    one(
        "after a held part nothing more goes out",
        "return drop_rest(changed, reply_id) if part_of(changed, reply_id, n).state is PartState.HELD else changed",
        "return changed",
    ),
    one(
        "a crash found in sending is unknown",
        'unknown(part, times, error="the worker died while sending")',
        "replace(part, state=PartState.READY)",
    ),
    one(
        "a POST without an answer is unknown",
        "return unknown(part, times, error=result.error)",
        "return replace(part, state=PartState.READY)",
    ),
    one(
        "the next part waits for an unknown one",
        "unknown = [part for part in reply.parts if part.state is PartState.UNKNOWN]",
        "unknown = []",
    ),
]

UNKNOWN = [
    one("present: of a mid that nothing else has", " and one.mid not in known", ""),
    one(
        "present: no older than the POST",
        "one.mid not in known and one.at >= since]",
        "one.mid not in known]",
        also="test_settle.py::test_clocks_may_differ_by_five_seconds_and_no_more",
        why="what is older has a mid that is known, or is a person's",
    ),
    one("present: clocks differ by 5 s", "clock_slack: int = 5 * SECOND", "clock_slack: int = 0"),
    one("absent: nothing unknown was sent since", "if reaches_back and not fresh else", "if reaches_back else"),
    one(
        "absent: the read reaches back before the POST",
        "reaches_back = reading.whole or min(one.at for one in reading.messages) < since",
        "reaches_back = True",
    ),
    one("absent: nothing listed that cannot be read", "if any(at >= since for at in reading.hidden):", "if False:"),
    one("absent: twice", "if not part.absent_at:", "if False:"),
    one("absent: 10 s apart", "looks_apart: int = 10 * SECOND", "looks_apart: int = 0"),
    one("absent: 45 s after the POST", "second_look: int = 45 * SECOND", "second_look: int = 0"),
    one("ready again three times at most", "if part.resent >= MAX_RESENDS:", "if False:"),
    one("held after 10 minutes unreadable", "if now - since >= times.unreadable_for:", "if False:"),
    one("newer messages wait 60 s at most", "if give_way_at is not None and now >= give_way_at:", "if False:"),
    one("what gave way is never sent again", "else without_ready(reply))", "else reply)"),
    one(
        "a person's words make no way while the bot is silent",
        "(reply.author is Author.BOT or not paused_until(row, account, now=now))",
        "True",
        also="test_words_that_wait.py"
        "::test_the_second_part_of_a_persons_words_goes_out_although_the_customer_wrote_meanwhile",
        why="the machine says that nobody waits too long, not that nobody makes way too early",
    ),
    one(
        "a person's words that made way are held",
        "with_ready_held(reply) if reply.author is Author.HUMAN else without_ready(reply)",
        "without_ready(reply)",
        also="test_words_that_wait.py::test_words_that_made_way_and_never_arrived_are_held_and_can_be_sent_again",
        why="words, a lost POST, Resume and a minute, which more examples find",
    ),
    one(
        "a person's words that never went out answer nothing",
        "    if reply.author is Author.HUMAN and outcome is ReplyOutcome.DROPPED:\n",
        "    if False:\n",
        also="test_words_that_wait.py::test_words_that_never_went_out_answer_nothing",
        why="its words seldom wait",
    ),
    one("what never arrived is unanswered again", "row = reopened(row, reply.answers, reply.id)", "pass"),
]

ECHOES = [
    one(
        "an echo is ours by its text",
        "    if found is None:\n        return False, row\n",
        "    if True:\n        return False, row\n",
    ),
    one(
        "a message is left to the part that was posted nearest to it",
        "if is_meant(row, part, one.at, times)]",
        "]",
        also="test_same_words.py"
        "::test_a_message_is_left_to_the_reply_that_was_posted_nearest_to_it_when_the_other_ones_shows_altered",
        why="two lost replies of the same words, one of them shown altered, which more examples find",
    ),
    one(
        "words from before a part's first POST are not it",
        " and at >= earliest(part, times)]",
        "]",
        also="test_same_words.py::test_a_persons_older_words_settle_no_part_of_the_same_words",
        why="no person of the machine's says what the bot said",
    ),
    one(
        "a part that was sent again may be the message of its first try",
        "return (part.first_at or part.sending_at) - times.clock_slack",
        "return part.sending_at - times.clock_slack",
        also="test_same_words.py::test_a_part_that_was_sent_again_in_vain_is_settled_by_the_message_of_the_first_try",
        why="no message of the machine's shows later than a read a minute after it",
    ),
    one(
        "an echo is ours by its mid, in the row",
        "if one.mid in ledger.mids_in(row):",
        "if False:",
    ),
    one(
        "an echo is ours by its mid, in sends",
        "ours = {event.mid for event in echoes if await self.store.sends.owns(account.account, event.mid)}",
        "ours: set[str] = set()",
    ),
    one(
        "an unknown echo while sending is undecided",
        "return replace(row, undecided=(*row.undecided, one))\n    return human",
        "return human(row, one.mid, one.at, now=now, policy=policy)\n    return human",
    ),
    one(
        "the next part waits for an undecided echo",
        "    if row.undecided:\n        return rest(row, now + times.pass_floor",
        "    if False:\n        return rest(row, now + times.pass_floor",
        also=IN_HAND + "test_the_next_part_waits_for_an_undecided_echo",
        why="an echo is decided as soon as no part is sending or unknown",
    ),
    one(
        "a held part's echo settles it",
        "        ours |= await self.late_echoes.settle(row, strangers)\n",
        "",
        also="test_held.py::test_a_late_echo_settles_a_held_part_and_is_nobodys_words",
        why="it takes ten minutes without a read, which more examples find",
    ),
    one(
        "the echo of a held part has the time of its POST",
        "ledger.earliest(part, self.times) <= echo.at <= last and ",
        "",
        also="test_held.py::test_the_same_words_at_another_time_are_a_persons",
        why="no person of the machine's says what the bot said",
    ),
    one(
        "the echo of a known part settles no held one",
        "if one.mid not in ours and not self.is_of_row(row, one)]",
        "]",
        also="test_held.py::test_the_echo_of_a_reply_that_is_known_settles_no_held_one_of_the_same_words",
        why="it takes ten minutes without a read after two replies of the same words, which more examples find",
    ),
    one(
        "the echo of a part that a person dropped is nobody's words",
        " or (part.state is PartState.DROPPED and looked_for)",
        "",
        also="test_held.py::test_the_echo_of_a_held_part_that_a_person_decided_about_is_nobodys_words",
        why="it takes ten minutes without a read, and a person, which more examples find",
    ),
    one(
        "what was never sent is no echo's part",
        "looked_for = part.resent > 0 or part.unreadable_since > 0",
        "looked_for = part.attempt > 0",
        also="test_held.py::test_a_person_who_types_what_igbot_could_not_send_is_heard",
        why="no person of the machine's says what the bot said",
    ),
    one(
        "an echo is of the part in the row rather than of one that was given up",
        "or meant is not None",
        "",
        also="test_held.py::test_an_echo_is_of_the_part_in_the_row_rather_than_of_one_that_was_given_up_before_it",
        why="no person of the machine's says what the bot said",
    ),
    one("a pause by our own echo ends with the POST's answer", DISOWN),
    one("a pause by our own echo ends with a read", "return disown_pause(changed, mid)", "return changed"),
    one("a person's words pause", "else at + policy.takeover", "else at"),
    one(
        "a person's words answer what comes late",
        "    if answered_by_person(row, one):\n        return HUMAN\n",
        "",
        also="test_decide_speaking.py::test_a_question_that_comes_after_the_answer_that_a_person_gave_is_the_persons",
        why="a message comes that late seldom, which more examples find",
    ),
    one(
        "what a person answered is not answered when a lost reply is given up",
        "    if record.answered_by_person(row, one):",
        "    if False:",
        also="test_decide_speaking.py"
        "::test_what_a_person_answered_while_a_lost_reply_was_looked_for_is_not_answered_again",
        why="the pause that the person's words make is over seldom",
    ),
    one("a person's words answer what waits", ", *(Mark(key=one.key, answered_by=HUMAN) for one in gone)", ","),
    one(
        "an unsend takes the message out",
        "    if any(one.key == key for one in row.unanswered):",
        "    if False:",
    ),
]

RECORDS = [
    one(
        "a message that the row knows is not added again",
        "    if knows(row, one.key):\n        return row\n",
        also=IN_HAND + "test_a_message_that_is_being_answered_is_not_added_again",
        why="before a text is written, the message itself says that it is answered",
    ),
    one(
        "a message's own word that it is answered",
        "if message is None or message.answered_by:",
        "if message is None:",
        also="test_claim.py::test_a_row_that_lost_its_mark_to_a_crash_is_not_answered_twice",
        why="the row holds what is unanswered; only a restored row is behind its messages",
    ),
    one("finished replies are in sends", "*(self.store.sends.put(reply) for reply in settled),"),
    one("what was sent is history", "self.store.messages.add(said_now),"),
    one(
        "what was answered is marked",
        "marks=(*row.marks, *(Mark(key=one.key, answered_by=answered_by) for one in reply.answers)),",
    ),
    one("marks are carried out", "await self.store.messages.mark(row.marks)", "pass"),
    one(
        "words written through igbot pause",
        "pauses=(*one.pauses, pause))",
        "pauses=one.pauses)",
        also="test_people.py::test_a_persons_words_go_out_pause_the_bot_and_answer_what_waits",
        why="somebody must write within the pause, which more examples find",
    ),
    one(
        "words written through igbot go out once",
        "while not await self.taken(row, reply_id):",
        "while True:",
        also="test_people.py::test_the_same_request_id_sends_once_however_often_it_is_asked",
        why="the machine asks seldom twice",
    ),
    one(
        "words written through igbot survive an edit",
        "if reply is not None and reply.author is Author.BOT and outdated",
        "if reply is not None and outdated",
        also=IN_HAND + "test_a_persons_words_are_not_lost_when_the_customer_edits",
        why="its words seldom wait",
    ),
]

MUTATIONS = [*MOVES, *POSTS, *UNKNOWN, *ECHOES, *RECORDS]
