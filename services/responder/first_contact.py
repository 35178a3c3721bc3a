"""What the Conversations API shows of a conversation before our first event of it. Rules only."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec.structs import replace

from services.responder import echoes
from services.responder.account import Account
from services.responder.message import Author, Kind, Message, key_of
from services.responder.metrics import Skip
from services.responder.model import Conversation
from services.responder.outside import Shown
from services.responder.times import Policy
from services.responder.words import clean


def history(shown: Sequence[Shown], account: Account, row: Conversation, *, now: int) -> list[Message]:
    """Return as history what was said before the messages that wait; what was erased stays so.

    Those that came as events keep what is stored of them, and one whose event comes later is answered then.
    """
    first = min((one.at for one in row.unanswered), default=now)
    ours = {account.account, account.app_scoped_id} - {""}
    return [
        Message(
            key=key_of(account.account, Kind.ECHO if one.sender in ours else Kind.MESSAGE, one.mid),
            account=account.account,
            person=row.person,
            kind=Kind.ECHO if one.sender in ours else Kind.MESSAGE,
            mid=one.mid,
            at=one.at,
            recorded_at=now,
            author=Author.HUMAN if one.sender in ours else Author.CUSTOMER,
            text=clean(one.text),
            answered_by="" if one.sender in ours else Skip.NOTHING_TO_ANSWER,
        )
        for one in shown
        if one.mid and row.erased_at < one.at < first
    ]


def greeted(
    row: Conversation,
    shown: Sequence[Shown],
    account: Account,
    *,
    owned: Collection[str],
    now: int,
    policy: Policy,
) -> Conversation:
    """Return the row with the first contact made; paused when a person wrote for the business recently."""
    ours = {account.account, account.app_scoped_id} - {""}
    row = replace(row, greeted=True)
    for one in sorted(shown, key=lambda each: each.at):
        typed = one.sender in ours and one.mid not in owned and one.at > row.erased_at
        if typed and now - one.at < policy.takeover:
            row = echoes.human(row, one.mid, one.at, now=now, policy=policy)
    return row
