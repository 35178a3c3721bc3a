"""What Instagram's error answers mean. Rules only: nothing here waits or calls.

Codes decide, then subcodes; never the HTTP status, the type or the text, which comes in any language.
Sources: https://developers.facebook.com/documentation/business-messaging/messenger-platform/error-codes,
https://developers.facebook.com/docs/graph-api/guides/error-handling, and answers seen in production.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from services.common.errors import Unavailable
from services.common.graph_usage import Usage


class Fault(StrEnum):
    """What an error answer calls for."""

    TRANSIENT = "transient"  # try a read again; a send's outcome is unknown
    RATE_LIMITED = "rate_limited"  # pause this account's calls
    APP_LIMITED = "app_limited"  # pause every account's calls: the app is over its limit
    BLOCKED = "blocked"  # Instagram calls it spam or against policy: pause the account for hours
    TOKEN_DEAD = "token_dead"  # noqa: S105 - a state, not a password
    APP_REMOVED = "app_removed"  # the owner removed the app: the token is dead and the account deauthorised
    ACCOUNT_LIMITED = "account_limited"  # the owner must change something in Instagram
    SETUP = "setup"  # the operator must change something in Meta's dashboard
    WINDOW_CLOSED = "window_closed"
    UNREACHABLE = "unreachable"  # this person cannot be written to
    PERSON_LIMITED = "person_limited"  # too much to this person
    NOT_THREAD_OWNER = "not_thread_owner"  # another app has the conversation
    NO_PROFILE = "no_profile"  # go on without it
    GONE = "gone"  # the object was deleted or is hidden
    MEDIA = "media"  # Meta could not take our media
    OUR_BUG = "our_bug"
    ALREADY_LONG_LIVED = "already_long_lived"  # the token came from the dashboard: refresh it instead
    TAG_REFUSED = "tag_refused"  # the HUMAN_AGENT tag without its approval; the account is fine
    CODE_SPENT = "code_spent"  # the OAuth code was used already, or never was one
    UNKNOWN_CODE = "unknown_code"  # refused; nobody knows why


DEAD_TOKEN_CODES = frozenset({190, 102, 0})
TRANSIENT_CODES = frozenset({1, 2, -1, -2})
LIMITS = frozenset({Fault.RATE_LIMITED, Fault.APP_LIMITED})
LIMIT_CODES = frozenset({17, 32, 613, 80001, 80002, 80006})

BY_SUBCODE: Mapping[tuple[int, int], Fault] = {
    (1, 99): Fault.SETUP,
    (4, 2207051): Fault.BLOCKED,
    (10, 1893063): Fault.ACCOUNT_LIMITED,
    (10, 2018108): Fault.UNREACHABLE,
    (10, 2018278): Fault.WINDOW_CLOSED,
    (10, 2534022): Fault.WINDOW_CLOSED,
    (10, 2534077): Fault.ACCOUNT_LIMITED,
    (25, 2207050): Fault.ACCOUNT_LIMITED,
    (100, 33): Fault.GONE,
    (100, 2018001): Fault.UNREACHABLE,
    (100, 2018008): Fault.MEDIA,
    (100, 2018047): Fault.MEDIA,
    (100, 2018109): Fault.MEDIA,
    (100, 2018294): Fault.MEDIA,
    (100, 2018300): Fault.NOT_THREAD_OWNER,
    (100, 2534014): Fault.UNREACHABLE,
    (100, 2534029): Fault.ACCOUNT_LIMITED,
    (100, 2534037): Fault.NOT_THREAD_OWNER,
    (100, 2534068): Fault.MEDIA,
    (190, 458): Fault.APP_REMOVED,
    (200, 1545041): Fault.UNREACHABLE,
    (200, 2018028): Fault.SETUP,
    (551, 1545041): Fault.UNREACHABLE,
    (613, 2018338): Fault.PERSON_LIMITED,
}
BY_CODE: Mapping[int, Fault] = {
    3: Fault.SETUP,
    4: Fault.APP_LIMITED,
    10: Fault.ACCOUNT_LIMITED,
    25: Fault.ACCOUNT_LIMITED,
    100: Fault.OUR_BUG,
    230: Fault.NO_PROFILE,
    368: Fault.BLOCKED,
    551: Fault.UNREACHABLE,
    2500: Fault.OUR_BUG,
    9010: Fault.NO_PROFILE,
    10900: Fault.OUR_BUG,
    10903: Fault.OUR_BUG,
    2018300: Fault.NOT_THREAD_OWNER,
    9000001: Fault.GONE,
}


@dataclass(frozen=True, slots=True)
class GraphError:
    """One error answer: numbers only, so it may be logged. `code` is None when the body held none."""

    status: int
    code: int | None = None
    subcode: int | None = None
    type: str = ""
    transient: bool = False
    unsupported_method: bool = False
    session_key: bool = False
    wrong_app: bool = False
    of_exchange: bool = False
    human_agent: bool = False

    def __str__(self) -> str:
        """Say it as people look it up: `10/2534022 (HTTP 403)`."""
        code = "no code" if self.code is None else str(self.code)
        return f"{code}{f'/{self.subcode}' if self.subcode else ''} (HTTP {self.status})"

    @property
    def fault(self) -> Fault:
        """What this error calls for."""
        return classify(self)

    @property
    def refuses_a_send(self) -> bool:
        """Whether a send that was answered so was definitely not delivered."""
        return refuses_a_send(self)


def read_error(status: int, body: object) -> GraphError | None:
    """Return the error in an answer, None when it holds none. A 2xx may hold one too.

    A failure that holds no error of Instagram's comes from something on the way, as a proxy, and passes.
    """
    found = body.get("error") if isinstance(body, dict) else None
    if isinstance(found, dict):
        return _graph_shape(status, found)
    if isinstance(body, dict) and ("error_type" in body or "error_message" in body):
        return _oauth_shape(status, body)
    if found is not None:
        return GraphError(status=status)
    return None if 200 <= status < 300 else GraphError(status=status, transient=True)


def _graph_shape(status: int, found: Mapping[str, Any]) -> GraphError:
    message = str(found.get("message", ""))
    return GraphError(
        status=status,
        code=_number(found.get("code")),
        subcode=_number(found.get("error_subcode")),
        type=str(found.get("type", ""))[:40],
        transient=found.get("is_transient") is True,
        # The errors that carry no number of their own; these texts come in English only, as far as was seen.
        unsupported_method="Unsupported request - method type" in message,
        session_key="Session key invalid" in message,
        human_agent="Human Agent" in message,
    )


OUR_SETTINGS = ("redirect_uri", "platform app", "client_secret", "client secret")
"""What the code exchange says of a wrong REDIRECT_URI, app id or secret; everything else is about the code."""


def _oauth_shape(status: int, body: Mapping[str, Any]) -> GraphError:
    """Read an error of the code exchange: its `code` is the HTTP status, only the text tells our settings' fault."""
    message = str(body.get("error_message", ""))
    return GraphError(
        status=status,
        code=_number(body.get("code")),
        type=str(body.get("error_type", ""))[:40],
        wrong_app=any(words in message for words in OUR_SETTINGS),
        of_exchange=True,
    )


def _number(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    text = str(value).strip() if isinstance(value, str) else ""
    return int(text) if text.lstrip("-").isdigit() and text.isascii() else None


def classify(error: GraphError) -> Fault:
    """Return what an error calls for; the subcode goes before the code."""
    code, subcode = error.code, error.subcode or 0
    if code is None:
        return _without_code(error)
    if (code, subcode) in BY_SUBCODE:
        return BY_SUBCODE[code, subcode]
    if error.of_exchange:
        return _exchange_fault(error)
    if code in DEAD_TOKEN_CODES:
        return _dead_token(error)
    if code in TRANSIENT_CODES:
        return Fault.TRANSIENT
    if code in LIMIT_CODES or error.status == 429:
        return Fault.RATE_LIMITED
    return _by_words(error) or _by_code(error, code)


def _by_words(error: GraphError) -> Fault | None:
    """The errors whose number says less than their text. 102, which is a dead token, shares the second's words."""
    if error.unsupported_method and error.code == 100:
        return Fault.SETUP
    if error.session_key:
        return Fault.ALREADY_LONG_LIVED
    return Fault.TAG_REFUSED if error.human_agent else None


def _by_code(error: GraphError, code: int) -> Fault:
    if 200 <= code <= 299 and code != 230:
        return Fault.ACCOUNT_LIMITED
    return BY_CODE.get(code, Fault.TRANSIENT if error.transient else Fault.UNKNOWN_CODE)


def _exchange_fault(error: GraphError) -> Fault:
    """The code exchange's errors: too many, our settings, or else a code that is spent or unknown."""
    if error.status == 429 or error.code == 429:
        return Fault.RATE_LIMITED
    if error.status >= 500:
        return Fault.TRANSIENT
    return Fault.SETUP if error.wrong_app else Fault.CODE_SPENT


def _dead_token(error: GraphError) -> Fault:
    """Code 0 means a dead token only as an OAuthException; elsewhere it means nothing at all."""
    if error.code == 0 and error.type != "OAuthException":
        return Fault.UNKNOWN_CODE
    return Fault.TOKEN_DEAD


def _without_code(error: GraphError) -> Fault:
    if error.status == 429:
        return Fault.RATE_LIMITED
    if error.status >= 500 or error.transient or 200 <= error.status < 300:
        return Fault.TRANSIENT
    return Fault.UNKNOWN_CODE


TIMED_OUT = frozenset({408, 499})
"""A proxy's statuses for a call that it may have passed on."""


def refuses_a_send(error: GraphError) -> bool:
    """Say whether a send answered with this error was definitely not delivered; else its outcome is unknown.

    Unknown are: an answer without a code (but for a 4xx: whoever says that did not pass the call on, unless it timed
    out), any passing fault, an error inside a 200, a 5xx (but for 2500, our own mistake in the address), 1/1357046,
    which Meta documents as sent, and 4/2207051, seen on calls that had worked.
    """
    if error.code is None:
        return 400 <= error.status < 500 and error.status not in TIMED_OUT
    if error.code == 2500:
        return True
    if 200 <= error.status < 300 or error.status >= 500:
        return False
    if error.transient and error.fault not in LIMITS:  # a limit passes, and what it stopped was not sent
        return False
    if error.code in TRANSIENT_CODES and (error.code, error.subcode or 0) not in BY_SUBCODE:
        return False
    return (error.code, error.subcode) != (4, 2207051)


class GraphFailure(Unavailable):
    """A call that did not succeed. Its text holds numbers and class names, never an address or a token."""

    def __init__(
        self,
        message: str,
        *,
        reached: bool,
        error: GraphError | None = None,
        usage: Usage | None = None,
        slow: bool = False,
    ) -> None:
        """Keep what was answered, if anything was; `slow` when nothing was in time."""
        super().__init__(message)
        self.reached = reached
        self.slow = slow
        self.error = error
        self.usage = usage or Usage()

    @property
    def fault(self) -> Fault:
        """What the failure calls for; silence is a passing fault."""
        return self.error.fault if self.error else Fault.TRANSIENT

    @property
    def refused(self) -> bool:
        """Whether a send that failed so was certainly not delivered."""
        return not self.reached or (self.error is not None and self.error.refuses_a_send)
