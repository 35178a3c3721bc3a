"""Data deletion and retention in MongoDB, some hundred documents a command so that none runs into its time-out."""

from __future__ import annotations

import secrets

from services.responder.mongo_conversations import id_of
from services.responder.mongo_link import Collection, Document, MongoLink
from services.responder.mongo_messages import SCRUBBED
from services.responder.mongo_schema import ACCOUNTS, CONVERSATIONS, MESSAGES, META, SENDS, TOMBSTONES
from services.responder.tombstones import KEY_BYTES, hash_of

AT_ONCE = 500


class MongoErasing:
    """What deletes."""

    def __init__(self, link: MongoLink) -> None:
        """Keep the link, which the store opens."""
        self.link = link
        self.secret = b""

    async def open(self) -> None:
        """Read the store's secret, or make it."""
        async with self.link.use(META) as rows:
            fresh = {"$setOnInsert": {"value": secrets.token_bytes(KEY_BYTES)}}
            await rows.update_one({"_id": "tombstones"}, fresh, upsert=True)
            found = await rows.find_one({"_id": "tombstones"})
        self.secret = bytes(found["value"]) if found else b""

    async def erase(self, account: str, person: str) -> int:
        """Delete everything of a person or an account; return how many documents."""
        tombstone = hash_of(self.secret, account, person)
        async with self.link.use(TOMBSTONES) as rows:
            erased_at = {"$max": {"erased_at": self.link.clock.now()}}
            await rows.update_one({"_id": tombstone}, erased_at, upsert=True)
        theirs = {"account": account, **({"person": person} if person else {})}
        # The row goes first: from then on, whoever still works on the conversation cannot write it any more.
        wanted = {CONVERSATIONS: {"_id": id_of(account, person)} if person else theirs, SENDS: theirs, MESSAGES: theirs}
        if not person:
            wanted[ACCOUNTS] = {"_id": account}
        return sum([await self._delete(name, query) for name, query in wanted.items()])

    async def erased_at(self, account: str, person: str) -> int:
        """Return when this person, or the whole account, was erased last; 0: never."""
        hashes = [hash_of(self.secret, account, one) for one in {person, ""}]
        async with self.link.use(TOMBSTONES) as rows:
            found = await rows.find({"_id": {"$in": hashes}}).to_list(None)
        return max((int(one["erased_at"]) for one in found), default=0)

    async def purge(self, before: int) -> int:
        """Take text, attachments and notes out of messages and sends older than `before`; keys stay."""
        wordless = {"parts.$[].text": "", "worded": False}
        return await self._scrub(MESSAGES, {"worded": True, "at": {"$lt": before}}, SCRUBBED) + await self._scrub(
            SENDS, {"worded": True, "created_at": {"$lt": before}}, wordless
        )

    async def _delete(self, name: str, wanted: Document) -> int:
        """Delete in short commands until nothing is left; return how many documents that were."""
        total = 0
        async with self.link.use(name) as rows:
            while some := await ids(rows, wanted):
                total += (await rows.delete_many({"_id": {"$in": some}})).deleted_count
        return total

    async def _scrub(self, name: str, wanted: Document, fields: Document) -> int:
        """Change in short commands until nothing is left; return how many documents that were."""
        total = 0
        async with self.link.use(name) as rows:
            while some := await ids(rows, wanted):
                total += (await rows.update_many({"_id": {"$in": some}}, {"$set": fields})).modified_count
        return total


async def ids(rows: Collection, wanted: Document) -> list[str]:
    """Return the ids of some documents."""
    return [found["_id"] for found in await rows.find(wanted, projection=["_id"], limit=AT_ONCE).to_list(None)]
