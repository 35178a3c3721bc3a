"""The events in MongoDB, each stored once under its key."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace
from pymongo import DESCENDING, ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError

from services.common.errors import Unavailable
from services.responder.codec import MESSAGE, SCHEMA
from services.responder.message import Message, Stored
from services.responder.model import Mark
from services.responder.mongo_link import Collection, Document, MongoLink
from services.responder.mongo_schema import MESSAGES
from services.responder.stubs import completed, is_shown, is_stub, scrubbed

DUPLICATE = 11000
TURNS = 20
"""How often a stub is read again because it was changed before it could be completed."""

SCRUBBED = {"text": "", "attachments": [], "note": "", "worded": False}


class MongoMessages:
    """What was said and done, each event once."""

    def __init__(self, link: MongoLink) -> None:
        """Keep the link, which the store opens."""
        self.link = link

    async def add(self, messages: Sequence[Message]) -> list[Stored]:
        """Insert each unless its key is there, complete stubs, and return each as the store has it now."""
        if not messages:
            return []
        async with self.link.use(MESSAGES) as rows:
            known = await insert(rows, messages)
            return [
                await complete(rows, message) if place in known else Stored(message, new=True)
                for place, message in enumerate(messages)
            ]

    async def take_back(self, stub: Message) -> Stored:
        """Scrub the message with the stub's key and mark it, or store the stub."""
        wanted = {"_id": stub.key, "taken_back": False}
        async with self.link.use(MESSAGES) as rows:
            return await change(rows, wanted, SCRUBBED | {"taken_back": True}, scrubbed(replace(stub, recorded_at=0)))

    async def edit(self, stub: Message) -> Stored:
        """Replace the text when the stub's `edit` is larger and the message is not taken back, or store the stub."""
        wanted = {"_id": stub.key, "taken_back": False, "edit": {"$lt": stub.edit}}
        async with self.link.use(MESSAGES) as rows:
            return await change(
                rows, wanted, {"text": stub.text, "edit": stub.edit, "worded": True}, replace(stub, recorded_at=0)
            )

    async def mark(self, marks: Sequence[Mark]) -> None:
        """Set `answered_by` where it is still what the mark says it was."""
        if not marks:
            return
        async with self.link.use(MESSAGES) as rows:
            await rows.bulk_write(
                [
                    UpdateOne({"_id": mark.key, "answered_by": mark.was}, {"$set": {"answered_by": mark.answered_by}})
                    for mark in marks
                ],
                ordered=True,  # one message may have several marks, each as the one before leaves it
            )

    async def get(self, keys: Sequence[str]) -> list[Message]:
        """Return those that exist, in no order."""
        async with self.link.use(MESSAGES) as rows:
            found = await rows.find({"_id": {"$in": list(keys)}}).to_list(None)
        return [MESSAGE.from_fields(one) for one in found]

    async def recent(self, account: str, person: str, limit: int) -> list[Message]:
        """Return the newest messages of a conversation, by timestamp, oldest first."""
        async with self.link.use(MESSAGES) as rows:
            cursor = rows.find(
                {"account": account, "person": person, "shown": True},
                sort=[("at", DESCENDING), ("_id", DESCENDING)],
                limit=limit,
            )
            return [MESSAGE.from_fields(found) for found in reversed(await cursor.to_list(None))]


async def insert(rows: Collection, messages: Sequence[Message]) -> set[int]:
    """Insert what is not there; return the places of those that are."""
    try:
        await rows.insert_many([{"_id": message.key, **fields_of(message)} for message in messages], ordered=False)
    except BulkWriteError as error:
        refused, unsure = error.details["writeErrors"], error.details.get("writeConcernErrors")
        if unsure or any(one["code"] != DUPLICATE for one in refused):
            raise
        return {one["index"] for one in refused}
    return set()


async def complete(rows: Collection, message: Message) -> Stored:
    """Return what is there already; complete it when it is a stub, on the condition that it stays as it was read."""
    for _ in range(TURNS):
        known = await load(rows, message.key)
        if known is None:  # erased a moment ago
            if await insert(rows, [message]):
                continue
            return Stored(message, new=True)
        if not is_stub(known):
            return Stored(known, new=False)
        whole = completed(known, message)
        as_read = {name: getattr(known, name) for name in ("recorded_at", "edit", "taken_back", "answered_by")}
        if (await rows.update_one({"_id": known.key, **as_read}, {"$set": fields_of(whole)})).matched_count:
            return Stored(whole, new=True)
    raise Unavailable("MongoDB: a message changes all the time")


async def change(rows: Collection, wanted: Document, fields: Document, stub: Message) -> Stored:
    """Change the message if it is as wanted; store the stub if there is none; else return it as it is."""
    changed = await update(rows, wanted, fields)
    if changed is None and not await insert(rows, [stub]):
        return Stored(stub, new=True)
    # It is there: it did not want the change, or it came between the two commands above and wants it.
    changed = changed or await update(rows, wanted, fields)
    if changed is not None:
        return Stored(changed, new=True)
    known = await load(rows, stub.key)
    if known is None:
        raise Unavailable("MongoDB: a message was erased meanwhile")
    return Stored(known, new=False)


async def update(rows: Collection, wanted: Document, fields: Document) -> Message | None:
    """Change the message that is as wanted and return it."""
    found = await rows.find_one_and_update(wanted, {"$set": fields}, return_document=ReturnDocument.AFTER)
    return MESSAGE.from_fields(found) if found else None


async def load(rows: Collection, key: str) -> Message | None:
    """Return the message with this key."""
    found = await rows.find_one({"_id": key})
    return MESSAGE.from_fields(found) if found else None


def fields_of(message: Message) -> Document:
    """Return the message as a document, with what queries ask for beside."""
    worded = bool(message.text or message.attachments or message.note)
    return MESSAGE.to_document(message) | {"schema": SCHEMA, "shown": is_shown(message), "worded": worded}
