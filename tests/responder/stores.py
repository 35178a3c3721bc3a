"""Rows, messages and replies for the stores' tests, and the stores themselves."""

from pathlib import Path
from typing import Any

from services.responder.account import Account
from services.responder.message import Author, Kind, Message, key_of
from services.responder.model import Conversation, Part, PartState, Pending, Reply
from services.responder.ports import Store
from services.responder.sqlite_store import SqliteStore

ACCOUNT = "17841400000000001"
OTHER = "17841400000000002"
PERSON = "900000000000001"
LEASE = 60_000


def store_at(url: str) -> Store:
    """The store that a DATABASE_URL names, not yet opened."""
    if url.startswith("mongodb"):
        from services.responder.mongo_store import MongoStore

        return MongoStore(url)
    return SqliteStore(Path(url.removeprefix("sqlite:///")) / "responder.db")


def a_row(person: str = PERSON, **fields: Any) -> Conversation:
    return Conversation(account=fields.pop("account", ACCOUNT), person=person, **fields)


def a_message(mid: str = "m1", **fields: Any) -> Message:
    kind = fields.pop("kind", Kind.MESSAGE)
    account = fields.pop("account", ACCOUNT)
    known: dict[str, Any] = {
        "key": key_of(account, kind, mid),
        "account": account,
        "person": PERSON,
        "kind": kind,
        "mid": mid,
        "at": 1_000,
        "recorded_at": 2_000,
        "author": Author.CUSTOMER,
        "text": f"text of {mid}",
    }
    return Message(**(known | fields))


def a_stub(mid: str = "m1", **fields: Any) -> Message:
    return a_message(mid, **({"recorded_at": 0, "text": ""} | fields))


def a_part(n: int = 0, **fields: Any) -> Part:
    known: dict[str, Any] = {"n": n, "text": f"part {n}", "sha256": f"{n:064x}"}
    return Part(**(known | fields))


def a_reply(reply_id: str = "r1", **fields: Any) -> Reply:
    known: dict[str, Any] = {
        "account": ACCOUNT,
        "person": PERSON,
        "author": Author.BOT,
        "answers": (Pending(key=key_of(ACCOUNT, Kind.MESSAGE, "m1"), mid="m1", at=1_000, recorded_at=2_000),),
        "parts": (a_part(state=PartState.SENT, mid=f"mid of {reply_id}"),),
        "created_at": 3_000,
        "version": 7,
    }
    return Reply(id=reply_id, **(known | fields))


def an_account(account: str = ACCOUNT, **fields: Any) -> Account:
    return Account(**({"account": account, "app_scoped_id": f"app-{account}", "username": "shop"} | fields))
