"""The way to the MongoDB server: how long to wait, what must be certain, and what its errors mean here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bson.codec_options import TypeDecoder, TypeRegistry
from bson.int64 import Int64
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase
from pymongo.errors import ConfigurationError, PyMongoError

from services.common.errors import Unavailable
from services.responder.mongo_clock import MongoClock

Document = dict[str, Any]
Collection = AsyncIOMotorCollection[Document]

SURE: dict[str, Any] = {
    "w": "majority",
    "journal": True,
    "readConcernLevel": "majority",
    "retryWrites": True,
    "retryReads": True,
}
"""What was acknowledged outlives the loss of any one server: https://www.mongodb.com/docs/manual/core/retryable-writes/"""

PATIENCE: dict[str, Any] = {
    "serverSelectionTimeoutMS": 2_000,
    "connectTimeoutMS": 2_000,
    "socketTimeoutMS": 4_000,
    "waitQueueTimeoutMS": 4_000,
    "wTimeoutMS": 3_500,
}
"""A dead server is Unavailable within seconds; the lease of a conversation lasts about as long."""


class PlainInt(TypeDecoder):
    """Reads a 64-bit integer as an int: the driver's own Int64 cannot be put into a struct and written again."""

    bson_type = Int64

    def transform_bson(self, value: int) -> int:
        """Return the same number."""
        return int(value)


class MongoLink:
    """One client and its database."""

    def __init__(self, url: str, pool: int) -> None:
        """Name the database, and how many connections to hold at most."""
        self.url = url
        mine = {"appname": "igbot-responder", "tz_aware": True, "type_registry": TypeRegistry([PlainInt()])}
        self.options = SURE | PATIENCE | mine | {"maxPoolSize": pool}
        self.clock = MongoClock()
        self.client: AsyncIOMotorClient[Document] | None = None

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[Collection]:
        """Lend a collection; whatever the driver raises meanwhile is Unavailable.

        The driver's own text stays out of it: it may quote a document, and so what a person wrote.
        """
        try:
            yield (await self.database())[name]
        except PyMongoError as error:
            raise Unavailable(f"MongoDB: {type(error).__name__} {getattr(error, 'code', '') or ''}".strip()) from None

    async def database(self) -> AsyncIOMotorDatabase[Document]:
        """Return the database, the clock being fresh."""
        if self.client is None:
            raise Unavailable("MongoDB: not open")
        asked = self.clock.ask()
        if asked is not None:
            answer = await self.client.admin.command("hello")
            self.clock.learn(int(answer["localTime"].timestamp() * 1000), asked)
        return self.client.get_default_database()

    def open(self) -> None:
        """Make the client; it connects when it is first used. A wrong URL is a ValueError."""
        self.close()
        try:
            self.client = AsyncIOMotorClient(self.url, **self.options)
            self.client.get_default_database()
        except ConfigurationError as error:
            raise ValueError("DATABASE_URL must be a MongoDB URL that names a database") from error

    def close(self) -> None:
        """Close every connection."""
        if self.client is not None:
            self.client.close()
        self.client = None
