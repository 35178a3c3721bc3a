"""What services/responder/ports.py says of conversations, as facts of every adapter."""

import asyncio
from collections.abc import Sequence

from msgspec.structs import replace

from services.responder.message import Message, Stored
from services.responder.model import FOREVER, Conversation, Echo, Figures, Mark, PartState, Pause, Pending, Wait
from services.responder.ports import Store
from tests.mongo import is_slow
from tests.responder.conftest import OpenStore
from tests.responder.stores import ACCOUNT, LEASE, OTHER, PERSON, a_message, a_part, a_reply, a_row, a_stub


def a_full_row() -> Conversation:
    waiting = Pending(key="k", mid="m", at=1, recorded_at=2, edit=3, stop=True, asked_for=True)
    return a_row(
        version=9,
        due_at=5,
        waiting_for=Wait.BACK_OFF,
        unanswered=(waiting,),
        reply=a_reply(parts=(a_part(0, state=PartState.UNKNOWN, attempt=2, error="reset"), a_part(1, text="ü\n😀"))),
        unsettled=(a_reply("r0", unsettled=True),),
        undecided=(Echo(key="e", mid="em", at=4, sha256="f" * 64),),
        marks=(Mark(key="k0", answered_by="human", was="r0"),),
        pauses=(Pause(since=1, until=FOREVER), Pause(since=2, until=3, mid="em")),
        resumed_at=11,
        opted_out=True,
        window_closes_at=12,
        superseded=1,
        tries=2,
        failed=True,
        last_error="timeout",
        replied_at=(1, 2),
        held=("r9",),
        greeted=True,
        username="anna",
        profile_at=13,
        last_at=14,
    )


async def saved(store: Store, row: Conversation) -> Conversation:
    done = await store.conversations.save(row)
    assert done is not None
    return done


async def claimed(store: Store, owner: str = "w1", lease: int = LEASE) -> Conversation:
    row = await store.conversations.claim(ACCOUNT, owner, lease)
    assert row is not None
    return row


class TestSave:
    async def test_a_row_that_was_never_saved_is_none(self, store: Store) -> None:
        assert await store.conversations.load(ACCOUNT, PERSON) is None

    async def test_every_field_comes_back(self, store: Store) -> None:
        first = await saved(store, a_full_row())
        assert first == replace(a_full_row(), rev=first.rev)
        assert first.rev > 0
        assert await store.conversations.load(ACCOUNT, PERSON) == first
        emptied = await saved(store, a_row(rev=first.rev))
        assert await store.conversations.load(ACCOUNT, PERSON) == emptied == a_row(rev=emptied.rev)

    async def test_a_save_returns_the_new_rev(self, store: Store) -> None:
        first = await saved(store, a_row())
        second = await saved(store, replace(first, version=1))
        assert second.rev > first.rev
        assert await store.conversations.load(ACCOUNT, PERSON) == second

    async def test_what_a_save_returned_can_be_saved_again(self, store: Store) -> None:
        row = await saved(store, a_row())
        for version in range(1, 4):
            row = await saved(store, replace(row, version=version))
        assert await store.conversations.load(ACCOUNT, PERSON) == row

    async def test_a_save_over_another_one_is_refused_and_changes_nothing(self, store: Store) -> None:
        first = await saved(store, a_row())
        second = await saved(store, replace(first, version=1, due_at=7))
        assert await store.conversations.save(replace(first, version=2, due_at=None)) is None
        assert await store.conversations.load(ACCOUNT, PERSON) == second

    async def test_an_insert_over_a_row_is_refused(self, store: Store) -> None:
        first = await saved(store, a_row(version=1))
        assert await store.conversations.save(a_row(version=2)) is None
        assert await store.conversations.load(ACCOUNT, PERSON) == first

    async def test_a_save_of_a_row_that_is_gone_is_refused(self, store: Store) -> None:
        first = await saved(store, a_row())
        await store.erasing.erase(ACCOUNT, PERSON)
        assert await store.conversations.save(replace(first, version=2)) is None
        again = await saved(store, a_row())
        assert again.rev != first.rev, "a rev from before the erasure must never fit again"

    async def test_two_accounts_never_see_each_other(self, store: Store) -> None:
        ours, theirs = await saved(store, a_row(version=1)), await saved(store, a_row(account=OTHER, version=2))
        assert await store.conversations.load(ACCOUNT, PERSON) == ours
        assert await store.conversations.load(OTHER, PERSON) == theirs

    async def test_owner_fence_and_lease_are_the_stores(self, store: Store) -> None:
        born = await saved(store, a_row(due_at=1, owner="liar", fence=99, lease_until=FOREVER))
        assert (born.owner, born.fence, born.lease_until) == ("", 0, 0)
        mine = await claimed(store)
        kept = await saved(store, replace(mine, owner="liar", fence=99, lease_until=0))
        assert (kept.owner, kept.fence, kept.lease_until) == (mine.owner, mine.fence, mine.lease_until)
        assert await store.conversations.load(ACCOUNT, PERSON) == kept

    async def test_release_ends_the_lease(self, store: Store) -> None:
        await saved(store, a_row(due_at=1))
        mine = await claimed(store)
        free = await store.conversations.save(mine, release=True)
        assert free is not None
        assert (free.owner, free.fence, free.lease_until) == ("", mine.fence, 0)
        assert await store.conversations.load(ACCOUNT, PERSON) == free
        assert (await claimed(store, "w2")).fence == mine.fence + 1

    async def test_one_of_many_saves_at_once_wins(self, open_store: OpenStore) -> None:
        stores = [await open_store(), await open_store()]
        born = await asyncio.gather(*(stores[n % 2].conversations.save(a_row(version=n)) for n in range(10)))
        (first,) = [row for row in born if row]
        done = await asyncio.gather(
            *(stores[n % 2].conversations.save(replace(first, version=n)) for n in range(10, 20))
        )
        (second,) = [row for row in done if row]
        assert await stores[0].conversations.load(ACCOUNT, PERSON) == second


class TestRecord:
    async def test_the_row_is_made_of_the_messages_as_they_are_stored(self, store: Store) -> None:
        (known,) = await store.messages.add([a_message("m1", answered_by="human")])
        given = [a_message("m1"), a_message("m2")]
        seen: list[Message] = []

        def rule(messages: Sequence[Message]) -> Conversation:
            seen.extend(messages)
            return a_row(version=len(messages))

        stored, wanted, written = await store.record(given, a_row(), rule)
        assert stored == [Stored(known.message, new=False), Stored(given[1], new=True)]
        assert seen[-2:] == [known.message, given[1]]
        assert wanted == a_row(version=2)
        assert written is not None
        assert await store.conversations.load(ACCOUNT, PERSON) == written == replace(wanted, rev=written.rev)

    async def test_a_row_that_is_as_it_was_is_not_written(self, store: Store) -> None:
        row = await saved(store, a_row())
        for new in (True, False):
            stored, wanted, written = await store.record([a_message()], row, lambda _: row)
            assert (stored, wanted, written) == ([Stored(a_message(), new=new)], row, None)
        assert await store.conversations.load(ACCOUNT, PERSON) == row
        assert await store.messages.get([a_message().key]) == [a_message()]

    async def test_a_message_that_is_known_may_change_the_row(self, store: Store) -> None:
        await store.messages.add([a_message()])
        _, _, written = await store.record([a_message()], a_row(), lambda _: a_row(version=1))
        assert written is not None
        assert await store.conversations.load(ACCOUNT, PERSON) == written

    async def test_a_row_that_has_moved_on_is_not_written_and_the_messages_are(self, store: Store) -> None:
        first = await saved(store, a_row())
        second = await saved(store, replace(first, version=1))
        _, wanted, written = await store.record([a_message()], first, lambda _: replace(first, version=7))
        assert (wanted.version, written) == (7, None)
        assert await store.conversations.load(ACCOUNT, PERSON) == second
        assert await store.messages.get([a_message().key]) == [a_message()]

    async def test_a_stub_is_completed_before_the_row_is_made(self, store: Store) -> None:
        await store.messages.take_back(a_stub())
        row = a_row(version=1)
        _, _, written = await store.record(
            [a_message()], a_row(), lambda found: replace(row, failed=found[0].taken_back)
        )
        assert written is not None
        assert written.failed

    async def test_the_last_active_conversation_is_found_by_what_was_recorded(self, store: Store) -> None:
        await saved(store, a_row("p1", last_at=5))
        await store.record([a_message(person="p2")], a_row("p2"), lambda _: a_row("p2", last_at=9, due_at=1))
        assert [row.person for row in await store.conversations.find(limit=9)] == ["p2", "p1"]
        assert (await claimed(store)).person == "p2"


class TestClaim:
    async def test_a_claim_takes_the_longest_due_and_returns_it_as_stored(self, store: Store) -> None:
        for person, due in (("p1", 30), ("p2", 10), ("p3", 20)):
            await saved(store, a_row(person, due_at=due, version=due))
        before = await store.conversations.load(ACCOUNT, "p2")
        now = store.clock.now()
        mine = await claimed(store)
        assert before is not None
        assert mine == replace(
            before, owner="w1", fence=before.fence + 1, rev=before.rev + 1, lease_until=mine.lease_until
        )
        assert now + LEASE - 1_000 <= mine.lease_until <= now + LEASE + 10_000
        assert await store.conversations.load(ACCOUNT, "p2") == mine
        assert [(await claimed(store)).person for _ in range(2)] == ["p3", "p1"]

    async def test_a_claim_of_one_persons_conversation_takes_that_one_or_none(self, store: Store) -> None:
        await saved(store, a_row("p1", due_at=10))
        await saved(store, a_row("p2", due_at=20))
        await saved(store, a_row("p3", due_at=store.clock.now() + 60_000))
        taken = await store.conversations.claim(ACCOUNT, "w", LEASE, person="p2")
        assert taken is not None
        assert (taken.person, taken.owner) == ("p2", "w")
        for person in ("p2", "p3", "nobody"):
            assert await store.conversations.claim(ACCOUNT, "w", LEASE, person=person) is None

    async def test_what_is_not_due_not_free_or_another_accounts_is_not_claimed(self, store: Store) -> None:
        await saved(store, a_row("idle"))
        await saved(store, a_row("later", due_at=store.clock.now() + 60_000))
        await saved(store, a_row("theirs", account=OTHER, due_at=1))
        assert await store.conversations.claim(ACCOUNT, "w1", LEASE) is None
        await saved(store, a_row("busy", due_at=1))
        await claimed(store)
        assert await store.conversations.claim(ACCOUNT, "w2", LEASE) is None

    async def test_a_lease_that_ran_out_is_taken_over_and_the_slow_owner_cannot_write(self, store: Store) -> None:
        await saved(store, a_row(due_at=1))
        slow = await claimed(store, "slow", lease=0)
        quick = await claimed(store, "quick")
        assert quick.fence == slow.fence + 1
        assert await store.conversations.save(replace(slow, version=5), release=True) is None
        assert not await store.conversations.renew(slow, LEASE)
        assert await store.conversations.load(ACCOUNT, PERSON) == quick

    async def test_a_save_by_somebody_else_stops_the_owner_but_keeps_the_lease(self, store: Store) -> None:
        await saved(store, a_row(due_at=1))
        mine = await claimed(store)
        event = await saved(store, replace(mine, version=mine.version + 1))
        assert await store.conversations.save(mine) is None
        assert event.fence == mine.fence
        assert await store.conversations.renew(mine, LEASE)
        assert await store.conversations.claim(ACCOUNT, "w2", LEASE) is None

    async def test_renew_prolongs_the_lease_and_leaves_the_rev(self, store: Store) -> None:
        await saved(store, a_row(due_at=1))
        mine = await claimed(store, lease=0)
        assert await store.conversations.renew(mine, LEASE)
        longer = await store.conversations.load(ACCOUNT, PERSON)
        assert longer is not None
        assert longer == replace(mine, lease_until=longer.lease_until)
        assert longer.lease_until > mine.lease_until
        assert await store.conversations.claim(ACCOUNT, "w2", LEASE) is None
        done = await saved(store, mine)
        assert done.lease_until == longer.lease_until

    async def test_eight_claimers_share_200_conversations_without_an_overlap(
        self, open_store: OpenStore, store_url: str
    ) -> None:
        count = 30 if store_url.startswith("mongodb") and is_slow() else 200
        stores = [await open_store(), await open_store()]
        await asyncio.gather(*(saved(stores[0], a_row(f"p{n}", due_at=n + 1)) for n in range(count)))

        async def work(n: int) -> list[str]:
            taken = []
            while row := await stores[n % 2].conversations.claim(ACCOUNT, f"w{n}", LEASE):
                assert (row.owner, row.fence) == (f"w{n}", 1)
                taken.append(row.person)
            return taken

        shares = await asyncio.gather(*(work(n) for n in range(8)))
        people = [person for share in shares for person in share]
        assert sorted(people) == sorted(f"p{n}" for n in range(count))

    async def test_of_a_claim_and_a_save_at_once_one_is_told(self, store: Store) -> None:
        for turn in range(20):
            row = await saved(store, a_row(f"p{turn}", due_at=1))
            done, taken = await asyncio.gather(
                store.conversations.save(replace(row, version=1)), store.conversations.claim(ACCOUNT, "w", LEASE)
            )
            now = await store.conversations.load(ACCOUNT, row.person)
            assert taken is not None
            assert now is not None
            assert now.fence == 1, "the claim is there"
            assert (now.version == 1) == (done is not None), "a save that was refused has changed nothing"


class TestLists:
    async def test_due_accounts_have_something_to_claim_now(self, store: Store) -> None:
        await saved(store, a_row("p1", account="idle"))
        await saved(store, a_row("p1", account="later", due_at=store.clock.now() + 60_000))
        await saved(store, a_row("p1", account=ACCOUNT, due_at=1))
        for account in ("two", "one"):
            for person in ("p1", "p2"):
                await saved(store, a_row(person, account=account, due_at=1))
        assert sorted(await store.conversations.due_accounts()) == [ACCOUNT, "one", "two"]
        await claimed(store)
        assert sorted(await store.conversations.due_accounts()) == ["one", "two"]

    async def test_find_lists_the_last_active_first(self, store: Store) -> None:
        rows = [await saved(store, a_row(f"p{n}", last_at=n)) for n in (2, 1, 3)]
        theirs = await saved(store, a_row(account=OTHER, last_at=9))
        ordered = [rows[2], rows[0], rows[1]]
        assert await store.conversations.find(account=ACCOUNT, limit=9) == ordered
        assert await store.conversations.find(account=ACCOUNT, limit=1, offset=1) == ordered[1:2]
        assert await store.conversations.find(limit=2) == [theirs, rows[2]]

    async def test_figures_count_what_is_due_outside_the_held_accounts(self, store: Store) -> None:
        assert await store.conversations.figures([]) == Figures(due=0, due_oldest_at=None, held=0)
        await saved(store, a_row("p1", due_at=30))
        await saved(store, a_row("p2", due_at=20))
        await saved(store, a_row("p3", due_at=store.clock.now() + 60_000))
        await saved(store, a_row("p4"))
        await saved(store, replace(await saved(store, a_row("p5")), failed=True))
        await saved(store, a_row("p6", failed=True))
        await saved(store, a_row("p1", account=OTHER, due_at=10))
        await store.sends.put(a_reply(parts=(a_part(state=PartState.HELD), a_part(1, state=PartState.HELD))))
        assert await store.conversations.figures([]) == Figures(due=3, due_oldest_at=10, held=1, failed=2)
        assert await store.conversations.figures([OTHER, "x"]) == Figures(due=2, due_oldest_at=20, held=1, failed=2)
        await claimed(store)
        assert await store.conversations.figures([OTHER]) == Figures(due=1, due_oldest_at=30, held=1, failed=2)
