"""What the pretend Instagram holds: accounts, people, conversations. Rules only; times are milliseconds.

Each method changes the world at a given moment and returns the message that it concerned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from services.common.errors import NotFound
from services.sandbox import refusals
from services.sandbox.ids import conversation_id, message_id

WINDOW = 24 * 3_600_000
TYPING = 20_000
MAX_BYTES = 1000
READABLE = 20  # only so many of a conversation's newest messages can be read

Author = Literal["customer", "app", "owner"]


@dataclass(slots=True)
class Account:
    """A professional account: `id` is what webhooks use, `app_scoped_id` what OAuth uses."""

    id: str
    app_scoped_id: str
    username: str
    name: str


@dataclass(slots=True)
class Person:
    """Somebody who has written to an account."""

    id: str
    username: str
    name: str | None = None


@dataclass(slots=True)
class Message:
    """One message; `at` never changes, `num_edit` counts the edits."""

    mid: str
    account: str
    person: str
    author: Author
    text: str
    at: int
    num_edit: int = 0
    taken_back: bool = False


@dataclass(slots=True)
class Conversation:
    """What one person and one account wrote, oldest first."""

    id: str
    account: str
    person: Person
    messages: list[Message] = field(default_factory=list)
    window_until: int = 0
    seen_at: int = 0
    typing_until: int = 0
    blocked: bool = False

    @property
    def visible(self) -> list[Message]:
        """The messages that nobody took back."""
        return [message for message in self.messages if not message.taken_back]

    @property
    def readable(self) -> list[Message]:
        """What the Conversations API shows, newest first."""
        return self.visible[: -READABLE - 1 : -1]


DEFAULT_ACCOUNTS = (
    Account("17841400000000001", "27640000000000001", "north_pier_bakery", "North Pier Bakery"),
    Account("17841400000000002", "27640000000000002", "lumen_bikes", "Lumen Bikes"),
)
DEFAULT_PERSON = Person("6900000000000501", "mira.k", "Mira K.")


class World:
    """All accounts with their conversations, and every message by its mid."""

    def __init__(self) -> None:
        """Begin with two accounts and no conversation."""
        self.accounts = {account.id: account for account in DEFAULT_ACCOUNTS}
        self.conversations: dict[tuple[str, str], Conversation] = {}
        self.by_id: dict[str, Conversation] = {}
        self.messages: dict[str, Message] = {}
        self.count = 0
        self.newest_at = 0
        self.version = 0

    def account(self, either: str) -> Account:
        """The account of a professional or app-scoped id; raise NotFound."""
        for account in self.accounts.values():
            if either in {account.id, account.app_scoped_id}:
                return account
        raise NotFound(f"no account {either}")

    def conversation(self, account: str, person: str) -> Conversation:
        """The conversation of two, begun if need be."""
        found = self.conversations.get((account, person))
        if found is None:
            who = DEFAULT_PERSON if person == DEFAULT_PERSON.id else Person(person, f"guest_{person[-6:]}")
            found = Conversation(conversation_id(account, person), account, who)
            self._keep(found)
        return found

    def _keep(self, conversation: Conversation) -> None:
        self.conversations[conversation.account, conversation.person.id] = conversation
        self.by_id[conversation.id] = conversation

    def meet(self, account: str, person: str, now: int) -> Conversation:
        """Make a person known with an open window, as if they had just written something."""
        conversation = self.conversation(self.account(account).id, person)
        conversation.window_until = max(conversation.window_until, now + WINDOW)
        return conversation

    def say(self, account: str, person: str, text: str, now: int) -> Message:
        """A person writes to an account."""
        return self._write(self.meet(account, person, now), "customer", text, now)

    def human(self, account: str, person: str, text: str, now: int) -> Message:
        """The owner answers in the Instagram app."""
        return self._write(self.conversation(self.account(account).id, person), "owner", text, now)

    def send(self, account: str, person: str, text: str, now: int, *, human_agent: bool = False) -> Message:
        """The app sends; refuse it as Meta would."""
        conversation = self.reachable(account, person)
        if not text.strip():
            raise refusals.bad_message()
        if len(text.encode()) > MAX_BYTES:
            raise refusals.text_too_long()
        if human_agent:
            raise refusals.human_agent()
        if now >= conversation.window_until:
            raise refusals.window_closed()
        return self._write(conversation, "app", text, now)

    def reachable(self, account: str, person: str) -> Conversation:
        """The conversation that the app may write into; refuse strangers and those who blocked it."""
        conversation = self.conversations.get((account, person))
        if conversation is None:
            raise refusals.no_such_recipient()
        if conversation.blocked:
            raise refusals.unreachable()
        return conversation

    def _write(self, conversation: Conversation, author: Author, text: str, now: int) -> Message:
        self.count += 1
        # No two messages share a moment, so that their order is never a matter of luck.
        self.newest_at = max(self.newest_at + 1, now)
        account, person = conversation.account, conversation.person.id
        mid = message_id(account, person, self.count, self.newest_at)
        message = Message(mid, account, person, author, text, self.newest_at)
        conversation.messages.append(message)
        if author != "customer":
            conversation.typing_until = 0
            conversation.seen_at = max(conversation.seen_at, message.at)
        self.messages[mid] = message
        self.version += 1
        return message

    def act(self, account: str, person: str, action: str, now: int) -> None:
        """A sender action: mark_seen, typing_on or typing_off."""
        conversation = self.reachable(account, person)
        if action == "mark_seen":
            conversation.seen_at = max(now, self.newest_at)
        elif action == "typing_on":
            conversation.typing_until = now + TYPING
        elif action == "typing_off":
            conversation.typing_until = 0
        elif action not in {"react", "unreact"}:
            raise refusals.bad_message(f"Unknown sender_action {action[:20]}")
        self.version += 1

    def unsend(self, mid: str) -> Message:
        """The customer takes a message back."""
        message = self._own(mid)
        message.taken_back, message.text = True, ""
        self.version += 1
        return message

    def edit(self, mid: str, text: str) -> Message:
        """The customer changes a message."""
        message = self._own(mid)
        message.text, message.num_edit = text, message.num_edit + 1
        self.version += 1
        return message

    def _own(self, mid: str) -> Message:
        message = self.messages.get(mid)
        if message is None or message.author != "customer" or message.taken_back:
            raise NotFound("no such message of a customer")
        return message

    def of_account(self, account: str) -> Iterator[Conversation]:
        """An account's conversations with something in them, the newest first."""
        mine = [one for one in self.conversations.values() if one.account == account and one.visible]
        return iter(sorted(mine, key=lambda one: -one.visible[-1].at))

    def saved(self) -> dict[str, Any]:
        """Everything, as JSON."""
        conversations = [asdict(one) for one in self.conversations.values()]
        return {"conversations": conversations, "count": self.count, "newest_at": self.newest_at}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take up what `saved` gave."""
        self.count, self.newest_at = saved["count"], saved["newest_at"]
        for one in saved["conversations"]:
            messages = [Message(**message) for message in one["messages"]]
            conversation = Conversation(**{**one, "person": Person(**one["person"]), "messages": messages})
            self._keep(conversation)
            self.messages.update({message.mid: message for message in messages})
