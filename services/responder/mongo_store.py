"""The responder's store in MongoDB: for many replicas.

Majority and journaled writes, single-document conditional updates only; nothing here needs a transaction.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.common.errors import SchemaTooNew
from services.common.examine_store import examine_mongo
from services.common.findings import Finding
from services.responder.codec import SCHEMA
from services.responder.message import Message, Stored
from services.responder.model import Conversation
from services.responder.mongo_accounts import MongoAccounts
from services.responder.mongo_conversations import MongoConversations
from services.responder.mongo_erasing import MongoErasing
from services.responder.mongo_link import MongoLink
from services.responder.mongo_messages import MongoMessages
from services.responder.mongo_schema import INDEXES, META, SCRATCH
from services.responder.mongo_sends import MongoSends
from services.responder.ports import Accounts, Clock, Conversations, Erasing, Messages, Rule, Sends

POOL = 40
"""Connections at most: the default number of workers, and some for what is delivered meanwhile."""


class MongoStore:
    """One database, shared by every replica."""

    def __init__(self, url: str, pool: int = POOL) -> None:
        """Name the database, and how many connections to hold at most; WORKERS and a few is right."""
        self.link = MongoLink(url, pool)
        self.clock: Clock = self.link.clock
        self.conversations: Conversations = MongoConversations(self.link)
        self.messages: Messages = MongoMessages(self.link)
        self.sends: Sends = MongoSends(self.link)
        self.accounts: Accounts = MongoAccounts(self.link)
        self._erasing = MongoErasing(self.link)
        self.erasing: Erasing = self._erasing

    async def open(self) -> None:
        """Connect and make the indexes; Unavailable: try again later. SchemaTooNew: never."""
        self.link.open()
        await self._check_schema()
        for name, indexes in INDEXES.items():
            async with self.link.use(name) as rows:
                await rows.create_indexes(indexes)
        await self._erasing.open()

    async def _check_schema(self) -> None:
        async with self.link.use(META) as rows:
            found = await rows.find_one({"_id": "schema"})
            if found and found["number"] > SCHEMA:
                raise SchemaTooNew(
                    f"the database has schema {found['number']}, this igbot knows {SCHEMA}: install the newer one"
                )
            await rows.update_one({"_id": "schema"}, {"$max": {"number": SCHEMA}}, upsert=True)

    async def record(
        self, messages: Sequence[Message], row: Conversation, rule: Rule
    ) -> tuple[list[Stored], Conversation, Conversation | None]:
        """Add the messages, then write the row that `rule` makes of them."""
        stored = await self.messages.add(messages)
        after = rule([one.message for one in stored])
        return stored, after, None if after == row else await self.conversations.save(after)

    async def ping(self) -> None:
        """Raise Unavailable when the server does not answer."""
        async with self.link.use(META) as rows:
            await rows.database.command("ping")

    async def examine(self) -> list[Finding]:
        """Look at the database itself."""
        wanted = {name: [str(one.document["name"]) for one in indexes] for name, indexes in INDEXES.items()}
        async with self.link.use(SCRATCH) as rows:
            return await examine_mongo(rows, wanted)

    async def close(self) -> None:
        """Close every connection."""
        self.link.close()
