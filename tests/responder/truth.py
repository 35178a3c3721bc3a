"""The simple model that the ledger is held against: what was said and done, and what must follow from it."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from services.responder.incoming import IncomingKind
from services.responder.message import Author
from services.responder.model import PartState
from services.responder.pauses import paused_at
from services.responder.times import DAY, Policy, Times
from tests.responder.memory import ACCOUNT, PERSON, World
from tests.responder.memory_store import MemoryStore

ARRIVED = frozenset({PartState.SENT, PartState.UNKNOWN, PartState.HELD, PartState.SENDING})
ENDED = frozenset({PartState.REFUSED, PartState.HELD})
SURE = frozenset({PartState.SENT, PartState.REFUSED, PartState.HELD})


@dataclass
class Truth:
    """What the responder was told, and the tests of every write and every message that leaves."""

    store: MemoryStore
    world: World
    policy: Policy
    times: Times
    begun: list = field(default_factory=list)  # events handed to Deliver
    done: list = field(default_factory=list)  # events to which it said yes
    texts: dict = field(default_factory=dict)  # mid -> the last version of a customer's message
    edits: dict = field(default_factory=dict)
    taken: set = field(default_factory=set)
    people: dict = field(default_factory=dict)  # mid -> until when a person's words answer what was said
    pauses: list = field(default_factory=list)  # [since, until]
    resumes: int = 0
    resumed_at: int = 0
    upset: set = field(default_factory=set)  # why not every message need have an answer of the bot's
    moved: dict = field(default_factory=dict)  # (reply, part) -> the part as it last went to `sending`
    stepped_aside: set = field(default_factory=set)  # replies that made way for newer messages, and what they answer
    reopened: set = field(default_factory=set)
    given_up: set = field(default_factory=set)  # replies with a part that was held, if only until its echo came
    doubts: set = field(default_factory=set)  # why a part may be held
    late: set = field(default_factory=set)  # mids that came after a person had answered them
    broken: list = field(default_factory=list)

    # --- what was said ------------------------------------------------------------------------------------------------

    def delivered(self, event, resumes):
        """Deliver has said yes: from here on the event must be respected."""
        if event.kind is IncomingKind.UNSEND:
            self.taken.add(event.mid)
        elif event.kind is IncomingKind.EDIT and event.num_edit >= self.edits.get(event.mid, 0):
            self.edits[event.mid] = event.num_edit
            self.texts[event.mid] = event.text
        elif event.is_echo and event.mid.startswith("human") and event.mid not in self.people:
            self.person_wrote(event, resumes)
        self.done.append(event)

    def person_wrote(self, event, resumes):
        at = min(event.at, self.store.clock.now())
        self.people[event.mid] = at
        if at > self.resumed_at:
            self.paused(at, at + self.policy.takeover, resumes)

    def begins(self, event):
        if event.kind is IncomingKind.MESSAGE and not event.is_echo:
            first = event.mid not in {one.mid for one in self.begun}
            if first and self.person_answered(event.at):
                self.late.add(event.mid)
        self.begun.append(event)

    def paused(self, since, until, resumes):
        """The bot must be silent; nobody can tell when somebody resumed meanwhile."""
        if resumes == self.resumes:
            self.pauses.append([since, until])

    def resumed(self):
        """Somebody resumes, or has done so."""
        self.resumes += 1
        self.resumed_at = now = self.store.clock.now()
        self.pauses = [[since, min(until, now)] for since, until in self.pauses]

    def opted_out(self):
        """Whether a stop word counts: a word that is being taken back may or may not, as one that is undone."""
        unsent = {one.mid for one in self.begun if one.kind is IncomingKind.UNSEND}
        undone = max((one.at for one in self.begun if one.text == "start"), default=0)
        return any(one.text == "stop" and one.mid not in unsent and one.at > undone for one in self.done)

    def window(self):
        """When the window closes, at the latest."""
        now = self.store.clock.now()
        said = (one for one in self.begun if one.kind is IncomingKind.MESSAGE and not one.is_echo)
        return max(min(one.at, now) for one in said) + DAY

    def versions(self, mid):
        """What a message may say now: its last recorded version, or one that is just being recorded."""
        under_way = [one for one in self.begun if one not in self.done and one.mid == mid]
        return {self.texts[mid], *(one.text for one in under_way)}

    # --- every write of the row ---------------------------------------------------------------------------------------

    def watch_save(self, before, after):
        """Each write must respect everything that was recorded before it."""
        try:
            for _, n, _ in sending(after) - sending(before):
                self.may_send(before, after, after.reply, after.reply.parts[n])
            self.keeps_replies(before, after)
            self.keeps_times(before, after)
        except AssertionError as error:
            self.broken.append(error)

    def may_send(self, before, after, reply, part):
        now = part.sending_at  # what is written too late is not posted: see watch_post
        first = not any(one.state in ARRIVED for one in reply.parts if one.n != part.n)
        self.moved[reply.id, part.n] = part
        assert now < self.window(), "sent outside the window"
        assert not part.n or reply.parts[part.n - 1].state is PartState.SENT, "a later part before an earlier one"
        assert part.resent <= 3, "sent again too often"
        if reply.author is Author.HUMAN:
            return
        for one in reply.answers:
            assert one.mid not in self.taken, f"{one.mid} was taken back before it was answered"
        assert not any(since <= now < until for since, until in self.pauses), "spoke over a person"
        assert not self.opted_out() or reply.confirms, "spoke to somebody who opted out"
        assert now - max(one.at for one in reply.answers) <= self.policy.stale, "answered what is stale"
        if first:
            newer = {one.mid for one in after.unanswered} - self.reopened
            assert reply.final or not newer, "a newer message was ignored"
            for one in reply.answers:
                assert not self.person_answered(one.at), f"a person answered {one.mid} before the bot did"
            gone = {one.id for one in in_hand(before)} - {one.id for one in in_hand(after)}
            assert gone <= self.store.replies.keys(), "a reply in hand was overwritten"
            self.answers_the_last_version(reply, part)

    def person_answered(self, at):
        """Whether a person's echo of that time or later is recorded, as long as that is remembered."""
        known_until = self.store.clock.now() - self.policy.stale
        return any(at <= then > known_until for then in self.people.values())

    def answers_the_last_version(self, reply, part):
        """An edit changes nothing any more of a message that is just being taken back."""
        going = {one.mid for one in self.begun if one.kind is IncomingKind.UNSEND and one not in self.done}
        wanted = self.world.prompts.get(part.sha256)
        for one in [one for one in reply.answers if one.mid not in going] if wanted is not None else ():
            assert self.versions(one.mid) & set(wanted), f"the text answers {wanted}, not {self.versions(one.mid)}"

    def keeps_replies(self, before, after):
        """A person's words, and a reply of which anything arrived, are in the row or in `sends`."""
        self.stepped_aside |= {one.id for one in after.unsettled}
        held = [one for one in in_hand(after) if any(part.state is PartState.HELD for part in one.parts)]
        self.given_up |= {one.id for one in held}
        self.reopened |= {one.mid for reply in after.unsettled for one in reply.answers}
        kept = {one.id for one in in_hand(after)} | set(self.store.replies)
        for reply in in_hand(before):
            if reply.author is Author.HUMAN or any(part.state in SURE for part in reply.parts):
                assert reply.id in kept, f"{reply.id} is in no ledger"

    def silent(self, row):
        """Whether the bot says nothing here until the row is due again: its conversation is paused, or its account."""
        book = self.store.books.get(ACCOUNT)
        return paused_at(row, row.due_at) or (book is not None and paused_at(book, self.store.clock.now()))

    def keeps_times(self, before, after):
        """Nobody waits longer than is promised, and no text is thrown away more than twice."""
        assert after.superseded <= 2, "superseded a third time"
        if before is None or before.lease_until == after.lease_until:
            return
        for part in after.reply.parts if after.reply else ():
            if part.state is PartState.UNKNOWN:
                gives_way_at = part.sending_at + self.times.newer_wait + self.times.pass_floor
                wait = after.unanswered and (after.reply.author is Author.BOT or not self.silent(after))
                assert not wait or after.due_at <= gives_way_at, "newer messages wait for an unknown part"
                looked_for = part.check_at - part.unreadable_since if part.unreadable_since else 0
                assert looked_for <= 2 * self.times.unreadable_for, "looked for without an end"

    def watch_post(self, text):
        """A POST begins: no later than the tests before it hold."""
        began = max(part.sending_at for part in self.moved.values() if part.text == text)
        if self.store.clock.now() - began > self.times.post_within:
            self.broken.append(AssertionError("posted long after it was tested"))

    def watch_arrival(self, text):
        """What arrives was moved to `sending`, and never twice."""
        told = [one for _, one, _ in self.world.delivered].count(text)
        if told >= [part.text for part in self.moved.values()].count(text):
            self.broken.append(AssertionError(f"said twice: {text[:40]}"))

    # --- whenever nothing moves ---------------------------------------------------------------------------------------

    def nothing_is_broken(self):
        if self.broken:
            raise self.broken[0]

    def no_message_is_answered_twice(self):
        answers: dict[str, dict[str, Any]] = {}
        for reply in self.replies():
            for one in reply.answers:
                answers.setdefault(one.mid, {})[reply.id] = reply
        for mid, replies in answers.items():
            arrived = [one.id for one in replies.values() if any(p.state is PartState.SENT for p in one.parts)]
            assert len(arrived) <= 1, f"{mid} is answered by {arrived}"

    def replies(self):
        return [*self.store.replies.values(), *(one for row in self.store.rows.values() for one in in_hand(row))]

    def what_was_sent_is_history(self):
        """Checked before the echoes come, which would bring it too; one that is being recorded brings it itself."""
        coming = {one.mid for one in self.begun if one not in self.done}
        working = {one.id for row in self.store.rows.values() for one in in_hand(row)}
        for reply in [one for one in self.store.replies.values() if one.id not in working]:
            for part in reply.parts:
                known = part.mid in coming or f"{ACCOUNT}|echo|{part.mid}|" in self.store.docs
                assert known or part.state is not PartState.SENT, f"part {part.n} of {reply.id} is not in the history"

    # --- in the end ---------------------------------------------------------------------------------------------------

    def judge(self):
        row = self.store.rows[ACCOUNT, PERSON]
        assert row.reply is None
        left = (row.unanswered, row.unsettled, row.marks, row.undecided)
        assert not any(left), f"never finished: {left}"
        ours = {part.mid for reply in self.store.replies.values() for part in reply.parts if part.mid}
        assert not [pause for pause in row.pauses if pause.mid in ours], "paused by its own echo"
        for message in self.store.docs.values():
            if message.author is Author.CUSTOMER and message.recorded_at:
                self.judge_message(message)
        for reply in self.store.replies.values():
            self.judge_reply(reply)
        self.judge_ledger()

    def judge_message(self, message):
        assert not (message.taken_back and message.text), "what was taken back is still there"
        if message.taken_back:
            return
        by = message.answered_by
        assert by, f"{message.mid} was lost"
        assert by.startswith("reply") or self.upset, f"{message.mid}: {by}"
        if by == "human":
            typed = any(one.is_echo and message.at <= one.at for one in self.begun)  # an altered one is a person's
            assert typed or self.has_words(message), f"nobody answered {message.mid}"
        if message.mid in self.late:
            assert by == "human", f"{message.mid} came after a person's answer and is {by}"
        if by.startswith("reply"):
            parts = self.store.replies[by].parts
            ended = any(part.state in ENDED | {PartState.SENT} for part in parts)
            assert ended, f"{message.mid} counts as answered by a reply of which nothing was sent"

    def has_words(self, message):
        """Whether a person's words answer it, of which a part was sent or may have been."""
        words = [one for one in self.store.replies.values() if one.author is Author.HUMAN]
        answers = [one for one in words if any(each.mid == message.mid for each in one.answers)]
        return any(part.state in {PartState.SENT, PartState.HELD} for one in answers for part in one.parts)

    def judge_reply(self, reply):
        states = {part.state for part in reply.parts}
        assert states <= ENDED | {PartState.SENT, PartState.DROPPED}, f"{reply.id} was never settled"
        for part in reply.parts:
            gave_way = reply.author is Author.HUMAN and reply.id in self.stepped_aside
            sure = self.doubts or "person" in self.upset or part.resent >= 3 or gave_way
            assert part.state is not PartState.HELD or sure, "held although everything could be read"
        taken = {one.mid for one in reply.answers} & {one.mid for one in self.begun if one.kind is IncomingKind.UNSEND}
        reason = self.upset or taken or states & ENDED or reply.id in self.stepped_aside | self.given_up
        assert PartState.DROPPED not in states or reason, f"{reply.id} was dropped for nothing"

    def judge_ledger(self):
        """The ledger says exactly what arrived, but for what it holds."""
        arrived = Counter(text for _, text, _ in self.world.delivered)
        parts = [part for reply in self.store.replies.values() for part in reply.parts]
        for text in arrived.keys() | {part.text for part in parts}:
            states = Counter(part.state for part in parts if part.text == text)
            least, most = states[PartState.SENT], states[PartState.SENT] + states[PartState.HELD]
            assert least <= arrived[text] <= most, f"the ledger is wrong: {states}, {arrived[text]} arrived"


def sending(row):
    """The parts that are being sent, each with its attempt."""
    parts = row.reply.parts if row is not None and row.reply is not None else ()
    return {(row.reply.id, part.n, part.attempt) for part in parts if part.state is PartState.SENDING}


def in_hand(row):
    """The replies that stand in a row."""
    return [] if row is None else [*([row.reply] if row.reply else []), *row.unsettled]
