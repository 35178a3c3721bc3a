"""How a conversation is put to the language model. Rules only.

The customer's words, and everything that strangers wrote (titles, captions, names), stand in `user` turns only.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.responder.message import Author, Message
from services.responder.outside import Turn

TOKEN_BUDGET = 3_000
BYTES_A_TOKEN = 3  # a cautious guess over all languages: the exact count would need the model's own tokenizer

WORDS = {
    "image": "a picture",
    "video": "a video",
    "audio": "a voice message",
    "file": "a file",
    "share": "a shared post",
    "ig_post": "a shared post",
    "ig_reel": "a shared reel",
    "reel": "a shared reel",
    "story_mention": "a story that mentions this account",
    "ephemeral": "a view-once picture",
    "like_heart": "a heart",
}


def turns(system: str, history: Sequence[Message], unsent: Sequence[str], asked: Sequence[Message]) -> list[Turn]:
    """Return the prompt: instructions, what was said, what may have been said, what is to be answered.

    All of it together keeps to the token budget: first history is cut from its old end, then what is asked, with a
    note; the newest question is always there. All is in the order of its timestamps, and the newest question is last:
    what is newer than that (it came late, or its first reply was lost) is left out.
    """
    answering, newest = {one.key for one in asked}, max((one.at for one in asked), default=0)
    said = [one for one in history if one.key not in answering and not one.taken_back and one.at <= newest]
    budget = TOKEN_BUDGET * BYTES_A_TOKEN - sum(size(turn_of(one)) for one in asked)
    recalled = affordable([one for one in said if spoken(one)], budget - sum(len(text.encode()) for text in unsent))
    kept = affordable(asked, TOKEN_BUDGET * BYTES_A_TOKEN) or sorted(asked, key=order)[-1:]
    lines = sorted([*recalled, *kept], key=order)
    first = next((place for place, one in enumerate(lines) if one.key in answering), len(lines))
    told = [shortened(turn_of(one)) for one in lines]
    maybe = [Turn(role="assistant", text=text) for text in unsent]
    return [Turn(role="system", text=system), *told[:first], *maybe, *left_out(len(asked) - len(kept)), *told[first:]]


def order(message: Message) -> tuple[int, str]:
    """Return what messages are sorted by."""
    return message.at, message.key


def left_out(many: int) -> list[Turn]:
    """Return the note that stands for questions which are too long together."""
    return [Turn(role="user", text=f"[{many} earlier messages, too long to be shown here]")] if many else []


def shortened(turn: Turn) -> Turn:
    """Return a turn that is longer than everything may be together without its end."""
    raw = turn.text.encode("utf-8", "replace")
    most = TOKEN_BUDGET * BYTES_A_TOKEN
    if len(raw) <= most:
        return turn
    return Turn(role=turn.role, text=f"{raw[:most].decode('utf-8', 'ignore')}\n[the rest is too long to be shown here]")


def affordable(history: Sequence[Message], budget: int) -> list[Message]:
    """Return the newest messages that together weigh no more than the budget."""
    kept = []
    for one in sorted(history, key=order, reverse=True):
        budget -= size(turn_of(one))
        if budget < 0:
            break
        kept.append(one)
    return kept


def size(turn: Turn) -> int:
    """Return the turn's weight in bytes."""
    return len(turn.text.encode("utf-8", "replace")) + 12


def turn_of(message: Message) -> Turn:
    """Return the turn of one message."""
    return Turn(role="user" if message.author is Author.CUSTOMER else "assistant", text=spoken(message))


def spoken(message: Message) -> str:
    """Return what a message says to the model; what cannot be shown is described.

    A title and a note quote strangers also where a person shared them, so that they stand in no `assistant` turn.
    """
    customers = message.author is Author.CUSTOMER
    pieces = [message.text.strip()]
    pieces += [f"[{described(one.type, one.title if customers else '')}]" for one in message.attachments]
    if customers and message.note:
        pieces.append(f"[{message.note}]")
    return "\n".join(piece for piece in pieces if piece)


def described(kind: str, title: str) -> str:
    """Describe an attachment that the model cannot see."""
    what = WORDS.get(kind, "something that cannot be shown here")
    return f"sent {what}{f', titled: {title}' if title else ''}"
