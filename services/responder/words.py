"""What is done with text: compared, recognised, cut to Instagram's size, freed of Markdown. Rules only."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import regex

MAX_BYTES = 1_000
"""Instagram's limit for one message's text, in bytes of UTF-8 (Send Messages doc)."""

URL = regex.compile(r"https?://\S+")
GRAPHEME = regex.compile(r"\X")
SENTENCE_END = regex.compile(r"(?<=[.!?…\u3002\uff01\uff1f])\s+")


def folded(text: str) -> str:
    """Return the text as it is compared: NFC, runs of white space as one blank."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def digest(text: str) -> str:
    """Return the fingerprint by which an echo is recognised."""
    return hashlib.sha256(folded(text).encode("utf-8", "replace")).hexdigest()


def as_word(text: str) -> str:
    """Return a whole message as it is compared with stop and start words, and those as it is compared with them."""
    return folded(text).casefold().strip(".! ")


def is_word(text: str, words: frozenset[str]) -> bool:
    """Whether the whole message is one of the words, whatever its case."""
    return as_word(text) in words


def clean(text: str) -> str:
    """Replace what no store, RPC or model takes: NUL and halves of surrogate pairs."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\x00", "\ufffd")


# No pattern looks at the same characters again and again: one long line of the model's would hold up everybody.
Replacement = str | Callable[[re.Match[str]], str]
OF_LINES: tuple[tuple[re.Pattern[str], Replacement], ...] = tuple(
    (re.compile(pattern, re.MULTILINE), replacement)
    for pattern, replacement in (
        (r"^```[^\n]*\n?|```$", ""),
        (r"^[ \t]*([-*_])(?:[ \t]*\1){2,}[ \t]*$\n?", ""),  # a rule across the page
        (r"^[ \t]*+(?:\|[ \t]*+)?(?::?-++:?[ \t]*+\|[ \t]*+)++[ \t:|-]*+$\n?", ""),  # below a table's head
        (r"^[ \t]*\|([^\n]+)\|[ \t]*$", lambda row: row[1].strip()),  # a table's row
        (r"^(?:#{1,6}\s+|> ?)+", ""),
        (r"^([^\S\n]*)[*+]\s+", r"\1- "),
    )
)
Finder = Callable[[str], Iterator[tuple[int, int]]]
AROUND_WORDS = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?<![\w/.@-])(_{1,2})(?=[^\s_])(?P<words>[^\n_]+?)(?<=[^\s_])\1(?![\w/@-]|\.\w)",
        r"~~(?=\S)(?P<words>[^~\n]+?)(?<=\S)~~",
        r"`(?P<words>[^`\n]+)`",
    )
)
BLANK_LINES = re.compile(r"\n{3,}")
LINK = re.compile(r"!?\[([^\[\]\n]+)\]\((https?://[^\s()\[]*+(?:\([^\s()\[]*+\)[^\s()\[]*+)*+)\)")
ADDRESS = regex.compile(
    r"""(?V1x)
    https?://
    (?:(?!\*\*)[[!-~\w\p{M}]--["<>`|]])*
    [[\w\p{M}/=&\#%+$@\-]--_]  # no mark ends it, nor what ends a sentence,
    (?:(?<=\W(\*|_+)[[\w.\-]--_]+)\1)?  # but the second of two does: instagram.com/_anna_
    """
)
STARS = re.compile(r"\*+|\n")
NESTED = 30
"""Marks within marks deeper than this stay as they are."""


def plain(text: str) -> str:
    """Return the model's text without Markdown, which Instagram would show as it is typed; addresses keep theirs."""
    for _ in range(NESTED):
        before = text
        text = LINK.sub(_link, text)
        for pattern, replacement in OF_LINES:
            text = pattern.sub(replacement, text)
        text = BLANK_LINES.sub("\n\n", _unmarked(text)).strip()
        if text == before:
            break
    return text


def _unmarked(text: str) -> str:
    """Return the text without the marks around words, looked for where each address is veiled by as many letters."""
    veiled = ADDRESS.sub(lambda found: "x" * len(found[0]), text)
    finders: list[Finder] = [_stars, *(partial(_around_words, marks) for marks in AROUND_WORDS)]
    for find in finders:
        places = list(find(veiled))
        text, veiled = _without(places, text), _without(places, veiled)
    return text


def _stars(text: str) -> Iterator[tuple[int, int]]:
    """Return the places of the stars around *emphasis*: a run that opens, and the next as long that closes."""
    runs = list(STARS.finditer(text))
    partners: list[int | None] = []  # of each run, from the last to the first: the place of the one that closes it
    closing: dict[str, int] = {}
    for place in range(len(runs) - 1, -1, -1):
        found = runs[place]
        before, after = text[max(0, found.start() - 1) : found.start()], text[found.end() : found.end() + 1]
        opens = len(found[0]) <= 3 and not _wordy(before) and bool(after.strip())
        partners.append(closing.get(found[0]) if opens else None)
        if found[0] == "\n":
            closing.clear()
        elif before.strip() and not _wordy(after):
            closing[found[0]] = place
    partners.reverse()
    place = 0
    while place < len(runs):
        partner = partners[place]
        if runs[place][0] != "\n" and partner is not None:
            yield runs[place].span()
            yield runs[partner].span()
            place = partner
        place += 1


def _around_words(marks: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    """Return the places of these marks around words."""
    for found in marks.finditer(text):
        yield found.start(), found.start("words")
        yield found.end("words"), found.end()


def _without(places: Sequence[tuple[int, int]], text: str) -> str:
    """Return the text without what stands at these places, from left to right."""
    pieces, end = [], 0
    for start, stop in places:
        pieces.append(text[end:start])
        end = stop
    return "".join([*pieces, text[end:]])


def _wordy(character: str) -> bool:
    return character.isalnum() or character == "_"


def _link(found: re.Match[str]) -> str:
    return found[2] if found[1] == found[2] else f"{found[1]}: {found[2]}"


def split(text: str, *, limit: int = MAX_BYTES, parts: int) -> list[str]:
    """Cut the text into at most `parts` messages of at most `limit` bytes; what is left over is cut off.

    Cuts fall between paragraphs if they can, else sentences, else words, else graphemes; a URL stays whole.
    """
    rest = text.strip()
    pieces: list[str] = []
    while rest and len(pieces) < parts:
        cut = _cut(rest, limit)
        piece = rest[:cut].strip()
        if piece:
            pieces.append(piece)
        rest = rest[cut:].strip()
    return pieces


def _cut(text: str, limit: int) -> int:
    if len(text.encode()) <= limit:
        return len(text)
    longest = len(text.encode()[:limit].decode("utf-8", "ignore"))
    urls = [found.span() for found in URL.finditer(text) if len(found[0].encode()) <= limit]
    for places in (_paragraphs, _sentences, _words):
        fitting = [place for place in places(text, longest) if 0 < place <= longest and not _inside(place, urls)]
        if fitting and (places is _words or len(text[: fitting[-1]].encode()) >= limit // 3):
            return fitting[-1]
    graphemes = [found.end() for found in GRAPHEME.finditer(text, 0, longest + 64) if found.end() <= longest]
    outside = [place for place in graphemes if not _inside(place, urls)]
    return (outside or graphemes or [longest])[-1]


def _inside(place: int, spans: list[tuple[int, int]]) -> bool:
    return any(start < place < end for start, end in spans)


def _paragraphs(text: str, longest: int) -> Iterator[int]:
    return (found.end() for found in re.finditer(r"\n\s*\n", text[: longest + 1]))


def _sentences(text: str, longest: int) -> Iterator[int]:
    return (found.end() for found in SENTENCE_END.finditer(text[: longest + 1]))


def _words(text: str, longest: int) -> Iterator[int]:
    return (found.start() for found in re.finditer(r"\s+", text[: longest + 1]))
