"""Instagram's API as the responder uses it, paced and behind a breaker for each account.

https://developers.facebook.com/docs/instagram-platform/instagram-api-with-instagram-login/messaging-api and
.../conversations-api (two calls a second an account).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from aiolimiter import AsyncLimiter
from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState

from services.common.graph import Answer, GraphClient, GraphFailure
from services.common.graph_errors import Fault
from services.common.graph_usage import Usage
from services.responder.model import FOREVER
from services.responder.outside import BreakerOpen, Lent, Reading, Shown, Talk
from services.responder.outside import unheard as no_wait

FIELDS = "id,created_time,from,to,message"
READABLE = 20
"""Only the newest messages of a conversation can be read in detail."""
PAGES = 40
"""An account's list of conversations, 25 a page, is read no further."""
LEFT_ALONE = "Instagram kept failing for this account"


UNIX_TIME = re.compile(r"[0-9]{1,12}(\.[0-9]+)?")


def not_the_networks_fault(error: GraphFailure) -> bool:
    """Whether Instagram answered something definite: such answers do not open the breaker."""
    return error.fault is not Fault.TRANSIENT


def unheard(_account: str, _usage: Usage) -> None:
    """Let usage headers be."""


@dataclass
class GraphInstagram:
    """The Graph API for the accounts' conversations."""

    client: GraphClient
    breakers: AsyncCircuitBreakerFactory = field(
        default_factory=lambda: AsyncCircuitBreakerFactory(
            default_threshold=8, default_ttl=15, exclude=[(GraphFailure, not_the_networks_fault)]
        )
    )
    readers: dict[str, AsyncLimiter] = field(default_factory=dict)
    pages: int = PAGES
    pauses: dict[str, AsyncLimiter] | None = None  # between the reads of whoever has time
    heard: Callable[[str, Usage], None] = unheard  # is told how much of the account's limits is used

    def unhurried(self) -> GraphInstagram:
        """Return the same for what nobody waits for: it reads once in two seconds an account, in the others' turn."""
        return replace(self, pauses={})

    async def post_text(self, lent: Lent, person: str, text: str, *, human_agent: bool, within: float) -> str:
        """Send one message and return its mid, empty when the answer holds none."""
        body: dict[str, Any] = {"recipient": {"id": person}, "message": {"text": text}}
        if human_agent:
            body |= {"messaging_type": "MESSAGE_TAG", "tag": "HUMAN_AGENT"}
        async with self.guarded(lent):
            answer = await self.client.post("me/messages", body, token=revealed(lent), timeout=within)
        self.heard(lent.account, answer.usage)
        return text_of(answer.body.get("message_id"))

    async def ready(self, lent: Lent) -> None:
        """Raise BreakerOpen while the account's API is left alone; asking is no call and changes nothing."""
        breaker = (await self.breakers.get_breaker(f"graph {lent.account}")).context
        if breaker.opened_at is not None and time.time() < breaker.opened_at + breaker.ttl:
            raise BreakerOpen(LEFT_ALONE)

    async def act(self, lent: Lent, person: str, action: Literal["mark_seen", "typing_on"]) -> None:
        """Show that the message was seen, or that an answer is being typed."""
        body = {"recipient": {"id": person}, "sender_action": action}
        await self.client.post("me/messages", body, token=revealed(lent), timeout=3)

    async def read(self, lent: Lent, person: str, *, waited: Callable[[float], None] = no_wait) -> Reading | None:
        """Return the newest messages; None when Instagram lists no such conversation."""
        whose = {"platform": "instagram", "user_id": person}
        listed = await self.look(lent, "me/conversations", whose, waited)
        found = [text_of(one.get("id")) for one in rows(listed.body.get("data"))]
        if not found or not found[0]:
            return None
        answer = await self.look(lent, found[0], {"fields": f"messages{{{FIELDS}}}"}, waited)
        messages = answer.body.get("messages")
        many = rows(messages.get("data")) if isinstance(messages, dict) else []
        more = isinstance(messages, dict) and bool(mapping(messages.get("paging")).get("next"))
        shown = [await self.detailed(lent, one, waited) for one in many[:READABLE]]
        readable = tuple(one for one in shown if one is not None and one.mid and one.sender and one.at)
        hidden = tuple(
            moment(one.get("created_time")) or FOREVER
            for one, found in zip(many, shown, strict=False)
            if found not in readable
        )
        return Reading(messages=readable, whole=not more and len(many) < READABLE, hidden=hidden)

    async def talks(self, lent: Lent, *, since: int) -> list[Talk]:
        """Return the account's conversations that changed since then, the last active first; 1,000 or so at most."""
        params = {"platform": "instagram", "fields": "id,updated_time,participants"}
        found: list[Talk] = []
        for _ in range(self.pages):
            answer = await self.look(lent, "me/conversations", params)
            listed = rows(answer.body.get("data"))
            found += [talk for one in listed if (talk := talk_of(one, lent))]
            # The address of the next page may hold a token: the cursor is enough.
            after = text_of(mapping(mapping(answer.body.get("paging")).get("cursors")).get("after"))
            if not listed or not after or 0 < moment(listed[-1].get("updated_time")) < since:
                break
            params = {**params, "after": after}
        return found

    async def username(self, lent: Lent, person: str) -> str:
        """Return the person's username, empty when the profile is hidden."""
        try:
            answer = await self.client.get(person, {"fields": "name,username"}, token=revealed(lent), timeout=3)
        except GraphFailure as failure:
            if failure.fault in {Fault.NO_PROFILE, Fault.GONE}:
                return ""
            raise
        return text_of(answer.body.get("username"))

    async def detailed(self, lent: Lent, one: Mapping[str, Any], waited: Callable[[float], None]) -> Shown | None:
        """Return a listed message, asked for by itself when the list holds only its id; None when that is gone.

        One that is listed as unsupported tells nobody who wrote it.
        """
        if "from" not in one and not one.get("is_unsupported"):
            try:
                detail = await self.look(lent, text_of(one.get("id")), {"fields": FIELDS}, waited)
                one = {**one, **detail.body}
            except GraphFailure as failure:
                if failure.fault is Fault.GONE:
                    return None
                raise
        return Shown(
            mid=text_of(one.get("id")),
            sender=text_of(mapping(one.get("from")).get("id")),
            at=moment(one.get("created_time")),
            text=str(one.get("message") or ""),
        )

    async def look(
        self, lent: Lent, path: str, params: Mapping[str, str], waited: Callable[[float], None] = no_wait
    ) -> Answer:
        """Read, in the account's turn."""
        began = asyncio.get_running_loop().time()
        if self.pauses is not None:
            await limiter(self.pauses, lent.account, calls=1, seconds=2).acquire()
        await limiter(self.readers, lent.account, calls=2, seconds=1).acquire()
        waited(asyncio.get_running_loop().time() - began)
        return await self.client.get(path, params, token=revealed(lent))

    @asynccontextmanager
    async def guarded(self, lent: Lent) -> AsyncIterator[None]:
        """Leave the account's API alone for a while when it kept failing."""
        try:
            async with await self.breakers.get_breaker(f"graph {lent.account}"):
                yield
        except OpenedState as error:
            raise BreakerOpen(LEFT_ALONE) from error


def limiter(of: dict[str, AsyncLimiter], account: str, *, calls: float, seconds: float) -> AsyncLimiter:
    """Return the account's limiter."""
    if account not in of:
        of[account] = AsyncLimiter(calls, seconds)
    return of[account]


def talk_of(one: Mapping[str, Any], lent: Lent) -> Talk | None:
    """Return a listed conversation with the person on its other side, None when nobody is there."""
    people = [text_of(each.get("id")) for each in rows(mapping(one.get("participants")).get("data"))]
    person = next((each for each in people if each not in {lent.account, lent.app_scoped_id, ""}), "")
    return Talk(person=person, updated_at=moment(one.get("updated_time"))) if person else None


def revealed(lent: Lent) -> str:
    """Return the token for the one line that sends it."""
    return lent.token.get_secret_value()


def mapping(value: object) -> Mapping[str, Any]:
    """Return the value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def rows(value: object) -> list[Mapping[str, Any]]:
    """Return the objects of a list, whatever else is in it."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def text_of(value: object) -> str:
    """Return an id: a string, or a number written as one."""
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def moment(value: object) -> int:
    """Return a time in milliseconds from ISO text or UNIX seconds, also as text; 0 when it is none of these."""
    text = "" if isinstance(value, bool) else str(value)
    try:
        seconds = float(text) if UNIX_TIME.fullmatch(text) else datetime.fromisoformat(text).timestamp()
        return max(0, int(seconds * 1000))
    except (ValueError, OverflowError):
        return 0
