"""When the bot is silent: operators' pauses and resumptions, of a conversation and of a whole account. Rules only."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from services.responder import ledger
from services.responder.account import Account
from services.responder.model import FOREVER, Conversation, Pause, Pending, Wait


def paused_at(whose: Conversation | Account, now: int) -> bool:
    """Whether the bot must be silent in this conversation, or in the whole account."""
    return bool(paused_until(whose, now=now))


def paused_until(*whose: Conversation | Account, now: int) -> int:
    """Return when the pause that holds now ends, 0 when the bot may speak."""
    pauses = (pause for one in whose for pause in one.pauses)
    return max((pause.until for pause in pauses if pause.since <= now < pause.until), default=0)


def pause(row: Conversation, *, until: int, now: int) -> Conversation:
    """An operator silences the bot in this conversation; `until` 0 means until somebody resumes."""
    row = replace(ledger.silenced(row), version=row.version + 1)
    return replace(row, pauses=(*row.pauses, begun(until, now)), due_at=now, waiting_for=None)


def pause_account(row: Account, *, until: int, now: int) -> Account:
    """An operator silences the whole account; `until` 0 means until somebody resumes."""
    return replace(row, pauses=(*row.pauses, begun(until, now)), answer_pending=False)


def begun(until: int, now: int) -> Pause:
    """Return a pause from now on."""
    return Pause(since=now, until=until or FOREVER)


def resume(row: Conversation, *, answer_pending: bool, now: int) -> Conversation:
    """An operator ends every pause; the newest unanswered message gets an answer if that is asked for."""
    row = resumed(row, answer_pending=answer_pending, at=now)
    return replace(row, failed=False, tries=0, due_at=now, waiting_for=None)


def resume_account(row: Account, *, answer_pending: bool, now: int, keep: int) -> Account:
    """End every pause of the account; pauses that ended longer than `keep` ago are forgotten."""
    kept = tuple(one for one in ended(row.pauses, now) if one.until + keep > now)
    return replace(row, pauses=kept, answer_pending=answer_pending, resumed_at=now)


def caught_up(row: Conversation, account: Account) -> Conversation:
    """Return the row after the account's last Resume, which goes for each of its conversations, also those to come."""
    then = account.resumed_at
    if then <= row.resumed_at:
        return row
    silent = row.waiting_for is Wait.PAUSED
    row = resumed(row, answer_pending=account.answer_pending, at=then)
    return replace(row, due_at=then, waiting_for=None) if silent else row


def resumed(row: Conversation, *, answer_pending: bool, at: int) -> Conversation:
    """End the pauses that began until then; the newest message of that time may be answered although it came in one.

    One that a lost reply answers may be newer than all that wait: it is answered as well, should it wait again.
    """
    lost = [one for reply in ledger.replies_in(row) for one in reply.answers]
    newest = {newest_key(row.unanswered, at), newest_key([*row.unanswered, *lost], at)} if answer_pending else set()

    def asked(messages: tuple[Pending, ...]) -> tuple[Pending, ...]:
        return tuple(replace(one, asked_for=one.key in newest) for one in messages)

    return replace(
        row,
        pauses=ended(row.pauses, at),
        resumed_at=at,
        unanswered=asked(row.unanswered),
        reply=replace(row.reply, answers=asked(row.reply.answers)) if row.reply else None,
        unsettled=tuple(replace(one, answers=asked(one.answers)) for one in row.unsettled),
    )


def newest_key(messages: Iterable[Pending], at: int) -> str:
    """Return the key of the newest message that was recorded until then."""
    known = (one for one in messages if one.recorded_at <= at)
    newest = max(known, key=lambda one: (one.at, one.key), default=None)
    return newest.key if newest else ""


def ended(pauses: tuple[Pause, ...], at: int) -> tuple[Pause, ...]:
    """Return the pauses, those that began until then ended by then."""
    return tuple(replace(one, until=min(one.until, at)) if one.since <= at else one for one in pauses)
