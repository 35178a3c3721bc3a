"""Pages that an owner may end on, as values: a second callback shows what the first one came to."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum

from services.gateway.ports import Connected, ConnectFailed, ConnectFault


class Page(StrEnum):
    """Every page of the OAuth way; the template has its words."""

    CONNECTED = "connected"
    DECLINED = "declined"
    MISSING_SCOPES = "missing_scopes"
    CODE_SPENT = "code_spent"
    SETUP = "setup"
    NOT_PROFESSIONAL = "not_professional"
    REFUSED = "refused"
    UPSTREAM = "upstream"
    BAD_STATE = "bad_state"
    UNFINISHED = "unfinished"
    CLOSED = "closed"
    PASSWORD = "password"  # noqa: S105 - a page's name
    LOCKED_OUT = "locked_out"
    INVITE_USED = "invite_used"
    UNAVAILABLE = "unavailable"
    NOT_FOUND = "not_found"


STATUS = {
    Page.CONNECTED: 200,
    Page.DECLINED: 200,
    Page.MISSING_SCOPES: 200,
    Page.CODE_SPENT: 400,
    Page.SETUP: 502,
    Page.NOT_PROFESSIONAL: 200,
    Page.REFUSED: 502,
    Page.UPSTREAM: 502,
    Page.BAD_STATE: 400,
    Page.UNFINISHED: 502,
    Page.CLOSED: 403,
    Page.PASSWORD: 401,
    Page.LOCKED_OUT: 429,
    Page.INVITE_USED: 403,
    Page.UNAVAILABLE: 503,
    Page.NOT_FOUND: 404,
}


@dataclass(frozen=True, slots=True)
class Ending:
    """A page and what is shown on it; everything in it is escaped there."""

    page: Page
    username: str = ""
    detail: str = ""
    missing_fields: tuple[str, ...] = ()

    @property
    def status(self) -> int:
        """The HTTP status that goes with the page."""
        return STATUS[self.page]

    def text(self) -> str:
        """Return it as a store keeps it."""
        return json.dumps(asdict(self))


def ending_of(text: str) -> Ending:
    """Return what a store kept."""
    kept = json.loads(text)
    return Ending(Page(kept["page"]), kept["username"], kept["detail"], tuple(kept["missing_fields"]))


def connected(account: Connected) -> Ending:
    """Return the page of a connected account."""
    return Ending(Page.CONNECTED, account.username, missing_fields=account.missing_fields)


def failed(error: ConnectFailed) -> Ending:
    """Return the page of a failed connection; what the token service said of its own faults stays in the log."""
    shown = "" if error.fault in {ConnectFault.UPSTREAM, ConnectFault.UNFINISHED} else error.detail
    return Ending(Page(error.fault.value), detail=shown)
