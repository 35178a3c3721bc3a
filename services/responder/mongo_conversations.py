"""The conversations' rows in MongoDB, one document each, changed only by single conditional updates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace
from pymongo import DESCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from services.responder.codec import CONVERSATION, SCHEMA
from services.responder.model import Conversation, Figures
from services.responder.mongo_link import Document, MongoLink
from services.responder.mongo_schema import CONVERSATIONS, SENDS

OWN = ("rev", "owner", "fence", "lease_until")
"""What the store alone decides."""

IDENTITY = ("account", "person")
SERVER_NOW = {"$toLong": "$$NOW"}
FREE = {"$expr": {"$lte": ["$lease_until", SERVER_NOW]}}


class MongoConversations:
    """The rows, each written only by the one who has read it as it is."""

    def __init__(self, link: MongoLink) -> None:
        """Keep the link, which the store opens."""
        self.link = link

    async def load(self, account: str, person: str) -> Conversation | None:
        """Return the row as committed now."""
        async with self.link.use(CONVERSATIONS) as rows:
            found = await rows.find_one({"_id": id_of(account, person)})
        return CONVERSATION.from_fields(found) if found else None

    async def save(self, row: Conversation, *, release: bool = False) -> Conversation | None:
        """Write the row if it still has `row.rev`; None when another was faster."""
        if row.rev == 0:
            return await self._insert(row)
        async with self.link.use(CONVERSATIONS) as rows:
            kept = await rows.find_one_and_update(
                {"_id": id_of(row.account, row.person), "rev": row.rev},
                change(row, release=release),
                projection=OWN,
                return_document=ReturnDocument.AFTER,
            )
        return replace(row, **{name: kept[name] for name in OWN}) if kept else None

    async def _insert(self, row: Conversation) -> Conversation | None:
        async with self.link.use(CONVERSATIONS) as rows:
            # A row that was erased and came again must not have a rev that somebody still remembers.
            born = replace(row, rev=self.link.clock.now(), owner="", fence=0, lease_until=0)
            try:
                await rows.insert_one({"_id": id_of(row.account, row.person), "schema": SCHEMA, **fields_of(born)})
            except DuplicateKeyError:
                return None
        return born

    async def claim(self, account: str, owner: str, lease_ms: int, *, person: str = "") -> Conversation | None:
        """Take the account's longest-due conversation that nobody holds, or the person's if one is named."""
        whose = {"_id": id_of(account, person)} if person else {"account": account}
        async with self.link.use(CONVERSATIONS) as rows:
            taken = await rows.find_one_and_update(
                {**whose, "due_at": {"$lte": self.link.clock.now()}, **FREE},
                [{"$set": {"owner": {"$literal": owner}, **grown("fence"), **grown("rev"), **leased(lease_ms)}}],
                sort=[("due_at", 1)],
                return_document=ReturnDocument.AFTER,
            )
        return CONVERSATION.from_fields(taken) if taken else None

    async def renew(self, row: Conversation, lease_ms: int) -> bool:
        """Prolong the lease if the row still has this fence."""
        mine = {"_id": id_of(row.account, row.person), "fence": row.fence, "owner": row.owner}
        async with self.link.use(CONVERSATIONS) as rows:
            done = await rows.update_one(mine, [{"$set": leased(lease_ms)}])
        return done.matched_count == 1

    async def due_accounts(self) -> list[str]:
        """Return the accounts that have a conversation to claim now."""
        async with self.link.use(CONVERSATIONS) as rows:
            found: list[str] = await rows.distinct("account", due(self.link.clock.now()))
        return found

    async def find(self, *, account: str = "", limit: int, offset: int = 0) -> list[Conversation]:
        """Return rows, the last active first."""
        wanted = {"account": account} if account else {}
        async with self.link.use(CONVERSATIONS) as rows:
            cursor = rows.find(wanted, sort=[("last_at", DESCENDING)], skip=offset, limit=limit)
            return [CONVERSATION.from_fields(found) for found in await cursor.to_list(None)]

    async def figures(self, held_accounts: Sequence[str]) -> Figures:
        """Count what is due now and nobody's, outside the held accounts, what failed, and the held replies."""
        async with self.link.use(CONVERSATIONS) as rows:
            wanted = due(self.link.clock.now(), without=held_accounts)
            counted = {"_id": None, "due": {"$sum": 1}, "oldest": {"$min": "$due_at"}}
            found = await rows.aggregate([{"$match": wanted}, {"$group": counted}]).to_list(1)
            failed = await rows.count_documents({"failed": True})
        async with self.link.use(SENDS) as sends:
            held = await sends.count_documents({"held": True})
        due_now, oldest = (found[0]["due"], found[0]["oldest"]) if found else (0, None)
        return Figures(due=due_now, due_oldest_at=oldest, held=held, failed=failed)


def id_of(account: str, person: str) -> str:
    """Return a conversation's primary key."""
    return f"{account}|{person}"


def fields_of(row: Conversation) -> Document:
    """Return the row as a document; without `due_at` where nothing is due, so the index of due rows stays small."""
    fields = CONVERSATION.to_document(row)
    if fields["due_at"] is None:
        del fields["due_at"]
    return fields


def change(row: Conversation, *, release: bool) -> Document:
    """Return the update that writes what a row says: only fields known here, so that a newer igbot's fields survive."""
    fields = {name: value for name, value in fields_of(row).items() if name not in (*OWN, *IDENTITY)}
    if release:
        fields |= {"owner": "", "lease_until": 0}
    update: Document = {"$set": fields, "$inc": {"rev": 1}, "$max": {"schema": SCHEMA}}
    return update if row.due_at is not None else update | {"$unset": {"due_at": ""}}


def due(now: int, *, without: Sequence[str] = ()) -> Document:
    """Return the filter of what can be claimed now; naming every account lets the index of due rows serve it."""
    account: dict[str, Any] = {"$gt": ""}
    if without:
        account["$nin"] = list(without)
    return {"account": account, "due_at": {"$lte": now}, "lease_until": {"$lte": now}}


def grown(name: str) -> Document:
    """Return the step of a pipeline that adds one to a field."""
    return {name: {"$add": [f"${name}", 1]}}


def leased(lease_ms: int) -> Document:
    """Return the step of a pipeline that lets the lease end so much later than the server's own now."""
    return {"lease_until": {"$add": [SERVER_NOW, lease_ms]}}
