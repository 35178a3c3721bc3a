"""What may happen to a conversation, and is recorded in the model of the state machine as well."""

from services.responder.incoming import IncomingKind
from services.responder.times import DAY, HOUR, SECOND
from tests.responder.machine import Pieces
from tests.responder.memory import ACCOUNT, PERSON

CORE = [
    *("say", "say_late", "stop", "start", "unsend", "edit", "person", "person_before", "pause", "pause_all", "words"),
    *("own_echo", "again", "resume"),
]
EVENTS = [*CORE, "altered_echo", "altered_echo_later", "half_day", "day", "others", "resend"]
"""Each is a method of this name; `pick` chooses among what there is."""


class Events(Pieces):
    def speak(self, text="", late=0):
        mid = f"m{len(self.truth.texts)}"
        self.truth.texts[mid] = text or f"text of {mid}"
        at = self.clock.now() - late
        self.world.said.append((mid, PERSON, self.truth.texts[mid], at))
        self.hand_in(self.event(mid=mid, text=self.truth.texts[mid], at=at))

    def say(self, pick):
        self.speak()

    def say_late(self, pick):
        self.speak(late=6 * SECOND)

    def stop(self, pick):
        if "stop" not in self.truth.texts.values():
            self.truth.upset.add("stop")
            self.speak("stop")

    def start(self, pick):
        self.speak("start")

    def some_mid(self, pick):
        """One of the newest messages, but for stop and start words."""
        mids = [mid for mid, text in self.truth.texts.items() if text not in {"stop", "start"}]
        return mids[-1 - pick % len(mids)]

    def unsend(self, pick):
        mids = list(self.truth.texts)
        self.hand_in(self.event(kind=IncomingKind.UNSEND, mid=mids[-1 - pick % len(mids)]))

    def edit(self, pick):
        mid, number = self.some_mid(pick), 1 + pick % 3
        self.hand_in(self.event(kind=IncomingKind.EDIT, mid=mid, num_edit=number, text=f"edit {number} of {mid}"))

    def person(self, pick, late=0):
        mid = f"human{len(self.truth.begun)}"
        at = self.clock.now() - late
        self.truth.upset.add("person")
        self.world.said.append((mid, ACCOUNT, f"words {mid}", at))
        self.hand_in(self.echo(mid, f"words {mid}", at))

    def person_before(self, pick):
        """A person's words that are older than what waits for an answer."""
        self.person(pick, late=60 * SECOND)

    def pause(self, pick, *, person=PERSON):
        now, resumes = self.clock.now(), self.truth.resumes
        self.truth.upset.add("pause")
        self.operate(
            self.people().pause(account=ACCOUNT, person=person, until=0),
            lambda: self.truth.paused(now, float("inf"), resumes),
        )

    def pause_all(self, pick):
        self.pause(pick, person="")

    def resume(self, pick):
        if self.truth.pauses:
            self.resume_everything(pick)

    def resume_everything(self, pick):
        """Also what an operator paused who died before they heard of it."""
        self.truth.resumed()
        for person in (PERSON, ""):
            people = self.people().resume(account=ACCOUNT, person=person, answer_pending=bool(pick % 2))
            self.operate(people, ended=self.truth.resumed)

    def words(self, pick):
        """A person writes through igbot; the same words a second time are the same request, which does nothing."""
        now, resumes, text = self.clock.now(), self.truth.resumes, f"by hand {pick}"
        again = any(part.text == text for reply in self.truth.replies() for part in reply.parts)
        self.truth.upset.add("words")
        self.operate(
            self.people().say(account=ACCOUNT, person=PERSON, text=text, request_id=f"request{pick}"),
            lambda: None if again else self.truth.paused(now, now + self.policy.takeover, resumes),
        )

    def own_echo(self, pick):
        if self.world.delivered:
            self.hand_in(self.echo(*self.world.delivered[-1 - pick % len(self.world.delivered)]))

    def altered_echo(self, pick):
        """The newest message comes back in other words; ours it is all the same while its POST is under way."""
        if self.world.delivered:
            mid, text, at = self.world.delivered[-1]
            self.hand_in(self.echo(mid, f"{text} (altered)", at))

    def altered_echo_later(self, pick):
        self.pass_time(16 * SECOND)
        if self.claim_one():
            self.run_on()
        self.altered_echo(pick)

    def again(self, pick):
        self.hand_in(self.truth.begun[-1 - pick % len(self.truth.begun)])

    def half_day(self, pick):
        self.pass_time(13 * HOUR)

    def day(self, pick):
        self.pass_time(DAY + HOUR)

    def others(self, pick):
        """Other workers carry on, as far as they can within minutes."""
        for _ in range(1 + pick):
            self.take_up()
            self.run_on()

    def resend(self, pick):
        """Another worker comes to post the same part again."""
        self.bring_to("posted")
