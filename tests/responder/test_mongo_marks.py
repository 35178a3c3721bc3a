"""Marks on a MongoDB that uses the freedom which it has where a bulk write is not ordered."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from msgspec.structs import replace

from services.responder.model import Mark
from services.responder.mongo_messages import MongoMessages
from services.responder.mongo_store import MongoStore
from tests.responder.stores import a_message


class LastFirst:
    """A collection that does last first what it may do in any order."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    async def bulk_write(self, requests: Sequence[Any], *, ordered: bool = True) -> Any:
        return await self.rows.bulk_write(requests if ordered else requests[::-1], ordered=ordered)


class LastFirstLink:
    """The link to such a MongoDB."""

    def __init__(self, link: Any) -> None:
        self.link = link

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[Any]:
        async with self.link.use(name) as rows:
            yield LastFirst(rows)


async def test_several_marks_of_one_message_count_one_after_the_other_in_whatever_order_it_may_work(
    mongo_url: str,
) -> None:
    store = MongoStore(mongo_url)
    await store.open()
    try:
        one = a_message(answered_by="r0")
        await store.messages.add([one])
        messages = MongoMessages(LastFirstLink(store.link))  # type: ignore[arg-type]  # as much of a link as it needs
        await messages.mark([Mark(key=one.key, answered_by="", was="r0"), Mark(key=one.key, answered_by="r1")])
        assert await store.messages.get([one.key]) == [replace(one, answered_by="r1")]
    finally:
        await store.close()
