"""What is known of accounts, in MongoDB."""

from __future__ import annotations

from msgspec.structs import replace
from pymongo.errors import DuplicateKeyError

from services.responder.account import Account
from services.responder.codec import ACCOUNT, SCHEMA
from services.responder.mongo_link import MongoLink
from services.responder.mongo_schema import ACCOUNTS


class MongoAccounts:
    """One document an account."""

    def __init__(self, link: MongoLink) -> None:
        """Keep the link, which the store opens."""
        self.link = link

    async def get(self, account_id: str) -> Account | None:
        """Return the account with this professional or app-scoped id."""
        if not account_id:
            return None
        async with self.link.use(ACCOUNTS) as rows:
            found = await rows.find_one({"_id": account_id}) or await rows.find_one({"app_scoped_id": account_id})
        return ACCOUNT.from_fields(found) if found else None

    async def save(self, account: Account) -> Account | None:
        """Write if the store still has `account.rev`, and return it with the new rev; else None."""
        async with self.link.use(ACCOUNTS) as rows:
            if account.rev == 0:
                # Never a rev that somebody remembers of an account that was erased.
                born = replace(account, rev=self.link.clock.now())
                fields = ACCOUNT.to_document(born)
                try:
                    await rows.insert_one({"_id": account.account, "schema": SCHEMA, **fields})
                except DuplicateKeyError:
                    return None
                return born
            after = replace(account, rev=account.rev + 1)
            update = {"$set": ACCOUNT.to_document(after), "$max": {"schema": SCHEMA}}
            done = await rows.update_one({"_id": account.account, "rev": account.rev}, update)
        return after if done.matched_count else None

    async def all(self) -> list[Account]:
        """Return every account."""
        async with self.link.use(ACCOUNTS) as rows:
            return [ACCOUNT.from_fields(found) for found in await rows.find(sort=[("_id", 1)]).to_list(None)]
