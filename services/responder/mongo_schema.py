"""The responder's collections in MongoDB and their indexes, made at start, each as often as one likes.

An index that was released never changes under its name; a later igbot makes another one.
"""

from __future__ import annotations

from pymongo import ASCENDING, IndexModel

PREFIX = "responder_"
CONVERSATIONS = PREFIX + "conversations"
MESSAGES = PREFIX + "messages"
SENDS = PREFIX + "sends"
ACCOUNTS = PREFIX + "accounts"
TOMBSTONES = PREFIX + "tombstones"
META = PREFIX + "meta"
SCRATCH = PREFIX + "doctor"


def index(name: str, *fields: str, only: dict[str, object] | None = None) -> IndexModel:
    """Return an ascending index; `only` names the documents that it holds."""
    partial = {"partialFilterExpression": only} if only else {}
    return IndexModel([(field, ASCENDING) for field in fields], name=name, **partial)


INDEXES: dict[str, list[IndexModel]] = {
    CONVERSATIONS: [
        index("due", "account", "due_at", "lease_until", only={"due_at": {"$exists": True}}),
        index("of_account", "account", "last_at"),
        index("last", "last_at"),
        index("failed", "account", only={"failed": True}),
    ],
    MESSAGES: [
        index("of_person", "account", "person", "shown", "at", "_id"),
        index("worded", "at", only={"worded": True}),
    ],
    SENDS: [
        index("of_person", "account", "person", "created_at", "_id"),
        index("mids", "account", "mids"),
        index("held", "created_at", "_id", only={"held": True}),
        index("worded", "created_at", only={"worded": True}),
    ],
    ACCOUNTS: [index("app_scoped", "app_scoped_id")],
}
