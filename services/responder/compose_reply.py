"""From unanswered messages to a reply that may be sent: check, read the history, ask the model, split."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal

import structlog
from msgspec.structs import replace

from services.common.errors import BotError
from services.responder import first_contact, prompt, record
from services.responder.book import AccountBook
from services.responder.decide import MAX_SUPERSEDED
from services.responder.message import Author, Message
from services.responder.metrics import Skip
from services.responder.model import Conversation, Mark, Part, PartState, Pending, Reply
from services.responder.outside import Instagram, Lent, ModelDown, Turn, Writer
from services.responder.ports import Store
from services.responder.taps import tapped
from services.responder.times import DAY, MINUTE, Policy
from services.responder.words import MAX_BYTES, clean, digest, is_word, plain, split

log = structlog.get_logger(__name__)

HISTORY = 30
FIRST_CONTACT_WITHIN = 1.0
TYPING_AFTER = 0.3
"""Seconds; nobody can see a sign that the answer replaces at once, and each costs a call."""
PROFILE_WITHIN = 1.5
PROFILE_AGAIN = 1 * MINUTE
"""After a failure: the other side may be a connected account's bot, so one that was not seen is looked for soon."""
CONFIRMATION = "Done: you will get no more automatic replies here."


@dataclass(frozen=True, slots=True)
class Draft:
    """A reply that is written and not yet begun, and the row that it is for, with what was learned on the way."""

    reply: Reply
    row: Conversation
    spent: float = 0  # seconds that the model took


@dataclass
class Composer:
    """Writes replies."""

    store: Store
    book: AccountBook
    instagram: Instagram
    writer: Writer
    policy: Policy
    system_prompt: str
    new_id: Callable[[], str]
    gap_check: bool
    aside: set[asyncio.Task[None]] = field(default_factory=set)

    async def compose(
        self, row: Conversation, answers: tuple[Pending, ...], lent: Lent, *, final: bool
    ) -> Draft | Conversation:
        """Return a draft that answers the messages, or the row as it must be written instead of one."""
        if self.gap_check and not row.greeted:
            return await self.first_contact(row, lent)
        asked = await self.store.messages.get([one.key for one in answers])
        corrected = in_line_with(row, answers, asked, now=self.store.clock.now(), policy=self.policy)
        if corrected != row:
            return corrected
        typing = self.show(row, lent)
        naming = asyncio.create_task(self.named(row, lent))
        try:
            text, fallback, spent = await self.text(row, asked)
            row = await naming
        except BotError:
            named = await naming
            if named != row:  # so that no further try reads the profile again
                await self.store.conversations.save(named)
            raise
        finally:
            typing.cancel()
            naming.cancel()
        if row.username and row.username.casefold() in self.book.usernames:
            return skipped(row, answers, Skip.OWN_ACCOUNT)
        return Draft(replace(self.reply(row, answers, text, final=final), fallback=fallback), row, spent)

    async def text(self, row: Conversation, asked: list[Message]) -> tuple[str, bool, float]:
        """Return the model's words as plain text, that they are not the fallback, and the seconds they took.

        The fallback stands in, once, when the model fails past the deadline.
        """
        history = await self.store.messages.recent(row.account, row.person, HISTORY)
        unsent = [p.text for one in row.unsettled for p in one.parts if p.state is PartState.UNKNOWN]
        turns = prompt.turns(self.system_prompt, history, unsent, asked)
        waited = self.store.clock.now() - min(one.recorded_at for one in asked)
        late = waited >= self.policy.reply_deadline
        asked_at = asyncio.get_running_loop().time()
        try:
            text = await self.ask(turns)
        except ModelDown:
            if not (late and self.policy.fallback_text) or row.fell_back:
                raise
            text, fallback = self.policy.fallback_text, True
        else:
            fallback = False
        return text, fallback, asyncio.get_running_loop().time() - asked_at

    async def ask(self, turns: list[Turn]) -> str:
        """Return what the model says, as plain text that is not empty."""
        written = await self.writer.write_reply(turns, within=self.policy.reply_deadline / 1000)
        text = plain(clean(written.text))
        if not text:
            raise ModelDown("nothing but Markdown in the model's answer")
        return text

    def reply(self, row: Conversation, answers: tuple[Pending, ...], text: str, *, final: bool) -> Reply:
        """Return the reply, cut into parts."""
        return self.made(row, answers, split(text, parts=self.policy.max_parts), final=final)

    async def confirm(self, row: Conversation, answers: tuple[Pending, ...]) -> Draft | Conversation:
        """Return the one message that confirms an opt-out, or the row when its stop word is gone after all."""
        asked = await self.store.messages.get([one.key for one in answers])
        corrected = in_line_with(row, answers, asked, now=self.store.clock.now(), policy=self.policy)
        if corrected != row:
            return corrected
        final = row.superseded >= MAX_SUPERSEDED
        return Draft(replace(self.made(row, answers, [confirmation(self.policy)], final=final), confirms=True), row)

    def made(self, row: Conversation, answers: tuple[Pending, ...], texts: list[str], *, final: bool) -> Reply:
        """Build the record of a reply that nothing was sent of."""
        return Reply(
            id=self.new_id(),
            account=row.account,
            person=row.person,
            author=Author.BOT,
            answers=answers,
            parts=tuple(Part(n=n, text=text, sha256=digest(text)) for n, text in enumerate(texts)),
            created_at=self.store.clock.now(),
            version=row.version,
            final=final,
        )

    # --- beside the reply, never in its way --------------------------------------------------------------------------

    def show(self, row: Conversation, lent: Lent) -> asyncio.TimerHandle:
        """Show "seen" now and "typing" if the text takes its time; nothing waits for it and nothing depends on it.

        Cancel what it returns as soon as there is a text: "typing" must not appear after the answer.
        """

        async def act(action: Literal["mark_seen", "typing_on"]) -> None:
            try:
                await self.instagram.act(lent, row.person, action)
            except (BotError, TimeoutError) as error:
                log.debug("not_shown", account=row.account, action=action, error=type(error).__name__)

        self.beside(act("mark_seen"))
        return asyncio.get_running_loop().call_later(TYPING_AFTER, lambda: self.beside(act("typing_on")))

    def beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something that nobody waits for."""
        task = asyncio.create_task(work)
        self.aside.add(task)
        task.add_done_callback(self.aside.discard)

    async def named(self, row: Conversation, lent: Lent) -> Conversation:
        """Return the row with the person's username, read once a day and never waited for longer than 1.5 s.

        Failed, it counts as a reading of almost a day ago: whose name was not read is not known.
        """
        now = self.store.clock.now()
        if row.profile_at and now - row.profile_at < DAY:
            return row
        try:
            username = await asyncio.wait_for(self.instagram.username(lent, row.person), PROFILE_WITHIN)
        except (BotError, TimeoutError):
            return replace(row, profile_at=now - DAY + PROFILE_AGAIN)
        return replace(row, username=username, profile_at=now)

    async def first_contact(self, row: Conversation, lent: Lent) -> Conversation:
        """Read what was said before our first event, once; a person's recent words mean that the bot steps aside."""
        account = await self.book.current(row.account)
        now = self.store.clock.now()
        try:
            reading = await asyncio.wait_for(self.instagram.read(lent, row.person), FIRST_CONTACT_WITHIN)
        except (BotError, TimeoutError) as error:
            log.info("first_contact_unread", account=row.account, error=type(error).__name__)
            return replace(row, greeted=True)
        shown = reading.messages if reading else ()
        delivered = await tapped(self.store.messages, row.account, row.person, shown)
        said = [one for one in shown if one.mid not in delivered]
        await self.store.messages.add(first_contact.history(said, account, row, now=now))
        owned = {one.mid for one in shown if await self.store.sends.owns(row.account, one.mid)}
        return first_contact.greeted(row, shown, account, owned=owned, now=now, policy=self.policy)


def confirmation(policy: Policy) -> str:
    """Return what somebody hears who wrote a stop word, with the words that undo it; one message, however many."""
    words = " or ".join(f"“{word}”" for word in sorted(policy.start_words))
    again = f"{CONFIRMATION} Write {words} to switch them on again."
    return again if words and len(again.encode()) <= MAX_BYTES else CONFIRMATION


def in_line_with(
    row: Conversation, answers: tuple[Pending, ...], asked: list[Message], *, now: int, policy: Policy
) -> Conversation:
    """Return the row without messages that are answered or taken back after all, with the edits it missed.

    The messages are the truth: the row may be behind when an event of theirs came while they were being recorded.
    """
    found = {one.key: one for one in asked}
    for one in answers:
        message = found.get(one.key)
        if message is None or message.answered_by:
            row = replace(row, unanswered=tuple(each for each in row.unanswered if each.key != one.key))
        elif message.taken_back:
            row = record.take_back(row, one.key, now=now)
        elif message.edit > one.edit:
            stop, start = (is_word(message.text, words) for words in (policy.stop_words, policy.start_words))
            row = record.edit(row, message, stop=stop, start=start, now=now)
    return row


def skipped(row: Conversation, answers: tuple[Pending, ...], reason: Skip) -> Conversation:
    """Return the row without these messages, which are skipped for the reason."""
    keys = {one.key for one in answers}
    return replace(
        row,
        unanswered=tuple(one for one in row.unanswered if one.key not in keys),
        marks=(*row.marks, *(Mark(key=one.key, answered_by=reason) for one in answers)),
    )
