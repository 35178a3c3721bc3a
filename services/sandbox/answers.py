"""The pretend language model: what it is asked, what it answers, whose words it was given. Rules only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

QUOTE = 300
# What a customer's words are about, and what a bakery says to it; the first that fits. Enough for a demo to feel alive.
TOPICS: tuple[tuple[str, str], ...] = (
    (r"\b(price|cost|much|pay|card)\b", "A loaf is 4.80, rolls are 0.90 each. Card and cash are both fine."),
    (r"\b(deliver\w*|ship\w*|bring)\b", "We deliver in town from 20 upwards, usually before noon."),
    (r"\b(cakes?|birthday|wedding)\b", "We love making those! Tell us the day, the size and a flavour."),
    (
        r"\b(vegan|gluten|allerg\w*|nuts?)\b",
        "The rye and the sourdough are vegan; our kitchen handles nuts and gluten.",
    ),
    (r"\b(keep|reserve|set aside|put aside)\b", "Done, it waits for you until six. Just say your name at the counter."),
    (r"\b(bread|rye|loaf|loaves|rolls?|croissants?)\b", "Yes, baked this morning. Shall we put some aside for you?"),
    (r"\b(open|close|hours?|today|tomorrow|sunday)\b", "We are open every day from 7 am to 6 pm."),
    (r"\b(thanks?|thank you|great|perfect)\b", "You are very welcome. See you soon!"),
    (r"\b(hi|hello|hey|good (morning|evening))\b", "Hello! What can we bake for you?"),
)
OTHERWISE = "A pretend model says this. With OPENAI_API_KEY set, a real one answers."

# Asked for this, it answers at a length that takes three messages.
STORY = "the whole story"
CHAPTERS = (
    "the ovens are lit at two in the morning. " + "First the rye, then the wheat, then everything sweet. " * 11,
    "at five the first loaves leave the ovens. "
    + "The crust sings while it cools, and that is no figure of speech. " * 9,
    "at seven the door opens. " + "Whoever comes early has the choice, whoever comes late has the price. " * 9,
)


def user_texts(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """The texts of the `user` messages, in order; of a message with several parts the text parts."""
    return [text for message in messages if message.get("role") == "user" for text in _texts(message.get("content"))]


def _texts(content: object) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        yield from (str(part["text"]) for part in content if isinstance(part, dict) and "text" in part)


def answer(texts: Sequence[str]) -> str:
    """What the pretend model says: it names the newest message that it was given."""
    newest = texts[-1].strip() if texts else ""
    said = newest if len(newest) <= QUOTE else newest[:QUOTE] + "…"
    if STORY in newest.casefold():
        return "\n\n".join(f"“{said}” ({n} of 3): {chapter}" for n, chapter in enumerate(CHAPTERS, start=1))
    topic = next((line for pattern, line in TOPICS if re.search(pattern, newest, re.IGNORECASE)), OTHERWISE)
    return f"“{said}”\n{topic}"


def completion(model: str, text: str, now: int, number: int) -> dict[str, Any]:
    """The answer as POST /v1/chat/completions gives it."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text, "refusal": None}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return {
        "id": f"chatcmpl-sandbox{number}",
        "object": "chat.completion",
        "created": now // 1000,
        "model": model,
        "choices": [{**choice, "logprobs": None}],
        "usage": usage,
    }


def chunks(model: str, text: str, now: int, number: int) -> Iterator[dict[str, Any]]:
    """The same answer, streamed: a word a chunk."""
    head = {
        "id": f"chatcmpl-sandbox{number}",
        "object": "chat.completion.chunk",
        "created": now // 1000,
        "model": model,
    }
    for place, word in enumerate(re.findall(r"\S+\s*|\s+", text)):
        delta = {"role": "assistant", "content": word} if place == 0 else {"content": word}
        yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


class Heard:
    """Which messages a prompt holds: the texts that customers wrote, back to their mids.

    A text that two messages share stands for the newest of them; load tests write unique texts.
    """

    def __init__(self) -> None:
        """Begin deaf."""
        self.by_text: dict[str, str] = {}

    def note(self, text: str, mid: str) -> None:
        """Remember who wrote this."""
        self.by_text[folded(text)] = mid

    def mids(self, texts: Sequence[str]) -> list[str]:
        """The mids behind the texts of a prompt, in its order; a text of several lines may be several messages."""
        found: list[str] = []
        for text in texts:
            whole = self.by_text.get(folded(text))
            if whole:
                found.append(whole)
            else:
                lines = (self.by_text.get(folded(line)) for line in text.splitlines())
                found.extend(mid for mid in lines if mid)
        return found


def folded(text: str) -> str:
    """A text without its white space, for comparing."""
    return " ".join(text.split())
