"""What services/responder/ports.py says of messages, as facts of every adapter."""

import asyncio

from msgspec.structs import replace

from services.responder.message import Attached, Author, Kind, Stored
from services.responder.model import Mark
from services.responder.ports import Store
from tests.responder.conftest import OpenStore
from tests.responder.stores import ACCOUNT, OTHER, PERSON, a_message, a_stub

PICTURE = (Attached(type="image", title="a cat", url="https://example.org/cat"),)


class TestAdd:
    async def test_each_is_stored_once_and_returned_as_stored_in_order(self, store: Store) -> None:
        one, two = a_message("m1", attachments=PICTURE, note="a story"), a_message("m2")
        assert await store.messages.add([one, two]) == [Stored(one, new=True), Stored(two, new=True)]
        three, again = a_message("m3"), replace(two, text="other", answered_by="human")
        assert await store.messages.add([three, again]) == [Stored(three, new=True), Stored(two, new=False)]
        assert set(await store.messages.get([one.key, two.key, three.key, "none"])) == {one, two, three}

    async def test_nothing_added_is_nothing(self, store: Store) -> None:
        assert await store.messages.add([]) == []
        assert await store.messages.get([]) == []
        await store.messages.mark([])

    async def test_the_same_key_twice_in_one_call_is_one_message(self, store: Store) -> None:
        one = a_message()
        assert await store.messages.add([one, one]) == [Stored(one, new=True), Stored(one, new=False)]

    async def test_many_at_once_from_two_replicas_store_each_once(self, open_store: OpenStore) -> None:
        stores = [await open_store(), await open_store()]
        messages = [a_message(f"m{n}") for n in range(30)]
        outcomes = await asyncio.gather(*(stores[n % 2].messages.add(messages) for n in range(4)))
        for place, message in enumerate(messages):
            assert [outcome[place].message for outcome in outcomes] == [message] * 4
            assert sum(outcome[place].new for outcome in outcomes) == 1

    async def test_two_accounts_never_see_each_other(self, store: Store) -> None:
        ours, theirs = a_message(), a_message(account=OTHER)
        assert all(stored.new for stored in await store.messages.add([ours, theirs]))
        assert await store.messages.recent(ACCOUNT, PERSON, 9) == [ours]


class TestTakeBack:
    async def test_nothing_that_was_said_is_left(self, store: Store) -> None:
        one = a_message(attachments=PICTURE, note="a story", answered_by="r1")
        await store.messages.add([one])
        scrubbed = replace(one, text="", attachments=(), note="", taken_back=True)
        assert await store.messages.take_back(a_stub()) == Stored(scrubbed, new=True)
        assert await store.messages.get([one.key]) == [scrubbed]
        assert await store.messages.take_back(a_stub()) == Stored(scrubbed, new=False)

    async def test_one_that_comes_before_its_message_wins(self, store: Store) -> None:
        stub = replace(a_stub(), taken_back=True)
        assert await store.messages.take_back(a_stub()) == Stored(stub, new=True)
        assert await store.messages.take_back(a_stub()) == Stored(stub, new=False)
        assert await store.messages.recent(ACCOUNT, PERSON, 9) == []
        one = a_message(attachments=PICTURE, note="a story", at=5)
        scrubbed = replace(one, text="", attachments=(), note="", taken_back=True)
        assert await store.messages.add([one]) == [Stored(scrubbed, new=True)]
        assert await store.messages.add([one]) == [Stored(scrubbed, new=False)]
        assert await store.messages.recent(ACCOUNT, PERSON, 9) == [scrubbed]

    async def test_it_also_scrubs_an_edit_that_came_before_the_message(self, store: Store) -> None:
        await store.messages.edit(a_stub(edit=1, text="edited"))
        gone = replace(a_stub(edit=1), taken_back=True)
        assert await store.messages.take_back(a_stub()) == Stored(gone, new=True)
        ((done),) = await store.messages.add([a_message()])
        assert (done.message.text, done.message.taken_back, done.new) == ("", True, True)

    async def test_against_the_message_at_once_the_unsend_wins(self, store: Store) -> None:
        for turn in range(20):
            mid = f"m{turn}"
            await asyncio.gather(store.messages.add([a_message(mid)]), store.messages.take_back(a_stub(mid)))
            (now,) = await store.messages.get([a_message(mid).key])
            assert (now.text, now.taken_back, now.recorded_at) == ("", True, 2_000)


class TestStubWithoutAPerson:
    """Instagram leaves the sender out of many an edit and unsend; the message tells whose it is."""

    async def test_once_its_message_has_come_it_is_part_of_what_was_said_to_that_person(self, store: Store) -> None:
        await store.messages.edit(a_stub("m1", person="", edit=1, text="new"))
        await store.messages.take_back(a_stub("m2", person=""))
        await store.messages.add([a_message("m1", at=1), a_message("m2", at=2)])
        said = await store.messages.recent(ACCOUNT, PERSON, 9)
        assert [(one.mid, one.text, one.person) for one in said] == [("m1", "new", PERSON), ("m2", "", PERSON)]

    async def test_once_its_message_has_come_it_goes_when_the_person_is_erased(self, store: Store) -> None:
        await store.messages.edit(a_stub(person="", edit=1, text="new"))
        await store.messages.add([a_message()])
        assert await store.erasing.erase(ACCOUNT, PERSON) == 1
        assert await store.messages.get([a_message().key]) == []


class TestEdit:
    async def test_a_later_version_replaces_the_text_and_nothing_else(self, store: Store) -> None:
        one = a_message(attachments=PICTURE, note="a story", answered_by="r1")
        await store.messages.add([one])
        edited = replace(one, text="new", edit=2)
        assert await store.messages.edit(a_stub(edit=2, text="new", at=9)) == Stored(edited, new=True)
        assert await store.messages.edit(a_stub(edit=2, text="same")) == Stored(edited, new=False)
        assert await store.messages.edit(a_stub(edit=1, text="older")) == Stored(edited, new=False)
        assert await store.messages.get([one.key]) == [edited]

    async def test_one_that_comes_before_its_message_is_its_text(self, store: Store) -> None:
        stub = a_stub(edit=1, text="new")
        assert await store.messages.edit(stub) == Stored(stub, new=True)
        assert await store.messages.edit(stub) == Stored(stub, new=False)
        assert await store.messages.recent(ACCOUNT, PERSON, 9) == []
        one = a_message(attachments=PICTURE, at=5)
        whole = replace(one, text="new", edit=1)
        assert await store.messages.add([one]) == [Stored(whole, new=True)]
        assert await store.messages.recent(ACCOUNT, PERSON, 9) == [whole]

    async def test_two_edits_in_either_order_end_with_the_later_text(self, store: Store) -> None:
        for mid, order in (("m1", (1, 2)), ("m2", (2, 1))):
            for version in order:
                await store.messages.edit(a_stub(mid, edit=version, text=f"version {version}"))
            ((done),) = await store.messages.add([a_message(mid)])
            assert (done.message.text, done.message.edit) == ("version 2", 2)

    async def test_what_was_taken_back_stays_empty(self, store: Store) -> None:
        await store.messages.add([a_message()])
        gone = (await store.messages.take_back(a_stub())).message
        assert await store.messages.edit(a_stub(edit=1, text="new")) == Stored(gone, new=False)
        stub = (await store.messages.take_back(a_stub("m2"))).message
        assert await store.messages.edit(a_stub("m2", edit=1, text="new")) == Stored(stub, new=False)

    async def test_edits_and_the_message_at_once_end_with_the_latest_text(self, store: Store) -> None:
        for turn in range(10):
            mid = f"m{turn}"
            await asyncio.gather(
                store.messages.edit(a_stub(mid, edit=2, text="version 2")),
                store.messages.add([a_message(mid)]),
                store.messages.edit(a_stub(mid, edit=1, text="version 1")),
            )
            (now,) = await store.messages.get([a_message(mid).key])
            assert (now.text, now.edit, now.recorded_at) == ("version 2", 2, 2_000)


class TestMark:
    async def test_it_marks_what_is_still_as_the_mark_says(self, store: Store) -> None:
        one, two, three = a_message("m1"), a_message("m2", answered_by="r0"), a_message("m3", answered_by="r0")
        await store.messages.add([one, two, three])
        await store.messages.mark(
            [
                Mark(key=one.key, answered_by="r1"),
                Mark(key=two.key, answered_by="", was="r0"),
                Mark(key=three.key, answered_by="r1"),
                Mark(key="none", answered_by="r1"),
            ]
        )
        assert set(await store.messages.get([one.key, two.key, three.key])) == {
            replace(one, answered_by="r1"),
            replace(two, answered_by=""),
            three,
        }

    async def test_several_marks_of_one_message_count_one_after_the_other(self, store: Store) -> None:
        one = a_message(answered_by="r0")
        await store.messages.add([one])
        first, second = Mark(key=one.key, answered_by="", was="r0"), Mark(key=one.key, answered_by="r1")
        await store.messages.mark([first, second, Mark(key=one.key, answered_by="r2", was="r0")])
        assert await store.messages.get([one.key]) == [replace(one, answered_by="r1")]

    async def test_a_mark_outlives_an_edit_and_an_unsend(self, store: Store) -> None:
        await store.messages.add([a_message()])
        await store.messages.mark([Mark(key=a_message().key, answered_by="r1")])
        assert (await store.messages.edit(a_stub(edit=1, text="new"))).message.answered_by == "r1"
        assert (await store.messages.take_back(a_stub())).message.answered_by == "r1"
        ((again),) = await store.messages.add([a_message()])
        assert again.message.answered_by == "r1"


class TestRecent:
    async def test_the_newest_by_timestamp_come_oldest_first(self, store: Store) -> None:
        said = [
            a_message("m1", at=30),
            a_message("m2", at=10, kind=Kind.POSTBACK),
            a_message("m3", at=20, kind=Kind.ECHO, author=Author.BOT),
            a_message("m4", at=40, author=Author.HUMAN),
        ]
        unsaid = [a_message(f"x{kind}", at=50, kind=kind) for kind in (Kind.REACTION, Kind.READ, Kind.REFERRAL)]
        await store.messages.add([*said, *unsaid, a_message("m5", person="somebody else", at=60)])
        assert [one.mid for one in await store.messages.recent(ACCOUNT, PERSON, 9)] == ["m2", "m3", "m1", "m4"]
        assert [one.mid for one in await store.messages.recent(ACCOUNT, PERSON, 2)] == ["m1", "m4"]

    async def test_equal_timestamps_have_one_order_whatever_came_first(self, store: Store) -> None:
        await store.messages.add([a_message(mid) for mid in ("m2", "m3", "m1")])
        assert [one.mid for one in await store.messages.recent(ACCOUNT, PERSON, 2)] == ["m2", "m3"]
