"""handle_message: one pass over a claimed conversation, from "what is wanted" to "made so".

The row says what is wanted; `decide.next_step` says what to do next; each step writes the row conditionally. The pass
may be killed between any two lines: the lease runs out and the next worker asks the same question of the same row.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import structlog
from msgspec.structs import replace

from services.common.account_state import AccountState
from services.common.errors import BotError, NotConnected, UnknownAccount
from services.responder import decide, ledger, posted, settle
from services.responder.account import HoldReason
from services.responder.book import AccountBook
from services.responder.compose_reply import Composer, Draft
from services.responder.finish_reply import Finisher
from services.responder.metrics import ResponderMetrics, SendOutcome, Skip
from services.responder.model import Conversation, Handover, Mark, PartState, Reply, Wait
from services.responder.news import told
from services.responder.outside import AccountHeld, Instagram, Lent, Tokens, TokensDown
from services.responder.ports import Store
from services.responder.post import LostLease, Poster
from services.responder.setbacks import set_back, set_back_too, wait_for
from services.responder.times import Policy, Times

log = structlog.get_logger(__name__)


def unheard(_row: Conversation, _news: Handover) -> bool:
    """Tell nobody."""
    return False


REMEMBERED = 1_000
MAX_STEPS = 200
"""No pass takes more: each step changes the row, so more would be a loop, and a loop must be seen."""


@dataclass
class Worker:
    """Carries conversations on. One per process; its name is the leases' owner."""

    store: Store
    book: AccountBook
    tokens: Tokens
    instagram: Instagram
    composer: Composer
    poster: Poster
    metrics: ResponderMetrics
    policy: Policy
    times: Times
    lease_ms: int
    jitter: Callable[[], float]
    stopping: asyncio.Event
    handover: Callable[[Conversation, Handover], bool] = unheard  # tells a person; whether that must be repeated
    finisher: Finisher = field(init=False)
    counted: dict[tuple[str, str], None] = field(default_factory=dict)  # the latest skips

    def __post_init__(self) -> None:
        """Finish replies in the same store."""
        self.finisher = Finisher(self.store, self.metrics, self.poster.reached)

    async def handle_message(self, claimed: Conversation) -> None:
        """Work on a claimed conversation until nothing is left to do now, then release it."""
        try:
            async with self.kept(claimed):
                await self.pass_over(claimed)
        except LostLease:
            log.info("lease_lost", account=claimed.account, person=claimed.person)

    @contextlib.asynccontextmanager
    async def kept(self, claimed: Conversation) -> AsyncIterator[None]:
        """Renew the lease while the pass runs. A lost lease is noticed by the next write, which fails."""

        async def renew() -> None:
            while True:
                try:
                    if not await self.store.conversations.renew(claimed, self.lease_ms):
                        return
                except BotError as error:
                    log.warning("lease_not_renewed", error=str(error))
                await asyncio.sleep(self.lease_ms / 3000)

        # Most passes are over before the first renewal is due, and a timer costs less than a task.
        renewing: list[asyncio.Task[None]] = []
        due = asyncio.get_running_loop().call_later(
            self.lease_ms / 3000, lambda: renewing.append(asyncio.create_task(renew()))
        )
        try:
            yield
        finally:
            due.cancel()
            for task in renewing:
                task.cancel()

    async def pass_over(self, row: Conversation) -> None:
        """Take one step after the other."""
        fence, gone, probe = row.fence, False, self.book.probing.get(row.account)
        row = await self.settle_crash(row)
        for _ in range(MAX_STEPS):
            row = await self.carry_out(row)
            if self.stopping.is_set() and not ledger.in_flight(row):
                while await self.store.conversations.save(row, release=True) is None:
                    row = await self.again(row, fence)
                return
            account = await self.book.current(row.account)
            if gone:  # an account that was erased has no row to say so
                account = replace(account, state=AccountState.DISCONNECTED)
            now = self.store.clock.now()
            step = decide.next_step(row, account, now=now, times=self.times, policy=self.policy)
            if isinstance(step, decide.Rest):
                self.poster.reached("before_release")
                if await self.store.conversations.save(step.row, release=True):
                    self.poster.reached("after_release")
                    self.book.goes_on(row.account)
                    await self.book.give_back(row.account, probe)
                    return
                row = await self.again(row, fence)
                continue
            try:
                row = await self.take(step, row, fence) or await self.again(row, fence)
            except LostLease:
                raise
            except NotConnected:
                gone = True  # what is due is skipped
                row = await self.again(row, fence)
            except (BotError, TimeoutError) as error:
                await self.put_off(await self.again(row, fence), error)
                return
        raise RuntimeError("a pass that never ends")

    async def again(self, row: Conversation, fence: int) -> Conversation:
        """Read the row as it is now; LostLease when another worker has it."""
        return await self.poster.again(row, fence)

    async def settle_crash(self, row: Conversation) -> Conversation:
        """A part found in `sending` belongs to a worker that died: nobody knows whether it arrived."""
        found = posted.found_sending(row, self.times)
        if found == row:
            return row
        return await self.store.conversations.save(found) or await self.settle_crash(await self.again(row, row.fence))

    async def carry_out(self, row: Conversation) -> Conversation:
        """Bring the messages in line with what the row has decided about them."""
        row = told(row, self.handover, now=self.store.clock.now())
        if not row.marks:
            return row
        await self.store.messages.mark(row.marks)
        self.count(row.marks)
        return replace(row, marks=())

    def count(self, marks: tuple[Mark, ...]) -> None:
        """Count what gets no reply, once: marks stay in the row until it is written, which may take several turns."""
        for mark in marks:
            if mark.answered_by in SKIPS and (mark.key, mark.answered_by) not in self.counted:
                self.counted[mark.key, mark.answered_by] = None
                self.metrics.skips.labels(mark.answered_by).inc()
        while len(self.counted) > REMEMBERED:
            self.counted.pop(next(iter(self.counted)))

    async def take(self, step: decide.Step, row: Conversation, fence: int) -> Conversation | None:
        """Take one step; return the row as written, None when somebody else wrote it meanwhile."""
        match step:
            case decide.Change(changed):
                return await self.store.conversations.save(changed)
            case decide.Finish(ended, changed):
                spoke = ledger.has_words(ended) and not ledger.has_words(ledger.replies_in(changed))
                whose = await self.book.current(row.account, fresh=spoke)
                finished = await self.finisher.finish(ended, changed)
                if spoke:
                    await self.book.said_nothing(whose, row.person)
                return finished
            case decide.Look(reply, part):
                return await self.look(row, reply, part.n)
            case decide.SendPart(n):
                lent = await self.ready(row.account)
                return await self.poster.send_part(row, n, lent, fence)
            case decide.Confirm(answers):
                lent = await self.ready(row.account)
                return await self.begin(row, self.composer.confirm(row, answers), lent, fence)
            case decide.Write(answers, final):
                lent = await self.ready(row.account)
                return await self.begin(row, self.composer.compose(row, answers, lent, final=final), lent, fence)
            case _:
                raise AssertionError(step)

    async def ready(self, account: str) -> Lent:
        """Borrow the token of an account that may send; BreakerOpen costs no text, no move to `sending`, no call."""
        lent = await self.lend(account)
        await self.instagram.ready(lent)
        return lent

    async def lend(self, account: str) -> Lent:
        """Borrow the account's token. A token that cannot be lent holds the account: AccountHeld.

        NotConnected is raised only for an account that is not connected any more.
        """
        try:
            lent = await self.tokens.lend(account)
        except TokensDown as error:
            log.warning("token_not_lent", account=account, error=str(error))
            self.book.no_token(account)
            raise
        except UnknownAccount:
            await self.book.disconnect(account)
            raise NotConnected(AccountState.DISCONNECTED) from None
        except NotConnected as error:
            if str(error) == AccountState.DISCONNECTED:
                await self.book.disconnect(account)
                raise
            limited = str(error) == AccountState.LIMITED
            reason = HoldReason.ACCOUNT_LIMITED if limited else HoldReason.TOKEN_DEAD
            await self.book.hold(account, reason, for_ms=self.times.probe_every)
            raise AccountHeld(reason) from None
        self.book.goes_on(account)
        return lent

    async def begin(
        self, row: Conversation, composing: Coroutine[Any, Any, Composed], lent: Lent, fence: int
    ) -> Conversation | None:
        """Have a reply written and begin to send it; a text that was overtaken is thrown away."""
        draft = await self.unless_stopped(composing)
        if draft is None:
            return row  # told to stop: the pass releases the conversation at once
        if isinstance(draft, Draft):
            return await self.poster.send_draft(draft.row, draft.reply, lent, fence, spent=draft.spent)
        return await self.store.conversations.save(draft)

    async def unless_stopped(self, work: Coroutine[Any, Any, Composed]) -> Composed | None:
        """Return what the work returns; None as soon as the process is told to stop."""
        composing = asyncio.create_task(work)
        told = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait({composing, told}, return_when=asyncio.FIRST_COMPLETED)
            return composing.result() if composing.done() else None
        finally:
            told.cancel()
            composing.cancel()

    async def look(self, row: Conversation, reply: Reply, n: int) -> Conversation | None:
        """Read the conversation for an unknown part, and write down what that shows."""
        account = await self.book.current(row.account)
        part = reply.parts[n]
        waits = [(self.store.clock.now() - part.check_at) / 1000]
        try:
            reading = await self.instagram.read(await self.lend(row.account), row.person, waited=waits.append)
        except (BotError, TimeoutError) as error:
            log.warning("conversation_unreadable", account=row.account, error=str(error))
            seen, mid = settle.Sight.UNREADABLE, ""
        else:
            mids = [one.mid for one in reading.messages] if reading else []
            known = ledger.mids_in(row)
            known |= {one for one in mids if one not in known and await self.store.sends.owns(row.account, one)}
            ours = {account.account, account.app_scoped_id} - {""}
            seen, mid = settle.sight(row, part, reading, ours=ours, known=known, times=self.times)
        now = self.store.clock.now()
        late = int(sum(waits) * 1000)
        changed = settle.looked(row, reply.id, n, seen, mid=mid, late=late, now=now, times=self.times)
        log.info("unknown_send_looked", account=row.account, reply=reply.id, part=n, seen=seen)
        saved = row if changed is None else await self.store.conversations.save(changed)
        if changed is not None and saved is not None:
            held = ledger.part_of(saved, reply.id, n).state is PartState.HELD
            self.metrics.sends.labels(SendOutcome.HELD).inc(held)
        return saved

    async def put_off(self, row: Conversation, error: Exception) -> None:
        """Release a conversation that cannot go on now: when to look again, and what it waits for."""
        now = self.store.clock.now()
        if isinstance(error, (AccountHeld, TokensDown)):
            await self.hand_back(row, now + self.times.pass_floor, wait_for(error))
            return
        row = set_back(row, error, now=now, jitter=self.jitter(), times=self.times, policy=self.policy)
        log.warning("conversation_put_off", account=row.account, error=type(error).__name__, tries=row.tries)
        while await self.store.conversations.save(row, release=True) is None:
            row = set_back_too(await self.again(row, row.fence), row)

    async def hand_back(self, row: Conversation, until: int, reason: Wait) -> None:
        """Release a conversation of an account that cannot send, or whose token nobody lends now.

        It stays due: no claim gets past the account.
        """
        while await self.store.conversations.save(replace(row, due_at=until, waiting_for=reason), release=True) is None:
            row = await self.again(row, row.fence)

    async def blame(self, claimed: Conversation, error: Exception) -> None:
        """A pass failed in a way that nobody foresaw: count it against the conversation, so that it cannot loop."""
        with contextlib.suppress(BotError):
            await self.put_off(await self.again(claimed, claimed.fence), error)


SKIPS = frozenset(skip.value for skip in Skip)
Composed = Draft | Conversation
