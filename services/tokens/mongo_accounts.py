"""Accounts in MongoDB: one document an account, changed by compare-and-set on its revision.

No transaction over several documents, majority and journaled writes. Only this file and its twin in the responder
know motor. https://www.mongodb.com/docs/manual/core/write-operations-atomicity/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from bson.codec_options import CodecOptions
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ReturnDocument, WriteConcern
from pymongo.errors import DuplicateKeyError, PyMongoError
from pymongo.read_concern import ReadConcern

from services.common.account_state import AccountState
from services.common.database_url import MongoDatabase
from services.common.errors import Refused, SchemaTooNew, Unavailable, UnknownAccount
from services.common.examine_store import examine_mongo
from services.common.findings import Finding
from services.tokens.accounts import Account, Summary
from services.tokens.documents import SCHEMA, Document, from_document, milliseconds, moment, to_document
from services.tokens.ports import Chore, Rule, always
from services.tokens.schedule import ALARM_LEFT, LEASE_MOST, TURN, TURN_MOST, WATCH_MOST

INDEXED = ("app_scoped_id", "refresh_at", "watch_at", "expires_at")
CONFLICTS = 100
"""How often a change may lose its race; each loss is another's success."""


class MongoAccounts:
    """The ports Accounts and Rota on the collections `token_accounts` and `token_pace`."""

    def __init__(self, database: MongoDatabase) -> None:
        """Connect lazily; `open` makes the indexes."""
        self.client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
            database.address.get_secret_value(),
            serverSelectionTimeoutMS=2_000,
            connectTimeoutMS=2_000,
            socketTimeoutMS=6_000,  # a stop may wait for it when the server stands still
        )
        options: dict[str, Any] = {
            "codec_options": CodecOptions(document_class=dict),
            "write_concern": WriteConcern("majority", j=True, wtimeout=5_000),
            "read_concern": ReadConcern("majority"),
        }
        self.accounts = self.client[database.name].get_collection("token_accounts", **options)
        self.pace = self.client[database.name].get_collection("token_pace", **options)
        self.scratch = self.client[database.name].get_collection("token_doctor", **options)

    async def open(self) -> None:
        """Make the indexes; Unavailable when that cannot be done now, SchemaTooNew when it never can."""
        with ours():
            for field in INDEXED:
                await self.accounts.create_index(field, unique=field == "app_scoped_id")
            newer = await self.accounts.find_one({"schema": {"$gt": SCHEMA}})
        if newer is not None:
            raise SchemaTooNew(f"the accounts have schema {newer['schema']}, this igbot knows {SCHEMA}")

    async def close(self) -> None:
        """Close the connections."""
        self.client.close()

    async def examine(self) -> list[Finding]:
        """Look at the database itself."""
        with ours():
            names = [f"{field}_1" for field in INDEXED]
            return await examine_mongo(self.scratch, {self.accounts.name: names})

    async def find(self, account: str) -> Account | None:
        """Return the account with this id, professional or app-scoped."""
        with ours():
            found = await self.accounts.find_one({"_id": account})
            found = found or await self.accounts.find_one({"app_scoped_id": account})
        return from_document(found) if found else None

    async def all(self) -> Sequence[Account]:
        """Return every account, by its professional id."""
        with ours():
            return [from_document(found) async for found in self.accounts.find().sort("_id", 1)]

    async def put(
        self, account: str, make: Callable[[Account | None], Account], *, in_place_of: str | None = None
    ) -> Account:
        """Store what `make` gives; Refused when its app-scoped id is another account's."""
        if in_place_of is not None:  # first, since two rows may not have one app-scoped id
            await self.forget(in_place_of)
        for _ in range(CONFLICTS):
            with ours():
                found = await self.accounts.find_one({"_id": account})
            made = make(from_document(found) if found else None)
            if await self._insert(made) if found is None else await self._replace(found, made):
                return made
        raise Unavailable("MongoDB: too many changes to one account at once")

    async def change(self, account: str, rule: Rule) -> Account:
        """Apply a rule at once and for good."""
        for _ in range(CONFLICTS):
            with ours():
                found = await self.accounts.find_one({"_id": account})
            if found is None:
                raise UnknownAccount("no such account")
            before = from_document(found)
            changed = rule(before)
            if changed is None or changed == before or await self._replace(found, changed):
                return changed or before
        raise Unavailable("MongoDB: too many changes to one account at once")

    async def _insert(self, made: Account) -> bool:
        try:
            with ours():
                await self.accounts.insert_one({"_id": made.account, "revision": 1, **to_document(made)})
        except DuplicateKeyError as error:
            return refuse_twin(error)
        return True

    async def _replace(self, found: Document, made: Account) -> bool:
        revision = found["revision"]
        document = {**found, **to_document(made), "revision": revision + 1}
        try:
            with ours():
                done = await self.accounts.replace_one({"_id": found["_id"], "revision": revision}, document)
        except DuplicateKeyError as error:
            return refuse_twin(error)
        return done.matched_count == 1

    async def forget(self, account: str, *, when: Callable[[Account], bool] = always) -> bool:
        """Erase the account."""
        for _ in range(CONFLICTS):
            with ours():
                found = await self.accounts.find_one({"_id": account})
                if found is None or not when(from_document(found)):
                    return False
                done = await self.accounts.delete_one({"_id": account, "revision": found["revision"]})
            if done.deleted_count:
                return True
        raise Unavailable("MongoDB: too many changes to one account at once")

    async def claim(self, chore: Chore, *, now: datetime, until: datetime) -> Account | None:
        """Lease the account that has waited longest for this chore."""
        at, longest = milliseconds(now), milliseconds(now + LEASE_MOST)
        free = {"$or": [{"lease_until": None}, {"lease_until": {"$lte": at}}, {"lease_until": {"$gt": longest}}]}
        with ours():
            for wanted, field in due(chore, now):
                found = await self.accounts.find_one_and_update(
                    {**wanted, **free},
                    {"$set": {"lease_until": milliseconds(until)}, "$inc": {"fence": 1, "revision": 1}},
                    sort=[(field, 1)],
                    return_document=ReturnDocument.AFTER,
                )
                if found:
                    return from_document(found)
        return None

    async def turn(self, now: datetime) -> datetime:
        """Reserve the next moment at which a refresh may start."""
        at, most = milliseconds(now), milliseconds(now + TURN_MOST)
        mine = {"$cond": [{"$gt": ["$next_at", most]}, at, {"$max": ["$next_at", at]}]}
        step = int(TURN.total_seconds() * 1000)
        with ours():
            found = await self.pace.find_one_and_update(
                {"_id": "refresh"},
                [{"$set": {"turn": mine}}, {"$set": {"next_at": {"$add": ["$turn", step]}}}],
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        return moment(found["turn"])

    async def planned(self, windows: Sequence[tuple[datetime, datetime]]) -> Sequence[int]:
        """Count the refreshes planned within each window."""
        with ours():
            return [
                await self.accounts.count_documents(
                    {"refresh_at": {"$gte": milliseconds(start), "$lt": milliseconds(end)}}
                )
                for start, end in windows
            ]

    async def summary(self, rejected_since: datetime) -> Summary:
        """Count the accounts by state, and those whose token was rejected lately."""
        with ours():
            groups = await self.accounts.aggregate(grouping(milliseconds(rejected_since))).to_list(None)
        issues = [group["issued"] for group in groups if group["issued"] is not None]
        return Summary(
            by_state={AccountState(group["_id"]): int(group["accounts"]) for group in groups},
            least_expiry={
                AccountState(group["_id"]): moment(group["expiry"]) for group in groups if group["expiry"] is not None
            },
            last_refresh=moment(max(issues)) if issues else None,
            rejected=sum(int(group["rejected"]) for group in groups),
            unsubscribed=sum(int(group["unsubscribed"]) for group in groups),
        )


def due(chore: Chore, now: datetime) -> tuple[tuple[Document, str], ...]:
    """Return what is due, then what is planned as no right clock plans; each with the indexed field that sorts it."""
    at, alarm, far = (milliseconds(moment) for moment in (now, now + ALARM_LEFT, now + WATCH_MOST))
    if chore == Chore.WATCH:
        return ({"watch_at": {"$lte": at}}, "watch_at"), ({"watch_at": {"$gt": far}}, "watch_at")
    astray = {"expires_at": {"$lte": alarm}, "refresh_at": {"$gt": alarm}}
    return ({"refresh_at": {"$lte": at}}, "refresh_at"), (astray, "expires_at")


def grouping(rejected_since: int) -> list[Document]:
    """Return the pipeline that counts accounts by state."""
    suspected = {"$and": [{"$in": ["$state", ["active", "limited"]]}, {"$ne": ["$rejected_at", None]}]}
    turned = {"$and": [{"$eq": ["$state", "reauthorize"]}, {"$gt": ["$state_at", rejected_since]}]}
    silent = {"$and": [{"$eq": ["$state", "active"]}, {"$not": [{"$in": ["messages", "$subscribed_fields"]}]}]}
    rejected = {"$sum": {"$cond": [{"$or": [suspected, turned]}, 1, 0]}}
    return [
        {
            "$group": {
                "_id": "$state",
                "accounts": {"$sum": 1},
                "expiry": {"$min": "$expires_at"},
                "issued": {"$max": "$issued_at"},
                "rejected": rejected,
                "unsubscribed": {"$sum": {"$cond": [silent, 1, 0]}},
            }
        }
    ]


def refuse_twin(error: DuplicateKeyError) -> bool:
    """Raise when another account has the app-scoped id; False when somebody inserted the same account just now."""
    if "app_scoped_id" in str(error):
        raise Refused("the app-scoped id belongs to another account") from None
    return False


@contextmanager
def ours() -> Iterator[None]:
    """Turn the driver's errors into Unavailable, but for duplicate keys, which are answers."""
    try:
        yield
    except DuplicateKeyError:
        raise
    except PyMongoError as error:
        raise Unavailable(f"MongoDB: {type(error).__name__}") from error
