"""What the responder needs of the world beyond its store: tokens, the model, Instagram. Ports and their values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import SecretStr

from services.common.errors import Refused, Unavailable
from services.common.graph_errors import GraphError


@dataclass(frozen=True, slots=True, kw_only=True)
class Lent:
    """A borrowed token; `account` is the professional id whichever id was asked with."""

    account: str
    token: SecretStr
    version: int
    app_scoped_id: str = ""
    username: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownAccount:
    """An account as the token service lists it."""

    account: str
    app_scoped_id: str
    username: str
    state: str
    connected_at: int


class TokensDown(Unavailable):
    """The token service does not answer, or cannot now: an outage, nobody's fault here."""


class Tokens(Protocol):
    """The token service."""

    async def lend(self, account: str, *, fresh_ms: int = 60_000) -> Lent:
        """Return the token of the account with either id, at most `fresh_ms` old.

        Raises UnknownAccount, NotConnected (its text is the account state's name) or TokensDown.
        """
        ...

    async def reject(self, lent: Lent, error: GraphError) -> str:
        """Report that Instagram refused this token; return the account's state afterwards."""
        ...

    async def accounts(self) -> list[KnownAccount]:
        """Return every account."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One message of the prompt. Customers' words are only ever `user` turns."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What the model wrote, and what it cost in tokens."""

    text: str
    tokens_in: int = 0
    tokens_out: int = 0


class BreakerOpen(Unavailable):
    """The dependency failed so often that it is left alone for a while."""


class AccountHeld(Unavailable):
    """The account cannot send now; its row keeps its conversations. `str(error)` is the reason for the hold."""


class ModelDown(Unavailable):
    """The model does not answer, or not in time: an outage, nobody's fault here."""


class ModelBreakerOpen(ModelDown, BreakerOpen):
    """The model failed so often that it is left alone for a while."""


class ModelRefused(Refused):
    """The model refused this very prompt: the same call will fail again."""


class Writer(Protocol):
    """The language model."""

    async def write_reply(self, turns: Sequence[Turn], *, within: float) -> Written:
        """Return the model's text, never empty, within so many seconds.

        Raises BreakerOpen, ModelDown (also for an empty answer) or ModelRefused.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A message as the Conversations API shows it."""

    mid: str
    sender: str
    at: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The newest messages of a conversation, newest first; `whole` when it has no older ones."""

    messages: tuple[Shown, ...]
    whole: bool
    hidden: tuple[int, ...] = ()  # when those were written that are listed and cannot be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """A conversation as Instagram lists it."""

    person: str
    updated_at: int


def unheard(_seconds: float) -> None:
    """Let the time that was spent waiting for a turn be."""


class Instagram(Protocol):
    """The Graph API for one account's conversations. Failures are services.common.graph.GraphFailure."""

    async def post_text(self, lent: Lent, person: str, text: str, *, human_agent: bool, within: float) -> str:
        """Send one message and return its mid."""
        ...

    async def ready(self, lent: Lent) -> None:
        """Raise BreakerOpen while nothing should be sent, because sending kept failing a moment ago."""
        ...

    async def act(self, lent: Lent, person: str, action: Literal["mark_seen", "typing_on"]) -> None:
        """Show that the message was seen, or that an answer is being typed."""
        ...

    async def read(self, lent: Lent, person: str, *, waited: Callable[[float], None] = unheard) -> Reading | None:
        """Return the newest messages; None when Instagram lists no such conversation.

        `waited` is told the seconds that each call of it waited for its turn, whatever comes of it.
        """
        ...

    async def talks(self, lent: Lent, *, since: int) -> list[Talk]:
        """Return the account's conversations that changed since then, the last active first, and perhaps older ones."""
        ...

    async def username(self, lent: Lent, person: str) -> str:
        """Return the person's username, empty when the profile is hidden."""
        ...
