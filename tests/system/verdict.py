"""What the sandbox's ledger proves: lost, doubled, out of order. Rules only; the texts of a load are all different."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

GIVE_WAY_MS = 50_000


@dataclass
class Verdict:
    """The mids, or sends, for which the promise was not kept."""

    said: int = 0
    replies: int = 0
    parts: int = 0
    lost: list = field(default_factory=list)
    doubled: list = field(default_factory=list)
    disordered: list = field(default_factory=list)
    unexplained: list = field(default_factory=list)
    gave_way: list = field(default_factory=list)

    @property
    def kept(self):
        return not (self.lost or self.doubled or self.disordered or self.unexplained)

    def __str__(self):
        counts = f"said {self.said}, replies {self.replies}, parts {self.parts}"
        bad = f"lost {len(self.lost)}, doubled {len(self.doubled)}, out of order {len(self.disordered)}"
        return f"{counts}: {bad}, unexplained {len(self.unexplained)}; gave way {len(self.gave_way)}"


def folded(text):
    return " ".join(text.split())


def judge(entries):
    """Judge a ledger in which customers only wrote: every message answered, none twice, all in order."""
    said = {entry["mid"]: entry for entry in entries if entry["kind"] == "said"}
    calls = [entry for entry in entries if entry["kind"] == "model_call"]
    sends = [entry for entry in entries if entry["kind"] == "send" and entry["accepted"]]
    verdict = Verdict(said=len(said), parts=len(sends))
    answered = set()
    told: dict = defaultdict(list)  # person -> the newest message of each reply, in the order of sending
    spoken = defaultdict(list)
    by_person = index(calls, said)
    for send in sends:
        call = call_of(send, by_person)
        if call is None:
            verdict.unexplained.append(send)
            continue
        answered.update(call["mids"])
        spoken[who(send)].append(send)
        if not told[who(send)] or told[who(send)][-1] != call["newest"]:
            told[who(send)].append(call["newest"])
            verdict.replies += 1
        times = [said[mid]["timestamp"] for mid in call["mids"]]
        if times != sorted(times):
            verdict.disordered.append(("prompt", send))
    verdict.lost = [mid for mid in said if mid not in answered]
    verdict.doubled = [text for one in spoken.values() for text in repeated(one)]
    for person, newest in told.items():
        for newer, older in falls(newest, said):
            excused = gave_way(older, newer, by_person[person])
            (verdict.gave_way if excused else verdict.disordered).append(("replies", said[older]))
    verdict.disordered += [("parts", one[0]) for one in spoken.values() if not parts_rise(one, by_person)]
    return verdict


def who(entry):
    return entry["account"], entry["person"]


def index(calls, said):
    """The calls by the person whose message was the newest that they were given."""
    found = defaultdict(list)
    for call in calls:
        if call["newest"] in said:
            found[who(said[call["newest"]])].append({**call, "answer": folded(call["answer"])})
    return found


def call_of(send, calls):
    """The newest model call of a person before this send whose answer holds what was sent."""
    text = folded(send["text"])
    fitting = [call for call in calls[who(send)] if call["n"] < send["n"] and text in call["answer"]]
    return max(fitting, key=lambda call: call["n"], default=None)


def repeated(sends):
    """The texts that one person was sent more than once."""
    return [text for text, times in Counter(folded(send["text"]) for send in sends).items() if times > 1]


def falls(mids, said):
    """Each older message that was answered right after a newer one."""
    times = [said[mid]["timestamp"] for mid in mids]
    return [(mids[n], mids[n + 1]) for n in range(len(mids) - 1) if times[n + 1] < times[n]]


def gave_way(older, newer, calls):
    """Whether the older one had its reply written a minute before the newer one's.

    Then that reply's outcome was unknown for so long that newer messages went first, as the design has it.
    """
    first = min((call["at_ms"] for call in calls if older in call["mids"]), default=0)
    return any(call["newest"] == newer and call["at_ms"] - first > GIVE_WAY_MS for call in calls)


def tell(verdict, entries):
    """What happened to the people for whom the order was broken, a line an event."""
    people = {one["person"] for _, one in verdict.disordered}
    said = {one["mid"]: one for one in entries if one["kind"] == "said"}
    lines = []
    for one in entries:
        mids = [mid for mid in [one.get("mid"), *one.get("mids", [])] if mid in said]
        person = one.get("person") or (said[mids[-1]]["person"] if mids else "")
        if person in people and one["kind"] in {"said", "delivery", "model_call", "send"}:
            texts = [said[mid]["text"] for mid in mids] or [one.get("text", "")]
            lines.append(
                f"{one['at_ms']} {person} {one['kind']} {one.get('event', '')} {one.get('status', '')} {texts}"
            )
    return "\n".join([str(verdict), *lines])


def parts_rise(sends, calls):
    """Whether the parts of each reply came in the order of its text."""
    places = defaultdict(list)
    for send in sends:
        call = call_of(send, calls)
        places[call["n"]].append(call["answer"].index(folded(send["text"])))
    return all(place == sorted(place) for place in places.values())
