"""Finished replies in MongoDB."""

from __future__ import annotations

from pymongo import ASCENDING, DESCENDING

from services.responder.codec import REPLY, SCHEMA
from services.responder.model import PartState, Reply
from services.responder.mongo_link import Document, MongoLink
from services.responder.mongo_schema import SENDS
from services.responder.ports import ReplyRule


class MongoSends:
    """What was sent, or given up, or is still looked for."""

    def __init__(self, link: MongoLink) -> None:
        """Keep the link, which the store opens."""
        self.link = link

    async def put(self, reply: Reply) -> None:
        """Store or replace by id; fields that only a newer igbot knows survive.

        An unsettled one replaces nothing: what is there already knows more.
        """
        change = {"$set": fields_of(reply), "$max": {"schema": SCHEMA}}
        if reply.unsettled:
            change = {"$setOnInsert": fields_of(reply) | {"schema": SCHEMA}}
        async with self.link.use(SENDS) as rows:
            await rows.update_one({"_id": reply.id}, change, upsert=True)

    async def change(self, reply_id: str, rule: ReplyRule) -> Reply | None:
        """Change what is stored by a rule, at once; return that. None: it is gone, or the rule changes nothing.

        The write asks for the parts as they were read: what changes a finished reply changes a part of it.
        """
        while True:
            async with self.link.use(SENDS) as rows:
                found = await rows.find_one({"_id": reply_id})
                changed = rule(REPLY.from_fields(found)) if found else None
                if found is None or changed is None:
                    return None
                as_read = {"_id": reply_id, "parts": found["parts"]}
                written = await rows.update_one(as_read, {"$set": fields_of(changed), "$max": {"schema": SCHEMA}})
            if written.matched_count:
                return changed

    async def get(self, reply_id: str) -> Reply | None:
        """Return one."""
        async with self.link.use(SENDS) as rows:
            found = await rows.find_one({"_id": reply_id})
        return REPLY.from_fields(found) if found else None

    async def owns(self, account: str, mid: str) -> bool:
        """Whether a part of one of the account's replies has this mid."""
        async with self.link.use(SENDS) as rows:
            return await rows.find_one({"account": account, "mids": mid}, projection=["_id"]) is not None

    async def held(self, account: str = "") -> list[Reply]:
        """Return the replies with a held part, oldest first."""
        wanted: Document = {"held": True, **({"account": account} if account else {})}
        async with self.link.use(SENDS) as rows:
            cursor = rows.find(wanted, sort=[("created_at", ASCENDING), ("_id", ASCENDING)])
            return [REPLY.from_fields(found) for found in await cursor.to_list(None)]

    async def of(self, account: str, person: str, limit: int) -> list[Reply]:
        """Return a conversation's newest, oldest first."""
        async with self.link.use(SENDS) as rows:
            cursor = rows.find(
                {"account": account, "person": person},
                sort=[("created_at", DESCENDING), ("_id", DESCENDING)],
                limit=limit,
            )
            return [REPLY.from_fields(found) for found in reversed(await cursor.to_list(None))]


def fields_of(reply: Reply) -> Document:
    """Return the reply as a document, with what queries ask for beside."""
    return REPLY.to_document(reply) | {
        "mids": [part.mid for part in reply.parts if part.mid],
        "held": any(part.state is PartState.HELD for part in reply.parts),
        "worded": any(part.text for part in reply.parts),
    }
