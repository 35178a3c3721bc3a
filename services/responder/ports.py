"""What the responder's use cases need from the world, as they say it. Adapters: sqlite_*.py and mongo_*.py and others.

Every method may raise services.common.errors.Unavailable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from services.common.findings import Finding
from services.responder.account import Account
from services.responder.message import Message, Stored
from services.responder.model import Conversation, Figures, Mark, Reply

Rule = Callable[[Sequence[Message]], Conversation]
ReplyRule = Callable[[Reply], Reply | None]
"""What makes a conversation's row of the messages that were just stored for it."""


class Clock(Protocol):
    """The store's clock: the only one by which anything is due."""

    def now(self) -> int:
        """Return milliseconds since 1970 as the store counts them."""
        ...


class Conversations(Protocol):
    """The rows."""

    async def load(self, account: str, person: str) -> Conversation | None:
        """Return the row as committed now."""
        ...

    async def save(self, row: Conversation, *, release: bool = False) -> Conversation | None:
        """Write the row if the store still has `row.rev`, and return it with the new rev; else None.

        `rev` 0 inserts. Owner, fence and lease are the store's and stay as they are, but `release` ends the lease.
        """
        ...

    async def claim(self, account: str, owner: str, lease_ms: int, *, person: str = "") -> Conversation | None:
        """Take the account's longest-due conversation that nobody holds, or the person's if one is named.

        One atomic change: owner, lease end by the store's clock, fence + 1, rev + 1.
        """
        ...

    async def renew(self, row: Conversation, lease_ms: int) -> bool:
        """Prolong the lease if the row still has this fence; rev stays. False: it is lost."""
        ...

    async def due_accounts(self) -> list[str]:
        """Return the accounts that have a conversation to claim now."""
        ...

    async def find(self, *, account: str = "", limit: int, offset: int = 0) -> list[Conversation]:
        """Return rows, the last active (`last_at`) first; all accounts' when none is named."""
        ...

    async def figures(self, held_accounts: Sequence[str]) -> Figures:
        """Count what is due now outside the held accounts, and what is held."""
        ...


class Messages(Protocol):
    """The events, each stored once under its key."""

    async def add(self, messages: Sequence[Message]) -> list[Stored]:
        """Insert each unless its key is there, and return each as the store has it now, in order.

        A stub is completed instead: it keeps its text when edited or taken back, and counts as new.
        """
        ...

    async def take_back(self, stub: Message) -> Stored:
        """Scrub the message with the stub's key (text, attachments, note) and mark it, or store the stub.

        `new` is False when it was taken back before.
        """
        ...

    async def edit(self, stub: Message) -> Stored:
        """Replace the text when the stub's `edit` is larger and the message is not taken back, or store the stub.

        `new` is False when nothing changed.
        """
        ...

    async def mark(self, marks: Sequence[Mark]) -> None:
        """Set `answered_by` where it is still what the mark says it was; one mark after the other."""
        ...

    async def get(self, keys: Sequence[str]) -> list[Message]:
        """Return those that exist, in no order."""
        ...

    async def recent(self, account: str, person: str, limit: int) -> list[Message]:
        """Return the newest messages of a conversation (kinds SHOWN, no stubs) by timestamp, oldest first."""
        ...


class Sends(Protocol):
    """Finished replies; and those whose unknown part is still looked for."""

    async def put(self, reply: Reply) -> None:
        """Store or replace by id. An unsettled one replaces nothing: what is there already knows more."""
        ...

    async def change(self, reply_id: str, rule: ReplyRule) -> Reply | None:
        """Change what is stored by a rule, at once; return that. None: it is gone, or the rule changes nothing."""
        ...

    async def get(self, reply_id: str) -> Reply | None:
        """Return one."""
        ...

    async def owns(self, account: str, mid: str) -> bool:
        """Whether a part of one of the account's replies has this mid."""
        ...

    async def held(self, account: str = "") -> list[Reply]:
        """Return the replies with a held part, oldest first; all accounts' when none is named."""
        ...

    async def of(self, account: str, person: str, limit: int) -> list[Reply]:
        """Return a conversation's newest, oldest first."""
        ...


class Accounts(Protocol):
    """What is known of accounts."""

    async def get(self, account_id: str) -> Account | None:
        """Return the account with this professional or app-scoped id."""
        ...

    async def save(self, account: Account) -> Account | None:
        """Write if the store still has `account.rev` (0 inserts) and return it with the new rev; else None."""
        ...

    async def all(self) -> list[Account]:
        """Return every account."""
        ...


class Erasing(Protocol):
    """What deletes: data deletion and retention."""

    async def erase(self, account: str, person: str) -> int:
        """Delete everything of a person, or with an empty person of an account; return how many documents.

        A tombstone (a keyed hash and a time, never an id) stays for each person.
        """
        ...

    async def erased_at(self, account: str, person: str) -> int:
        """Return when this person, or the whole account, was erased last; 0: never."""
        ...

    async def purge(self, before: int) -> int:
        """Take text, attachments and notes out of messages and sends older than `before`; keys stay."""
        ...


class Store(Protocol):
    """One database, opened."""

    clock: Clock
    conversations: Conversations
    messages: Messages
    sends: Sends
    accounts: Accounts
    erasing: Erasing

    async def open(self) -> None:
        """Open, make indexes, migrate; Unavailable: try again later. SchemaTooNew: never."""
        ...

    async def record(
        self, messages: Sequence[Message], row: Conversation, rule: Rule
    ) -> tuple[list[Stored], Conversation, Conversation | None]:
        """Add the messages, then write the row that `rule` makes of them as they are stored now.

        In this order; as one change where the store can do that. Returns the messages, the row that `rule` made, and
        the row as written: None when it is as it was, or the store no longer had `row.rev`.
        """
        ...

    async def ping(self) -> None:
        """Raise Unavailable when the store does not answer."""
        ...

    async def examine(self) -> list[Finding]:
        """Look at the store itself: a write, its indexes, its replicas."""
        ...

    async def close(self) -> None:
        """Finish and close."""
        ...
