"""What services/responder/ports.py says of sends, accounts and erasing, as facts of every adapter."""

import asyncio

from msgspec.structs import replace

from services.responder.account import HoldReason
from services.responder.message import Attached, Kind
from services.responder.model import PartState, Pause
from services.responder.ports import ReplyRule, Store
from tests.responder.conftest import OpenStore
from tests.responder.stores import ACCOUNT, OTHER, PERSON, a_message, a_part, a_reply, a_row, a_stub, an_account


class TestSends:
    async def test_a_reply_comes_back_and_is_replaced_by_id(self, store: Store) -> None:
        assert await store.sends.get("r1") is None
        first = a_reply(outcome="refused", unsettled=True, human_agent=True)
        await store.sends.put(first)
        assert await store.sends.get("r1") == first
        second = replace(first, unsettled=False, parts=(a_part(state=PartState.SENT, mid="later"),))
        await store.sends.put(second)
        assert await store.sends.get("r1") == second
        assert not await store.sends.owns(ACCOUNT, "mid of r1")
        assert await store.sends.owns(ACCOUNT, "later")

    async def test_an_unsettled_reply_takes_the_place_of_none(self, store: Store) -> None:
        """A worker that stood still while another settled the reply comes too late."""
        settled = a_reply(parts=(a_part(state=PartState.SENT, mid="ours"),))
        await store.sends.put(settled)
        await store.sends.put(replace(settled, unsettled=True, parts=(a_part(state=PartState.UNKNOWN),)))
        assert await store.sends.get(settled.id) == settled
        assert await store.sends.owns(ACCOUNT, "ours")

    async def test_a_rule_changes_what_is_stored_at_once(self, store: Store) -> None:
        held = a_reply(parts=(a_part(0, state=PartState.HELD), a_part(1, state=PartState.HELD)))
        await store.sends.put(held)

        def sent(n: int) -> ReplyRule:
            part = a_part(n, state=PartState.SENT, mid=f"mid{n}")
            return lambda found: replace(found, parts=tuple(part if one.n == n else one for one in found.parts))

        changed = await asyncio.gather(*(store.sends.change(held.id, sent(n)) for n in (0, 1)))
        assert None not in changed
        found = await store.sends.get(held.id)
        assert found is not None
        assert [(one.state, one.mid) for one in found.parts] == [(PartState.SENT, "mid0"), (PartState.SENT, "mid1")]
        assert [await store.sends.owns(ACCOUNT, mid) for mid in ("mid0", "mid1")] == [True, True]
        assert await store.sends.held() == []

    async def test_a_rule_changes_nothing_that_it_leaves_or_that_is_gone(self, store: Store) -> None:
        await store.sends.put(a_reply())
        assert await store.sends.change("r1", lambda _: None) is None
        assert await store.sends.get("r1") == a_reply()
        assert await store.sends.change("gone", lambda found: found) is None
        assert await store.sends.get("gone") is None

    async def test_an_account_owns_the_mids_of_its_parts(self, store: Store) -> None:
        parts = (a_part(0, mid="a"), a_part(1, mid="b"), a_part(2))
        await store.sends.put(a_reply("r1", parts=parts))
        await store.sends.put(a_reply("r2", parts=(a_part(),)))
        assert [await store.sends.owns(ACCOUNT, mid) for mid in ("a", "b", "c", "")] == [True, True, False, False]
        assert not await store.sends.owns(OTHER, "a")

    async def test_held_lists_replies_with_a_held_part_oldest_first(self, store: Store) -> None:
        held = (a_part(0, state=PartState.SENT, mid="x"), a_part(1, state=PartState.HELD))
        replies = {
            "r1": a_reply("r1", created_at=20, parts=held),
            "r2": a_reply("r2", created_at=10, parts=held),
            "r3": a_reply("r3", created_at=5),
            "r4": a_reply("r4", created_at=1, account=OTHER, parts=held),
        }
        for reply in replies.values():
            await store.sends.put(reply)
        assert await store.sends.held(ACCOUNT) == [replies["r2"], replies["r1"]]
        assert await store.sends.held() == [replies["r4"], replies["r2"], replies["r1"]]
        await store.sends.put(replace(replies["r2"], parts=(a_part(state=PartState.DROPPED),)))
        assert await store.sends.held(ACCOUNT) == [replies["r1"]]

    async def test_of_lists_a_conversations_newest_oldest_first(self, store: Store) -> None:
        replies = [a_reply(f"r{n}", created_at=at) for n, at in enumerate((30, 10, 20))]
        for reply in (*replies, a_reply("x", person="else", created_at=40), a_reply("y", account=OTHER)):
            await store.sends.put(reply)
        assert await store.sends.of(ACCOUNT, PERSON, 2) == [replies[2], replies[0]]


class TestAccounts:
    async def test_either_id_finds_the_account(self, store: Store) -> None:
        assert await store.accounts.get(ACCOUNT) is None
        mine = await store.accounts.save(
            an_account(hold=HoldReason.RATE_LIMITED, hold_until=5, pauses=(Pause(since=1, until=2),))
        )
        plain = await store.accounts.save(an_account(OTHER, app_scoped_id=""))
        assert mine is not None
        assert mine.rev > 0
        assert await store.accounts.get(ACCOUNT) == await store.accounts.get(f"app-{ACCOUNT}") == mine
        assert await store.accounts.get("") is None
        assert await store.accounts.all() == [mine, plain]

    async def test_a_save_over_another_one_is_refused(self, store: Store) -> None:
        first = await store.accounts.save(an_account())
        assert first is not None
        assert await store.accounts.save(an_account(state="limited")) is None
        second = await store.accounts.save(replace(first, state="limited", app_scoped_id="new"))
        assert second is not None
        assert second.rev > first.rev
        assert await store.accounts.save(replace(first, state="active")) is None
        assert await store.accounts.get("new") == second
        assert await store.accounts.get(f"app-{ACCOUNT}") is None

    async def test_one_of_many_saves_at_once_wins(self, open_store: OpenStore) -> None:
        stores = [await open_store(), await open_store()]
        born = await asyncio.gather(*(stores[n % 2].accounts.save(an_account(username=str(n))) for n in range(8)))
        (first,) = [account for account in born if account]
        done = await asyncio.gather(*(stores[n % 2].accounts.save(replace(first, seen_at=n)) for n in range(8)))
        (second,) = [account for account in done if account]
        assert await stores[0].accounts.all() == [second]


async def fill(store: Store, account: str, person: str) -> None:
    await store.conversations.save(a_row(person, account=account))
    await store.messages.add([a_message(f"{person} {n}", account=account, person=person) for n in range(2)])
    await store.messages.add([a_message(f"{person} read", account=account, person=person, kind=Kind.READ)])
    await store.messages.take_back(a_stub(f"{person} stub", account=account, person=person))
    await store.sends.put(a_reply(f"reply to {person} of {account}", account=account, person=person))


async def known(store: Store, account: str, person: str) -> int:
    keys = [a_message(f"{person} {mark}", account=account).key for mark in (0, 1, "stub")]
    row = await store.conversations.load(account, person)
    reply = await store.sends.get(f"reply to {person} of {account}")
    owned = await store.sends.owns(account, f"mid of reply to {person} of {account}")
    return len(await store.messages.get(keys)) + bool(row) + bool(reply) + owned


class TestErase:
    async def test_everything_of_a_person_goes_and_nothing_else(self, store: Store) -> None:
        for account, person in ((ACCOUNT, "p1"), (ACCOUNT, "p2"), (OTHER, "p1")):
            await fill(store, account, person)
        assert await store.erasing.erase(ACCOUNT, "p1") == 6
        assert await known(store, ACCOUNT, "p1") == 0
        assert await known(store, ACCOUNT, "p2") == await known(store, OTHER, "p1") == 6
        assert await store.erasing.erase(ACCOUNT, "p1") == 0

    async def test_everything_of_an_account_goes_and_nothing_else(self, store: Store) -> None:
        for account, person in ((ACCOUNT, "p1"), (ACCOUNT, "p2"), (OTHER, "p1")):
            await fill(store, account, person)
        await store.accounts.save(an_account())
        await store.accounts.save(an_account(OTHER))
        assert await store.erasing.erase(ACCOUNT, "") == 13
        assert await known(store, ACCOUNT, "p1") == await known(store, ACCOUNT, "p2") == 0
        assert await known(store, OTHER, "p1") == 6
        assert [account.account for account in await store.accounts.all()] == [OTHER]

    async def test_more_than_one_transactions_worth_goes(self, store: Store) -> None:
        await store.messages.add([a_message(f"m{n}") for n in range(700)])
        assert await store.erasing.erase(ACCOUNT, PERSON) == 700

    async def test_a_tombstone_tells_when(self, store: Store) -> None:
        before = store.clock.now()
        assert await store.erasing.erased_at(ACCOUNT, PERSON) == 0
        await store.erasing.erase(ACCOUNT, PERSON)
        when = await store.erasing.erased_at(ACCOUNT, PERSON)
        assert before <= when <= store.clock.now()
        assert await store.erasing.erased_at(ACCOUNT, "else") == await store.erasing.erased_at(OTHER, PERSON) == 0

    async def test_an_accounts_tombstone_stands_for_each_of_its_people(self, open_store: OpenStore) -> None:
        first, second = await open_store(), await open_store()
        await first.erasing.erase(ACCOUNT, "")
        assert await second.erasing.erased_at(ACCOUNT, PERSON) > 0
        assert await second.erasing.erased_at(OTHER, PERSON) == 0


class TestPurge:
    async def test_old_words_go_and_ids_stay(self, store: Store) -> None:
        picture = (Attached(type="image", title="a cat"),)
        old = [
            a_message("m1", at=10, answered_by="r1", edit=2),
            a_message("m2", at=10, text="", attachments=picture),
            a_message("m3", at=10, text="", note="a story"),
        ]
        new, bare = a_message("m4", at=20), a_message("m5", at=10, text="")
        await store.messages.add([*old, new, bare])
        replies = [a_reply("r1", created_at=10, outcome="sent"), a_reply("r2", created_at=20)]
        for reply in replies:
            await store.sends.put(reply)
        assert await store.erasing.purge(20) == 4
        left = await store.messages.get([one.key for one in (*old, new, bare)])
        assert set(left) == {*(replace(one, text="", attachments=(), note="") for one in old), new, bare}
        wordless = replace(replies[0], parts=tuple(replace(part, text="") for part in replies[0].parts))
        assert await store.sends.get("r1") == wordless
        assert await store.sends.get("r2") == replies[1]
        assert await store.sends.owns(ACCOUNT, "mid of r1")
        assert await store.erasing.purge(20) == 0

    async def test_more_than_one_transactions_worth_goes(self, store: Store) -> None:
        await store.messages.add([a_message(f"m{n}", at=1) for n in range(700)])
        assert await store.erasing.purge(2) == 700


async def test_a_store_that_was_closed_opens_again_with_what_it_had(store: Store, open_store: OpenStore) -> None:
    await store.messages.add([a_message()])
    await store.close()
    again = await open_store()
    await again.ping()
    assert await again.messages.get([a_message().key]) == [a_message()]
