"""The stream `dead` in the gateway's Redis, as the operator's commands use it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import redis

from services.cli.operator import OperatorSettings, operator_settings
from services.cli.problem import Code, Problem

SECONDS = 10.0
PAGE = 200
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One entry: the raw body, or an envelope with only the refused item, and why it is here."""

    id: str
    at_ms: int
    reason: str
    source: str
    account: str
    person: str
    mids: str
    body: bytes

    def row(self) -> dict[str, Any]:
        """Everything but the body."""
        names = ("id", "at_ms", "reason", "source", "account", "person", "mids")
        return {name: getattr(self, name) for name in names} | {"bytes": len(self.body)}


class DeadStream:
    """Reads, replays and deletes entries of `dead`."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        """The names are the gateway's: `dead` and `inbox` after REDIS_PREFIX."""
        self.client = client
        self.dead = f"{prefix}dead"
        self.inbox = f"{prefix}inbox"

    def read(self, reason: str, limit: int | None) -> list[DeadLetter]:
        """The oldest ones with this reason, or with any; `limit` None: all."""
        found: list[DeadLetter] = []
        for letter in self._all():
            if limit is not None and len(found) >= limit:
                break
            if reason in {"", letter.reason}:
                found.append(letter)
        return found

    def one(self, letter_id: str) -> DeadLetter | None:
        """The one with this id."""
        try:
            entries: Any = self.client.xrange(self.dead, letter_id, letter_id)
        except redis.ResponseError as error:
            raise Problem(f"{letter_id} is not an id of a dead letter", Code.USAGE) from error
        return _letter(*entries[0]) if entries else None

    def replay(self, letter_id: str, *, now_ms: int) -> bool:
        """Add its body to the inbox and delete it, both or neither; False when it is not there."""
        letter = self.one(letter_id)
        if letter is None:
            return False
        with self.client.pipeline(transaction=True) as both:
            both.xadd(self.inbox, {"body": letter.body, "at": now_ms})
            both.xdel(self.dead, letter_id)
            both.execute()
        return True

    def drop(self, letter_id: str) -> bool:
        """Delete it; False when it is not there."""
        return self.one(letter_id) is not None and bool(self.client.xdel(self.dead, letter_id))

    def _all(self) -> Iterator[DeadLetter]:
        start = "-"
        while True:
            page: Any = self.client.xrange(self.dead, start, "+", count=PAGE)
            for letter_id, fields in page:
                yield _letter(letter_id, fields)
            if len(page) < PAGE:
                return
            start = f"({page[-1][0].decode()}"


def _letter(letter_id: bytes, fields: dict[bytes, bytes]) -> DeadLetter:
    def text(name: bytes) -> str:
        return fields.get(name, b"").decode(errors="replace")

    at = text(b"at")
    return DeadLetter(
        id=letter_id.decode(),
        at_ms=int(at) if at.isdigit() else int(letter_id.split(b"-")[0]),
        reason=text(b"reason"),
        source=text(b"source"),
        account=text(b"account"),
        person=text(b"person"),
        mids=text(b"mids"),
        body=fields.get(b"body", b""),
    )


def with_dead_stream(work: Callable[[DeadStream], T]) -> T:
    """Do something with the stream."""
    settings = operator_settings()
    with open_redis(settings) as client:
        return work(DeadStream(client, settings.redis_prefix))


@contextmanager
def open_redis(settings: OperatorSettings) -> Iterator[redis.Redis]:
    """The gateway's Redis. Raises Problem, exit code 3, when it does not answer, and 1 when it refuses a command."""
    url = settings.redis_url.get_secret_value()
    try:
        client = redis.Redis.from_url(url, socket_timeout=SECONDS, socket_connect_timeout=SECONDS)
    except ValueError as error:
        raise Problem("REDIS_URL is not a Redis URL", Code.USAGE) from error
    try:
        with client:
            yield client
    except redis.ConnectionError as error:
        raise Problem("Redis cannot be reached; look at REDIS_URL", Code.UNREACHABLE) from error
    except redis.TimeoutError as error:
        raise Problem(f"Redis did not answer within {SECONDS:g} s", Code.UNREACHABLE) from error
    except redis.OutOfMemoryError as error:
        raise Problem("Redis is full: it refuses to write (OOM)") from error
    except redis.RedisError as error:
        raise Problem(f"Redis refuses ({error_word(error)})") from error


def error_word(error: redis.RedisError) -> str:
    """The word that names the kind of an error; the rest may hold the command, and with it what people wrote."""
    told = getattr(error, "status_code", None) or str(error).rpartition(" caused error: ")[2].partition(" ")[0]
    return told if re.fullmatch(r"[A-Z]+", told) else type(error).__name__
