"""How events change a conversation's row. Rules only.

Every function gives the same row again when the same event comes again, in whatever order events come: order is that
of Instagram's timestamps. `version` grows exactly when something changed that a text being written must not ignore.
"""

from __future__ import annotations

from msgspec.structs import replace

from services.common.errors import Unavailable
from services.responder import ending, ledger, posted
from services.responder.message import HUMAN, Author, Message
from services.responder.metrics import Skip
from services.responder.model import (
    Conversation,
    Mark,
    Opt,
    Pending,
    Reply,
)
from services.responder.model import Wait as Waits
from services.responder.times import DAY, Policy, Times

OPTS_KEPT = 10
"""More stop and start words of one person than this are forgotten, the oldest first."""


def knows(row: Conversation, key: str) -> bool:
    """Whether this message is in the row already: unanswered, being answered or about to be marked."""
    replies = ledger.replies_in(row)
    return (
        any(one.key == key for one in row.unanswered)
        or any(one.key == key for reply in replies for one in reply.answers)
        or any(mark.key == key for mark in row.marks)
    )


def seen(row: Conversation, at: int, *, now: int) -> Conversation:
    """A customer's message opens the window for 24 hours from its timestamp, never from the future."""
    closes = max(row.window_closes_at, min(at, now) + DAY)
    return replace(row, window_closes_at=closes, last_at=max(row.last_at, min(at, now)))


def add_message(row: Conversation, one: Pending, *, start: bool, now: int, policy: Policy) -> Conversation:
    """A customer wrote: the conversation becomes due, unless a person or a pause has dealt with it already."""
    if knows(row, one.key):
        return row
    row = seen(row, one.at, now=now)
    row = replace(row, version=row.version + 1, failed=False, tries=0, retry_at=0 if row.failed else row.retry_at)
    confirm = one.stop and to_confirm(row)
    row = opted(row, one.key, one.at, stop=one.stop, start=start)
    one = replace(one, stop=confirm)
    dealt = dealt_with(row, one, now=now)
    if dealt:
        return wake(replace(row, marks=(*row.marks, Mark(key=one.key, answered_by=dealt))), now, policy)
    return wake(ledger.with_unanswered(row, (one,)), now, policy)


def to_confirm(row: Conversation) -> bool:
    """Whether a stop word gets the confirmation: once, however often it is said."""
    return not row.opted_out or any(one.stop for one in row.unanswered)


def opted(row: Conversation, key: str, at: int, *, stop: bool, start: bool) -> Conversation:
    """Take a message for the stop or start word that it is now, or is no more; out of order and edited alike."""
    others = tuple(opt for opt in row.opts if opt.key != key)
    mine = (Opt(at=at, key=key, stop=stop),) if stop or start else ()
    opts = tuple(sorted((*others, *mine), key=lambda opt: (opt.at, opt.key)))[-OPTS_KEPT:]
    if opts == row.opts:
        return row
    out = bool(opts) and opts[-1].stop
    changed = replace(row, opts=opts, opted_out=out, version=row.version + (out != row.opted_out))
    return changed if ledger_holds(changed) else ledger.drop_unsent(changed)


def unmarked(row: Conversation, message: Message) -> Conversation:
    """A message that was read as history came as an event after all: it is unanswered like any other."""
    return replace(row, marks=(Mark(key=message.key, answered_by="", was=message.answered_by), *row.marks))


def ledger_holds(row: Conversation) -> bool:
    """Whether the reply in hand may stay: a stop word drops it."""
    return row.reply is None or not row.opted_out or row.reply.confirms or row.reply.author is Author.HUMAN


def dealt_with(row: Conversation, one: Pending, *, now: int) -> str:
    """Return who dealt with a message that arrives late: a person who wrote after it, or a pause that is over."""
    if answered_by_person(row, one):
        return HUMAN
    if any(one.at < pause.until <= now and pause.since < pause.until for pause in row.pauses):
        return Skip.PAUSED
    return ""


def answered_by_person(row: Conversation, one: Pending) -> bool:
    """Whether a person wrote in the account's name after this message."""
    return any(pause.mid and one.at <= pause.since for pause in row.pauses)


def wake(row: Conversation, now: int, policy: Policy) -> Conversation:
    """Set when a worker should look: after the quiet time, at once when there are marks to carry out."""
    if row.marks:
        return replace(row, due_at=now, waiting_for=None)
    if not row.unanswered:
        return row if row.due_at is not None or not row.undecided else replace(row, due_at=now)
    due = quiet_until(row, policy)
    if row.due_at is None or row.waiting_for in {None, Waits.QUIET}:
        return replace(row, due_at=due, waiting_for=Waits.QUIET)
    return replace(row, due_at=min(row.due_at, due))


def quiet_until(row: Conversation, policy: Policy) -> int:
    """Return when the customer has been quiet long enough, or has waited long enough."""
    recorded = [one.recorded_at for one in row.unanswered]
    return min(max(recorded) + policy.quiet, min(recorded) + policy.quiet_max)


def take_back(row: Conversation, key: str, *, now: int) -> Conversation:
    """The customer took a message back: no answer to it, no text that was written for it, no later part."""
    row = opted(row, key, 0, stop=False, start=False)
    if any(one.key == key for one in row.unanswered):
        rest = tuple(one for one in row.unanswered if one.key != key)
        marks = (*row.marks, Mark(key=key, answered_by=Skip.TAKEN_BACK))
        return replace(row, unanswered=rest, marks=marks, version=row.version + 1, due_at=now, waiting_for=None)
    if row.reply is None or row.reply.stopped or not any(one.key == key for one in row.reply.answers):
        return row
    row = replace(row, version=row.version + 1, due_at=now, waiting_for=None)
    if row.reply is not None and row.reply.author is Author.BOT and ledger.may_be_void(row.reply):
        return take_back(ledger.void(row), key, now=now)
    row = ledger.drop_unsent(row)
    if row.reply is None:
        return row
    stopped = replace(row.reply, stopped=str(Skip.TAKEN_BACK))
    return replace(row, reply=stopped) if ledger.past_no_return(stopped) else no_answer(row, stopped, key)


def no_answer(row: Conversation, words: Reply, key: str) -> Conversation:
    """Words that never left, or were refused, do not answer this message, which was taken back; others wait."""
    answers = tuple(one for one in words.answers if one.key != key)
    mark = Mark(key=key, answered_by=Skip.TAKEN_BACK)
    return replace(row, reply=replace(words, answers=answers), marks=(*row.marks, mark))


def taken_back_before(row: Conversation, message: Message, *, now: int) -> Conversation:
    """A message arrives that was taken back already: it opens the window, and that is all."""
    row = seen(row, message.at, now=now)
    if message.answered_by or knows(row, message.key):
        return row
    mark = Mark(key=message.key, answered_by=Skip.TAKEN_BACK)
    return replace(row, marks=(*row.marks, mark), due_at=now, waiting_for=None)


def edit(row: Conversation, message: Message, *, stop: bool, start: bool, now: int) -> Conversation:
    """The customer corrected a message: what was written for the old wording is thrown away, if nothing of it went."""
    confirm = stop and to_confirm(row)
    row = opted(row, message.key, message.at, stop=stop, start=start)
    reply = row.reply
    if reply is not None and reply.author is Author.BOT and outdated(reply.answers, message):
        if ledger.past_no_return(reply):
            # It goes on, but if it proves not to have arrived, the version test keeps it from going out again.
            newer = reworded(reply.answers, message, stop=confirm)
            return replace(row, reply=replace(reply, answers=newer, final=False), version=row.version + 1)
        if ledger.may_be_void(reply):
            row = ledger.void(row)
    if not outdated(row.unanswered, message):
        return row
    newer = reworded(row.unanswered, message, stop=confirm)
    due = now if row.due_at is None else row.due_at
    return replace(row, unanswered=newer, version=row.version + 1, due_at=due)


def reworded(answers: tuple[Pending, ...], message: Message, *, stop: bool) -> tuple[Pending, ...]:
    """Return the messages with the new version of this one."""
    return tuple(replace(one, edit=message.edit, stop=stop) if one.key == message.key else one for one in answers)


def outdated(answers: tuple[Pending, ...], message: Message) -> bool:
    """Whether an older wording of the message stands here."""
    return any(one.key == message.key and one.edit < message.edit for one in answers)


# --- a person's words through igbot, an operator's retry --------------------------------------------------------------


def with_room(row: Conversation, now: int, times: Times) -> Conversation:
    """Make room for a person's words: what the bot had not sent yet is given up, what nobody knows makes way.

    Raises Unavailable while a message is on its way.
    """
    row = ledger.silenced(row)
    if row.lease_until <= now:  # who was sending died, and in a paused account nobody else comes to see
        row = posted.found_sending(row, times)
    if row.reply is not None and (ledger.finished(row.reply) or ledger.only_unknown(row.reply)):
        row = ending.step_aside(row)
    if row.reply is not None:
        raise Unavailable("a reply is being sent in this conversation; try again in a moment")
    return row


def with_words(row: Conversation, reply: Reply, now: int) -> Conversation:
    """Put a person's words into a row that has room for them."""
    return replace(
        row,
        reply=reply,
        version=row.version + 1,
        superseded=0,
        failed=False,  # a person looks after it
        tries=0,
        due_at=now,
        waiting_for=None,
    )


def retry(row: Conversation, *, now: int) -> Conversation:
    """An operator wants a failed or waiting conversation tried again at once."""
    return replace(row, failed=False, tries=0, backed_off=0, retry_at=0, due_at=now, waiting_for=None)
