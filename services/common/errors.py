"""The one error tree. Classes are named for the state that they tell of.

BotError                     http 500  rpc INTERNAL
├─ Refused                   http 400  rpc INVALID_ARGUMENT     the caller is wrong; never try again
│  ├─ BadSignature           http 403  rpc PERMISSION_DENIED
│  ├─ NotAllowed             http 403  rpc PERMISSION_DENIED    this caller may not call this
│  ├─ BadPayload             http 400  rpc INVALID_ARGUMENT
│  └─ BadState               http 400  rpc INVALID_ARGUMENT     OAuth state missing, spent or forged
├─ UnknownAccount            http 404  rpc NOT_FOUND
├─ NotFound                  http 404  rpc NOT_FOUND
├─ NotConnected              http 409  rpc FAILED_PRECONDITION  carries the account's state
├─ Undeliverable             http 422  rpc FAILED_PRECONDITION  Instagram will not take this
├─ NotSetUp                  http 502  rpc FAILED_PRECONDITION  the operator must change something in Meta's dashboard
├─ SchemaTooNew              http 500  rpc INTERNAL             the store was written by a newer igbot
└─ Unavailable               http 503  rpc UNAVAILABLE          a dependency is down; try again
   └─ RateLimited            http 429  rpc RESOURCE_EXHAUSTED   carries the seconds to wait

Each class knows its HTTP status, its gRPC code and whether trying again can help; nothing else names a status.
"""

from __future__ import annotations

from typing import ClassVar

import grpc


class BotError(Exception):
    """Anything that igbot itself says went wrong; the text never holds a secret or a person's words."""

    http: ClassVar[int] = 500
    rpc: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    retryable: ClassVar[bool] = False


class Refused(BotError):
    """The caller is wrong: the same call will never succeed."""

    http = 400
    rpc = grpc.StatusCode.INVALID_ARGUMENT


class BadSignature(Refused):
    """The signature is missing or made with another secret."""

    http = 403
    rpc = grpc.StatusCode.PERMISSION_DENIED


class NotAllowed(Refused):
    """The caller's identity may not make this call."""

    http = 403
    rpc = grpc.StatusCode.PERMISSION_DENIED


class BadPayload(Refused):
    """The bytes cannot be read as what they claim to be."""


class BadState(Refused):
    """The OAuth state is missing, spent, expired, forged or another browser's."""


class UnknownAccount(BotError):
    """No account has this id."""

    http = 404
    rpc = grpc.StatusCode.NOT_FOUND


class NotFound(BotError):
    """There is no such thing."""

    http = 404
    rpc = grpc.StatusCode.NOT_FOUND


class NotConnected(BotError):
    """The account exists and its token cannot be lent; `str(error)` is the account state's name."""

    http = 409
    rpc = grpc.StatusCode.FAILED_PRECONDITION


class Undeliverable(BotError):
    """Instagram will not take this, now or later."""

    http = 422
    rpc = grpc.StatusCode.FAILED_PRECONDITION


class NotSetUp(BotError):
    """Meta's dashboard, or our settings, keep Instagram from serving us; only the operator can change that."""

    http = 502
    rpc = grpc.StatusCode.FAILED_PRECONDITION


class SchemaTooNew(BotError):
    """The store was written by a newer igbot; this one must not touch it."""


class Unavailable(BotError):
    """A dependency does not answer; the same call may succeed later."""

    http = 503
    rpc = grpc.StatusCode.UNAVAILABLE
    retryable = True


class RateLimited(Unavailable):
    """Too fast; `retry_after` is in seconds, None when nobody said how long."""

    http = 429
    rpc = grpc.StatusCode.RESOURCE_EXHAUSTED

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        """Keep how long to wait, in seconds."""
        super().__init__(message)
        self.retry_after = retry_after
