"""send_instagram_message: the one place from which words leave for Instagram, and the ledger around it.

`sending` is written, with every test in the same conditional write, before the POST; the POST's answer is recorded
whoever holds the conversation by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog
from msgspec.structs import replace

from services.common.errors import BotError, Unavailable
from services.common.graph import GraphFailure
from services.responder import echoes, ledger, pauses, posted, sending
from services.responder.account import Account, HoldReason
from services.responder.answers import Consequence
from services.responder.book import AccountBook
from services.responder.faults import Faults
from services.responder.message import Author
from services.responder.metrics import ResponderMetrics, SendOutcome
from services.responder.model import Conversation, Part, Reply, Wait
from services.responder.outside import AccountHeld, BreakerOpen, Instagram, Lent, Tokens
from services.responder.pauses import paused_at
from services.responder.ports import Store
from services.responder.posted import Posted, PostResult
from services.responder.sending import Void
from services.responder.setbacks import back_off
from services.responder.times import Policy, Times

log = structlog.get_logger(__name__)


class LostLease(BotError):
    """Another worker has the conversation; this one must not write or send."""


COUNTED = {
    Posted.SENT: SendOutcome.SENT,
    Posted.REFUSED: SendOutcome.REFUSED,
    Posted.NOT_SENT: SendOutcome.RETRY,
    Posted.UNKNOWN: SendOutcome.UNKNOWN,
}


@dataclass
class Poster:
    """Posts parts and keeps the ledger."""

    store: Store
    book: AccountBook
    tokens: Tokens
    instagram: Instagram
    metrics: ResponderMetrics
    policy: Policy
    times: Times
    pace: Callable[[str], Awaitable[None]]  # waits for the account's turn: SENDS_PER_SECOND
    monotonic: Callable[[], float]  # seconds
    reached: Callable[[str], None]  # names each step; tests kill the process at one
    jitter: Callable[[], float]  # a random number from 0 to 1
    faults: Faults = field(init=False)

    def __post_init__(self) -> None:
        """Heed what its failures mean for accounts."""
        self.faults = Faults(self.book, self.tokens, self.times)

    async def send_draft(
        self, row: Conversation, draft: Reply, lent: Lent, fence: int, *, spent: float = 0
    ) -> Conversation | None:
        """Pass the point of no return with a new reply and post its first part; `spent` are the model's seconds."""
        due_at = row.due_at
        await self.pace(row.account)
        began = self.monotonic()
        while True:
            try:
                begun = await self.tested(row, draft, fence)
            except AccountHeld:
                await self.store.conversations.save(row)  # the text goes, what was learned of the person stays
                raise
            if isinstance(begun, Void):
                return await self.give_up(row, begun, fence)
            self.reached("before_begin")
            saved = await self.store.conversations.save(begun)
            if saved is not None:
                self.reached("after_begin")
                owed = None if due_at is None else due_at / 1000 + spent
                return await self.send_instagram_message(saved, 0, lent, began, owed=owed)
            row = await self.again(row, fence)

    async def tested(self, row: Conversation, draft: Reply, fence: int) -> Conversation | Void:
        """Apply the tests of the point of no return; an account that was paused a moment ago counts as well."""
        now = self.store.clock.now()
        if paused_at(await self.sendable(row.account), now):
            return Void.PAUSED
        return sending.begin(row, draft, fence=fence, now=now, policy=self.policy)

    async def sendable(self, account: str) -> Account:
        """Return the account's row as it is now; AccountHeld when it cannot send."""
        found = await self.book.current(account, fresh=True)
        if self.book.holds(found):
            raise AccountHeld(found.hold or HoldReason.RATE_LIMITED)
        return found

    async def give_up(self, row: Conversation, why: Void, fence: int) -> Conversation | None:
        """Throw a text away: the conversation is asked anew what it needs."""
        if why is Void.FENCE:
            raise LostLease("another worker has the conversation")
        log.info("text_thrown_away", account=row.account, reason=why)
        newest = await self.again(row, fence)
        if why is not Void.SUPERSEDED:
            return newest
        return await self.write(newest, lambda found: replace(found, superseded=found.superseded + 1))

    async def send_part(self, row: Conversation, n: int, lent: Lent, fence: int) -> Conversation | None:
        """Post a further part, or one again; a test that fails ends the reply."""
        await self.pace(row.account)
        began = self.monotonic()
        now = self.store.clock.now()
        account = await self.sendable(row.account)
        begun = sending.resume_part(row, n, fence=fence, now=now, policy=self.policy)
        by_bot = row.reply is not None and row.reply.author is Author.BOT
        if not isinstance(begun, Void) and by_bot and paused_at(account, now):
            begun = Void.PAUSED
        if begun is Void.FENCE:
            raise LostLease("another worker has the conversation")
        if isinstance(begun, Void):
            dropped = ledger.drop_unsent(row)
            superseded = dropped.superseded + (begun is Void.SUPERSEDED)
            return await self.store.conversations.save(replace(dropped, superseded=superseded))
        self.reached("before_part")
        saved = await self.store.conversations.save(begun)
        if saved is None:
            return None
        self.reached("after_part")
        return await self.send_instagram_message(saved, n, lent, began)

    async def send_instagram_message(
        self, row: Conversation, n: int, lent: Lent, began: float, *, owed: float | None = None
    ) -> Conversation | None:
        """Post part n, which the row shows in `sending`, and record what came of it.

        `began` is this process's clock from before that was written: too late, and nothing is posted. `owed` is when
        (seconds) a reply would go out that costs us no time.
        """
        reply = row.reply
        if reply is None:
            raise AssertionError("a part is posted only for the reply in hand")
        part = reply.parts[n]
        if (self.monotonic() - began) * 1000 > self.times.post_within:
            return await self.write(row, lambda now: posted.not_posted(now, reply.id, n, part.attempt, fence=row.fence))
        self.reached("before_post")
        if owed is not None:
            self.metrics.added_seconds.observe(max(0.0, self.store.clock.now() / 1000 - owed))
        result, effect = await self.post(row, reply, part, lent)
        self.reached("after_post")
        self.metrics.sends.labels(COUNTED[result.posted]).inc()
        written = await self.record(row, reply, part, result)
        self.reached("after_record")
        if effect is not None:
            await self.carry(row, effect, lent)
        elif result.posted is Posted.SENT:
            await self.book.release(row.account)
            self.observe(reply, part)
        return written

    async def post(
        self, row: Conversation, reply: Reply, part: Part, lent: Lent
    ) -> tuple[PostResult, tuple[Consequence, GraphFailure] | None]:
        """Make the POST and read its answer. Cut off, at the end of a drain that is shorter, its outcome is unknown."""
        within = self.times.post_timeout / 1000
        try:
            tag = sending.needs_tag(row, reply, part)
            mid = await self.instagram.post_text(lent, row.person, part.text, human_agent=tag, within=within)
        except BreakerOpen:  # since the pass asked; the next one meets it before it writes anything
            wait = back_off(0, jitter=self.jitter(), times=self.times)
            return PostResult(posted=Posted.NOT_SENT, error=Wait.BREAKER_OPEN, wait=wait), None
        except GraphFailure as failure:
            wait = back_off(part.attempt - 1, jitter=self.jitter(), times=self.times)
            effect = await self.faults.meaning(lent, failure, back_off=wait)
            log.warning("send_failed", account=row.account, reply=reply.id, part=part.n, error=effect.result.error)
            return effect.result, (effect, failure)
        if not mid:
            return PostResult(posted=Posted.UNKNOWN, error="an answer without a mid"), None
        return PostResult(posted=Posted.SENT, mid=mid), None

    async def record(self, row: Conversation, reply: Reply, part: Part, result: PostResult) -> Conversation | None:
        """Write down what the POST came to, whoever holds the conversation now."""

        def rule(now_row: Conversation) -> Conversation | None:
            now = self.store.clock.now()
            changed = posted.record_post(now_row, reply.id, part.n, part.attempt, result, now=now, times=self.times)
            if changed is None:
                return None
            changed = echoes.decide(changed, now=now, times=self.times, policy=self.policy)
            return changed if changed.fence == row.fence else replace(changed, due_at=now)

        return await self.write(row, rule)

    async def write(
        self, row: Conversation, rule: Callable[[Conversation], Conversation | None]
    ) -> Conversation | None:
        """Write the row by a rule, again until nobody was faster; keep trying while the store is away."""
        fence = row.fence
        wait = 0.1
        while True:
            try:
                changed = rule(row)
                if changed is None:
                    return await self.again(row, fence)
                saved = await self.store.conversations.save(changed)
                if saved is not None:
                    return saved if saved.fence == fence else None
                row = await self.reload(row)
            except Unavailable:
                await asyncio.sleep(wait)
                wait = min(wait * 2, 2.0)

    async def carry(self, row: Conversation, effect: tuple[Consequence, GraphFailure], lent: Lent) -> None:
        """Hold the account, tell the token service, step aside: what a failure means beyond its part."""
        what, failure = effect
        if what.pause:
            now = self.store.clock.now()
            until = now + self.policy.takeover
            await self.write(row, lambda found: pauses.pause(found, until=until, now=now))
        await self.faults.follow(what, lent, failure)
        if what.hold is not None:
            raise AccountHeld(what.hold)

    def observe(self, reply: Reply, part: Part) -> None:
        """Time from the customer's message to its first part on the way."""
        if part.n == 0 and reply.answers:
            waited = self.store.clock.now() - max(one.at for one in reply.answers)
            self.metrics.reply_seconds.observe(max(0, waited) / 1000)

    async def reload(self, row: Conversation) -> Conversation:
        """Read the row as it is now."""
        found = await self.store.conversations.load(row.account, row.person)
        if found is None:
            # What this pass wrote beside the row may have come after the erasure: it goes as well.
            await self.store.erasing.erase(row.account, row.person)
            raise LostLease("the conversation was erased")
        return found

    async def again(self, row: Conversation, fence: int) -> Conversation:
        """Read the row as it is now; LostLease when another worker has it."""
        found = await self.reload(row)
        if found.fence != fence:
            raise LostLease("another worker has the conversation")
        return found
