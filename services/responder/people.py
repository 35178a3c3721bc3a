"""What people do with conversations: look, pause, resume, retry, settle what is held, write themselves, erase."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog
from msgspec.structs import replace

from services.common.errors import NotFound, Refused, Unavailable, Undeliverable
from services.responder import ending, ledger, pauses, record
from services.responder.account import Account
from services.responder.book import AccountBook
from services.responder.decide import state_of
from services.responder.message import Author, Message
from services.responder.model import Conversation, Part, PartState, Pause, Reply, State, Wait
from services.responder.ports import Store
from services.responder.times import Policy, Times
from services.responder.words import clean, digest, split

log = structlog.get_logger(__name__)

PAGE = 200
OUTCOME_WITHIN = 20.0
POLL = 0.05
MAX_PARTS_OF_A_PERSON = 10


@dataclass(frozen=True, slots=True)
class Story:
    """Everything about one conversation."""

    row: Conversation
    messages: list[Message]
    replies: list[Reply]


@dataclass
class People:
    """The use cases behind igbot.responder.v1.Conversations."""

    store: Store
    book: AccountBook
    policy: Policy
    times: Times
    wake: Callable[[str, int], None]
    new_id: Callable[[], str]

    # --- look ------------------------------------------------------------------------------------------------------

    async def find(self, *, account: str, state: str, limit: int) -> list[Conversation]:
        """Return conversations, the last active first, of one state or of all."""
        if state and state not in set(State):
            raise Refused(f"state must be one of {', '.join(State)}")
        professional = (await self.known(account)).account if account else ""
        found: list[Conversation] = []
        async for row in self.rows(professional):
            whose = await self.book.current(row.account)
            if not state or state_of(row, whose, now=self.store.clock.now()) == state:
                found.append(row)
            if len(found) >= limit:
                break
        return found

    async def rows(self, account: str) -> AsyncIterator[Conversation]:
        """Go through the rows of one account or of all."""
        offset = 0
        while True:
            page = await self.store.conversations.find(account=account, limit=PAGE, offset=offset)
            for row in page:
                yield row
            if len(page) < PAGE:
                return
            offset += PAGE

    async def get(self, account: str, person: str) -> Story:
        """Return the whole story of one conversation."""
        row = await self.row(account, person)
        replies = await self.store.sends.of(row.account, person, PAGE)
        in_hand = [row.reply] if row.reply else []
        bots = {part.mid for reply in (*replies, *in_hand) for part in reply.parts if part.mid}
        messages = await self.store.messages.recent(row.account, person, PAGE)
        # An echo that came before its POST was answered is stored as a person's; the ledger knows better.
        told = [
            replace(one, author=Author.BOT) if one.mid in bots and one.author is Author.HUMAN else one
            for one in messages
        ]
        return Story(row, told, [*replies, *in_hand])

    async def row(self, account: str, person: str) -> Conversation:
        """Return one row, NotFound when there is none."""
        professional = (await self.known(account)).account
        row = await self.store.conversations.load(professional, person)
        if row is None:
            raise NotFound("no such conversation")
        return row

    async def known(self, account: str) -> Account:
        """Return an account that has or had conversations here, by either id."""
        found = await self.book.find(account)
        if found is None:
            raise NotFound("no such account")
        return found

    # --- pause, resume, retry --------------------------------------------------------------------------------------

    async def pause(self, *, account: str, person: str, until: int) -> int:
        """Silence the bot for a person, an account or everybody; return how many rows changed."""
        now = self.store.clock.now()
        if until and until <= now:
            raise Refused("the pause must end in the future")
        if person:
            await self.change(await self.row(account, person), lambda row: pauses.pause(row, until=until, now=now))
            return 1
        accounts = await self.accounts(account)
        for one in accounts:
            await self.book.change(one.account, lambda row: pauses.pause_account(row, until=until, now=now))
            await self.stop_drafts(one.account)
        return len(accounts)

    async def stop_drafts(self, account: str) -> None:
        """Make every text that is being written for this account fail its version test."""
        async for row in self.rows(account):
            if row.due_at is not None:
                with suppress(NotFound):  # erased meanwhile
                    await self.change(row, lambda one: replace(ledger.silenced(one), version=one.version + 1))

    async def resume(self, *, account: str, person: str, answer_pending: bool) -> int:
        """End the pauses of a person, an account or everybody; return how many rows changed."""
        now = self.store.clock.now()
        if person:
            row = await self.row(account, person)
            await self.change(row, lambda one: pauses.resume(one, answer_pending=answer_pending, now=now))
            return 1
        accounts = await self.accounts(account)
        for one in accounts:
            await self.book.change(
                one.account,
                lambda row: pauses.resume_account(row, answer_pending=answer_pending, now=now, keep=self.policy.stale),
            )
            await self.resume_taken_over(one.account, answer_pending=answer_pending, now=now)
            self.wake(one.account, now)
        return len(accounts)

    async def resume_taken_over(self, account: str, *, answer_pending: bool, now: int) -> None:
        """End the pauses of its own conversations now; the others hear of the account when next looked at."""
        async for row in self.rows(account):
            if row.waiting_for is Wait.PAUSED or pauses.paused_at(row, now):
                with suppress(NotFound):  # erased meanwhile
                    await self.change(row, lambda one: pauses.resume(one, answer_pending=answer_pending, now=now))

    async def accounts(self, account: str) -> list[Account]:
        """Return the named account, or all."""
        return [await self.known(account)] if account else await self.store.accounts.all()

    async def retry(self, account: str, person: str) -> None:
        """Make a conversation due at once."""
        now = self.store.clock.now()
        await self.change(await self.row(account, person), lambda row: record.retry(row, now=now))

    async def change(self, row: Conversation, rule: Callable[[Conversation], Conversation]) -> Conversation:
        """Write a row by a rule, again until nobody was faster."""
        while True:
            saved = await self.store.conversations.save(rule(row))
            if saved is not None:
                self.wake(saved.account, saved.due_at or 0)
                return saved
            found = await self.store.conversations.load(row.account, row.person)
            if found is None:
                raise NotFound("the conversation was erased")
            row = found

    # --- held ------------------------------------------------------------------------------------------------------

    async def held(self, account: str) -> list[Reply]:
        """Return the replies of which nobody could find out whether they arrived."""
        return await self.store.sends.held((await self.known(account)).account if account else "")

    async def resolve(self, reply_id: str, part: int, decision: str) -> None:
        """A person looked into Instagram: send the part once more, or leave it."""
        reply = await self.store.sends.get(reply_id)
        if reply is None or not 0 <= part < len(reply.parts) or reply.parts[part].state is not PartState.HELD:
            raise NotFound("no such held part")
        if decision not in {"resend", "drop"}:
            raise Refused("decision must be resend or drop")
        row = await self.row(reply.account, reply.person)
        if decision == "resend":
            if self.store.clock.now() >= row.window_closes_at:
                raise Undeliverable("window_closed: the customer wrote more than 24 hours ago")
            if not reply.parts[part].text:
                raise Undeliverable("text_gone: the retention took the words away; write to the person anew")
            again = self.words(row, reply.parts[part].text, f"{reply_id}-{part}-again")

            def said_again(one: Conversation, now: int) -> Conversation:
                return record.with_words(record.with_room(one, now, self.times), again, now)

            await self.hand_in(row, again.id, said_again)
        # Its echo may have come while the person decided: then it is sent, and stays so.
        dropped = await self.store.sends.change(reply_id, lambda found: ending.given_up(found, part))
        settled = dropped or await self.store.sends.get(reply_id)
        if settled is None or not any(one.state is PartState.HELD for one in settled.parts):
            await self.change(row, lambda one: replace(one, held=tuple(each for each in one.held if each != reply_id)))

    # --- a person's own words --------------------------------------------------------------------------------------

    async def say(self, *, account: str, person: str, text: str, request_id: str) -> Reply:
        """Send a person's words by the same ledger; the bot steps aside as if they had been typed in Instagram."""
        text = clean(text).strip()
        if not text:
            raise Refused("text is empty")
        row = await self.row(account, person)
        reply_id = digest(f"{row.account}|{person}|{request_id}")[:32] if request_id else self.new_id()

        def said(one: Conversation, now: int) -> Conversation:
            one = record.with_room(one, now, self.times)  # what the bot was about to answer is unanswered again
            answering = self.words(one, text, reply_id)
            answering = replace(answering, answers=one.unanswered, human_agent=self.policy.human_agent)
            pause = Pause(since=now, until=now + self.policy.takeover)
            return replace(record.with_words(one, answering, now), unanswered=(), pauses=(*one.pauses, pause))

        await self.hand_in(row, reply_id, said)
        return await self.outcome(row, reply_id)

    async def hand_in(
        self, row: Conversation, reply_id: str, rule: Callable[[Conversation, int], Conversation]
    ) -> None:
        """Put words into the row, once: a reply is in `sends` before it leaves the row, and the row is read first.

        Words that the rule refuses leave nothing behind. The account's row names the person before the words are
        there: killed in between, the next claim finds none and forgets the name; the other way round they would wait
        for as long as the account is paused.
        """
        while not await self.taken(row, reply_id):
            changed = rule(row, self.store.clock.now())
            await self.book.speaks(row.account, row.person)
            saved = await self.store.conversations.save(changed)
            if saved is not None:
                self.wake(saved.account, saved.due_at or 0)
                for reply in [one for one in changed.unsettled if one not in row.unsettled]:
                    await self.store.sends.put(reply)  # what made way; until it is settled the row has it too
                return
            try:
                row = await self.row(row.account, row.person)
            except NotFound:  # erased meanwhile, perhaps before the account's row named the person
                await self.book.spoke(row.account, row.person)
                raise

    async def taken(self, row: Conversation, reply_id: str) -> bool:
        """Whether these words were given before."""
        if any(one.id == reply_id for one in ledger.replies_in(row)):
            return True
        return await self.store.sends.get(reply_id) is not None

    def words(self, row: Conversation, text: str, reply_id: str) -> Reply:
        """Return a person's words as a reply; Undeliverable when Instagram's windows are closed for them."""
        now = self.store.clock.now()
        late = now >= row.window_closes_at
        last_chance = row.window_closes_at + self.policy.human_agent_window - self.policy.window
        if late and not (self.policy.human_agent and now < last_chance):
            raise Undeliverable("window_closed: the customer wrote more than 24 hours ago")
        texts = split(text, parts=MAX_PARTS_OF_A_PERSON + 1)
        if len(texts) > MAX_PARTS_OF_A_PERSON:
            raise Refused(f"the text is longer than {MAX_PARTS_OF_A_PERSON} messages")
        return Reply(
            id=reply_id,
            account=row.account,
            person=row.person,
            author=Author.HUMAN,
            answers=(),
            parts=tuple(Part(n=n, text=one, sha256=digest(one)) for n, one in enumerate(texts)),
            created_at=now,
            version=row.version,
            final=True,
        )

    async def outcome(self, row: Conversation, reply_id: str) -> Reply:
        """Wait a while for what becomes of the words; the reply as the row has it when that takes longer."""
        for _ in range(int(OUTCOME_WITHIN / POLL)):
            ended = await self.store.sends.get(reply_id)
            if ended is not None:
                return ended
            await asyncio.sleep(POLL)
        now = await self.store.conversations.load(row.account, row.person)
        found = next((one for one in ledger.replies_in(now) if one.id == reply_id), None) if now else None
        if found is None:
            raise Unavailable("the words were taken and are not to be found yet")
        return found

    # --- erase -----------------------------------------------------------------------------------------------------

    async def erase(self, account: str, person: str) -> int:
        """Erase everything about a person, or with an empty person about an account, in this store."""
        found = await self.book.find(account)
        erased = await self.store.erasing.erase(found.account if found else account, person)
        if found and person:
            await self.book.spoke(found.account, person)  # the account's row names those to whom words wait
        self.book.seen.clear()
        self.book.ids.clear()
        log.info("conversations_erased", whole_account=not person, documents=erased)
        return erased
