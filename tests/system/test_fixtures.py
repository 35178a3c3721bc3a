"""Every delivery that Instagram may send leads to what cases.json says, through the whole of igbot.

One run takes them all, in any order, and again in another: the verdicts are then asserted file by file.
"""

import asyncio
import json
import random
import sqlite3
from dataclasses import dataclass, field

import pytest
import redis

from tests.system.deliveries import cases, double, fixture, for_another, mids, people, shifted
from tests.system.load import idle
from tests.system.supervisor import Supervisor
from tests.system.town import A, B, running, until
from tests.system.verdict import folded

SEED = 20261001
PAIRS = ("unsend", "edited", "takeover")
FORWARD, BACKWARD, AFTER = 1, 2, 3  # doubles of the pairs' customers; those of halves by themselves are below
CASES = {case["file"].removeprefix("webhooks/"): case for case in cases()}


def is_half(name):
    return name.startswith(PAIRS)


def alone(name, person):
    """Who the customer of a file is: the two halves of a pair do not meet."""
    if not is_half(name):
        return person
    return double(person, 4 if "_1_" in name else 5)


def pair(name):
    return [one for one in sorted(CASES) if one.startswith(f"{name}_")]


@dataclass
class Outcome:
    """What was seen after every delivery was taken in."""

    bodies: dict = field(default_factory=dict)
    statuses: dict = field(default_factory=dict)
    unsigned: list = field(default_factory=list)
    ledger: list = field(default_factory=list)
    stories: dict = field(default_factory=dict)  # (account, person) -> GetResponse
    dead: list = field(default_factory=list)
    stores: str = ""
    logs: str = ""
    crashes: dict = field(default_factory=dict)

    def sends(self, account, person):
        who = (account, person)
        sends = (entry for entry in self.ledger if entry["kind"] == "send" and entry["accepted"])
        return [entry for entry in sends if (entry["account"], entry["person"]) == who]

    def replies(self, account, person):
        """How many replies went out; the parts of one count once."""
        story = self.stories.get((account, person))
        return sum(any(part.state == "sent" for part in reply.parts) for reply in story.replies) if story else 0

    def prompts(self, account, person):
        """The customers' words in each prompt whose answer was sent to this person."""
        texts = [folded(send["text"]) for send in self.sends(account, person)]
        calls = (entry for entry in self.ledger if entry["kind"] == "model_call")
        return ["\n".join(call["user"]) for call in calls if any(text in folded(call["answer"]) for text in texts)]

    def paused(self, account, person):
        story = self.stories.get((account, person))
        return story is not None and story.conversation.paused_until_ms > 0


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    return asyncio.run(play(tmp_path_factory.mktemp("fixtures")))


async def play(folder):
    # The second half of a pair comes within the quiet time of the first, on a slow machine too.
    settings = {"QUIET_SECONDS": "3", "QUIET_MAX_SECONDS": "6"}
    machine, found = Supervisor(folder, settings=settings), Outcome()
    async with running(machine, A, B) as town:
        plan = found.bodies = deliveries()
        for body in plan.values():
            for person in people(body):
                for account in (A, B):
                    await town.control("meet", account=account, person=person)
        found.unsigned = [await town.deliver(body, headers={}) for body in list(plan.values())[:3]]
        await post_all(town, plan, found)
        await answered(town, found)
        await later_unsend(town, plan, found)
        await look(town, plan, found)
    found.logs = "".join(machine.log(name) for name in ("gateway", "tokens", "responder"))
    found.crashes = machine.crashes()
    return found


def deliveries():
    """Each file by name; the halves of pairs for doubles of their customer, so that they do not meet."""
    plan = {}
    for name in CASES:
        body = shifted(fixture(name))
        if not is_half(name):
            plan[name] = body
            continue
        plan[name] = for_another(body, 4 if "_1_" in name else 5)
        plan[f"{name} forward"] = for_another(body, FORWARD)
        plan[f"{name} backward"] = for_another(body, BACKWARD)
        plan[f"{name} after"] = for_another(body, AFTER)
    return plan


async def post_all(town, plan, found):
    rng = random.Random(SEED)
    singles = [name for name in plan if " " not in name]
    rng.shuffle(singles)
    print(f"\nseed {SEED}")
    for name in PAIRS:
        first, second = pair(name)
        for one in (f"{first} forward", f"{second} forward", f"{second} backward", f"{first} backward"):
            found.statuses[one] = await town.hand_over(plan[one])
    for one in [f"{pair('unsend')[0]} after", *singles]:
        found.statuses[one] = await town.hand_over(plan[one])
    await asyncio.sleep(3.5)  # some are answered by now, some are not: repeats must not matter to either
    for one in rng.sample(singles, len(singles)):
        assert await town.hand_over(plan[one]) == found.statuses[one]


async def answered(town, found):
    """Wait until everybody who is due has a reply, and nothing moves any more."""
    due = {(row["account"], row["igsid"]) for row in all_due()}

    async def all_sent():
        found.ledger = await town.ledger()
        return all(found.sends(*who) for who in due)

    def missing():
        return [who for who in due if not found.sends(*who)]

    await until(all_sent, 40, missing)
    await asyncio.sleep(1.5)
    await until(lambda: idle(town), 30, "not idle")


def all_due():
    for name, case in CASES.items():
        for row in case["expect"]["replies_due"]:
            yield {**row, "igsid": alone(name, row["igsid"])}


async def later_unsend(town, plan, found):
    """Take back what has been answered."""
    name = f"{pair('unsend')[1]} after"
    found.statuses[name] = await town.hand_over(plan[name])
    await asyncio.sleep(1)
    await until(lambda: idle(town), 30, "not idle")


async def look(town, plan, found):
    found.ledger = await town.ledger()
    for body in plan.values():
        for who in ((account, person) for person in people(body) for account in (A, B)):
            story = await town.conversation(*who)
            if story is not None:
                found.stories[who] = story
    with redis.Redis.from_url(town.machine.redis_url) as client:
        found.dead = [{key.decode(): value for key, value in entry.items()} for _, entry in client.xrange("dead")]

        async def emptied():
            return client.xlen("inbox") == 0

        await until(emptied, 15, "the inbox is not empty")
    found.stores = dump(town.machine.folder / "data" / "responder.db") + str(found.dead)


def dump(path):
    """All that a database says, read while its service runs."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = [str(row) for name in tables for row in database.execute(f'SELECT * FROM "{name}"')]  # noqa: S608 - our own tables
    database.close()
    return "\n".join(rows)


@pytest.mark.parametrize("name", CASES)
def test_a_delivery_leads_to_what_its_row_says(outcome, name):
    expect, body = CASES[name]["expect"], fixture(name)

    def who(person):
        return alone(name, person)

    assert outcome.statuses[name] == expect["http"]

    due = {(row["account"], who(row["igsid"])): row for row in expect["replies_due"]}
    optional = {(row["account"], who(row["igsid"])) for row in expect["replies_optional"]}
    for key, row in due.items():
        assert 1 <= outcome.replies(*key) <= row["max_replies"]
        assert_prompt(outcome, key, row)
    everybody = {(account, who(person)) for account in (A, B) for person in people(body)}
    assert not [key for key in everybody - set(due) - optional if outcome.sends(*key)]

    paused = {(row["account"], who(row["igsid"])) for row in expect["paused"]}
    may = {(row["account"], who(row["igsid"])) for row in expect["paused_optional"]}
    assert all(outcome.paused(*key) for key in paused)
    assert not [key for key in everybody - paused - may if outcome.paused(*key)]
    if expect["dead_letter"]:
        assert outcome.bodies[name] in [entry["body"] for entry in outcome.dead]


def assert_prompt(outcome, key, row):
    """The prompts held the customer's words, and where it is asked for in this order."""
    prompts = "\n".join(outcome.prompts(*key))
    places = [prompts.find(text.strip()) for text in row.get("contains_text", [])]
    assert -1 not in places, (row, prompts)
    assert not row.get("in_order") or places == sorted(places)
    assert not [text for text in row.get("not_contains_text", []) if text in prompts]


def key_of(name, n):
    (person,) = people(fixture(pair(name)[0]))
    return A, double(person, n)


@pytest.mark.parametrize("order", [FORWARD, BACKWARD])
def test_a_message_taken_back_at_once_gets_no_reply_and_leaves_no_text(outcome, order):
    assert outcome.sends(*key_of("unsend", order)) == []
    assert_scrubbed(outcome, order)


def test_a_message_taken_back_after_its_reply_leaves_no_text_and_gets_no_more(outcome):
    key = key_of("unsend", AFTER)
    assert outcome.replies(*key) == 1
    assert_scrubbed(outcome, AFTER)


def assert_scrubbed(outcome, order):
    story = outcome.stories[key_of("unsend", order)]
    (mid,) = mids(for_another(fixture(pair("unsend")[1]), order))
    (message,) = [one for one in story.messages if one.mid == mid]
    assert message.taken_back
    assert message.text == ""


def test_the_text_of_a_message_taken_back_is_in_no_store(outcome):
    (mid,) = mids(for_another(fixture("unsend_2_deleted.json"), FORWARD))
    rows = [row for row in outcome.stores.splitlines() if mid in row]
    text = unsend_text()
    assert rows
    assert not [row for row in rows if text in row]


def unsend_text():
    return json.loads(fixture("unsend_1_message.json"))["entry"][0]["messaging"][0]["message"]["text"]


@pytest.mark.parametrize("order", [FORWARD, BACKWARD])
def test_an_edited_message_gets_one_reply_to_its_new_text(outcome, order):
    key = key_of("edited", order)
    assert outcome.replies(*key) == 1
    assert "30 rolls" in outcome.sends(*key)[0]["text"]


@pytest.mark.parametrize("order", [FORWARD, BACKWARD])
def test_a_message_that_a_person_answered_at_once_is_left_to_them(outcome, order):
    key = key_of("takeover", order)
    assert outcome.sends(*key) == []
    assert outcome.paused(*key)


def test_an_unsigned_delivery_is_refused(outcome):
    assert outcome.unsigned == [403, 403, 403]


def test_nobody_was_written_to_who_is_in_no_row(outcome):
    known = {(row["account"], row["igsid"]) for row in all_due()}
    known |= {(row["account"], row["igsid"]) for case in CASES.values() for row in case["expect"]["replies_optional"]}
    known |= {key_of("edited", FORWARD), key_of("edited", BACKWARD), key_of("unsend", AFTER)}
    sent = {(one["account"], one["person"]) for one in outcome.ledger if one["kind"] == "send"}
    assert sent <= known


def test_the_malformed_neighbour_is_put_aside_with_a_reason(outcome):
    reasons = [entry["reason"].decode() for entry in outcome.dead]
    assert len(reasons) >= 2
    assert all(reasons)


def test_no_service_printed_a_traceback(outcome):
    assert outcome.crashes == {}


def test_what_customers_wrote_is_in_no_log(outcome):
    for words in ("rye bread", "croissants", "30 rolls", unsend_text()):
        assert words not in outcome.logs
