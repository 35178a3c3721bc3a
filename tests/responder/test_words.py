"""Text: compared, recognised, cut to Instagram's size, freed of Markdown."""

import time

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from services.responder.words import MAX_BYTES, clean, digest, folded, is_word, plain, split

MANY = 10_000
FAMILY, FLAG, NAMASTE = (
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U0001f1e8\U0001f1ed",
    "\u0928\u092e\u0938\u094d\u0924\u0947",
)
PIECES = st.one_of(
    st.text(alphabet=st.characters(categories=["L", "N", "P"]), min_size=1, max_size=30),
    st.sampled_from(
        [FAMILY, FLAG, NAMASTE, "e\u0301", "\u4f60\u597d\u3002", "Done.", "Really?!", "\U0001f44d\U0001f3fd"]
    ),
    st.sampled_from([FAMILY * 30, "x" * 1200, "\u0444" * 700, "https://example.com/" + "a" * 1500]),
    st.builds("https://example.com/{}".format, st.text("abc/?&=%1", min_size=1, max_size=300)),
)
GAPS = st.sampled_from([" ", " ", " ", "\n", "\n\n", "\n \n", "  ", "\t"])
TEXTS = st.lists(st.tuples(PIECES, GAPS), max_size=60).map(lambda pairs: "".join(word + gap for word, gap in pairs))


def graphemes(text):
    return [one for one in regex.findall(r"\X", text) if not one.isspace()]


def urls(text):
    return [one for one in regex.findall(r"https?://\S+", text) if len(one.encode()) <= MAX_BYTES]


@settings(max_examples=80)
@given(TEXTS)
def test_a_split_text_fits_keeps_graphemes_and_links_whole_and_loses_nothing(text):
    pieces = split(text, parts=MANY)
    assert all(0 < len(piece.encode()) <= MAX_BYTES for piece in pieces)
    assert all(piece == piece.strip() for piece in pieces)
    assert [one for piece in pieces for one in graphemes(piece)] == graphemes(text)  # in order, nothing lost
    assert [one for piece in pieces for one in urls(piece) if one in urls(text)] == urls(text)


@settings(max_examples=50)
@given(TEXTS, st.integers(1, 5))
def test_fewer_parts_are_the_first_ones_and_a_part_is_not_split_again(text, parts):
    pieces = split(text, parts=MANY)
    assert split(text, parts=parts) == pieces[:parts]
    assert all(split(piece, parts=MANY) == [piece] for piece in pieces)


@given(st.text())
def test_any_text_at_all_is_split_without_a_crash(text):
    assert all(len(piece.encode()) <= MAX_BYTES for piece in split(clean(text), parts=MANY))


def test_cuts_prefer_paragraphs_then_sentences_then_words():
    by_paragraph = "a " * 300 + "end.\n\n" + "b " * 300
    assert [piece[0] for piece in split(by_paragraph, parts=3)] == ["a", "b"]
    by_sentence = "One sentence. " * 100
    assert all(piece.endswith("sentence.") for piece in split(by_sentence, parts=9))
    by_word = "word " * 400
    assert all(piece.startswith("word") and piece.endswith("word") for piece in split(by_word, parts=9))


def test_white_space_alone_is_no_part():
    assert split(" \n\t\u00a0", parts=3) == []


def test_a_grapheme_too_big_for_a_message_is_cut_rather_than_lost():
    zalgo = "a" + "\u0301" * 1_000
    pieces = split(zalgo, parts=MANY)
    assert "".join(pieces) == zalgo
    assert all(len(piece.encode()) <= MAX_BYTES for piece in pieces)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("**bold** and __bold__", "bold and bold"),
        ("an *emphasis* here", "an emphasis here"),
        ("# Opening hours\nMon 9", "Opening hours\nMon 9"),
        ("* one\n* two", "- one\n- two"),
        ("+ one\n  + two", "- one\n  - two"),
        ("see [our shop](https://example.com/a)", "see our shop: https://example.com/a"),
        ("[https://example.com](https://example.com)", "https://example.com"),
        ("![logo](https://example.com/l.png)", "logo: https://example.com/l.png"),
        ("use `code` here", "use code here"),
        ("```python\nprint(1)\n```", "print(1)"),
        ("a\n\n\n\nb", "a\n\nb"),
        ("***both***", "both"),
        ("> quoted\n> words", "quoted\nwords"),
        ("~~gone~~", "gone"),
        ("**3 * 4 = 12**", "3 * 4 = 12"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "a | b\n1 | 2"),
        ("---\nafter a rule", "after a rule"),
        ("**https://x.com**", "https://x.com"),
        ("*https://x.com/a_b*, _https://x.com/a_b_.", "https://x.com/a_b, https://x.com/a_b."),
        ("**https://x.com**/**https://y.com**", "https://x.com/https://y.com"),
        ("`https://x.com/a_b_c` ~~https://x.com/~a~~", "https://x.com/a_b_c https://x.com/~a"),
        ("\uff0c**https://x.com**\uff0c", "\uff0chttps://x.com\uff0c"),
        ("**Menu: https://x.com/?q=_a_&b=*1***", "Menu: https://x.com/?q=_a_&b=*1*"),
        ("_At https://instagram.com/_anna.b_ now_", "At https://instagram.com/_anna.b_ now"),
        ("*now* https://x.com/*a and *here*", "now https://x.com/*a and here"),
        ("[menu](https://x.com/a_(b)_c)", "menu: https://x.com/a_(b)_c"),
        ("([a](https://x.com/a), **[b](https://x.com/(b))**)", "(a: https://x.com/a, b: https://x.com/(b))"),
    ],
)
def test_markdown_becomes_the_plain_text_that_instagram_can_show(written, shown):
    assert plain(written) == shown


@pytest.mark.parametrize(
    "text",
    [
        "3 * 4 * 5 = 60",
        "snake_case_name and __init__.py",
        "5 > 3 and 2 < 4",
        "mail me_at_home@example.com",
        "https://example.com/a_b_c*d",
        "https://x.com/?q=_a_&b=1",
        "https://shop.example/a_b_c?x=*1*&y=*2*",
        "https://x.com/~~a~~/`b",
        "https://instagram.com/__anna__ and https://instagram.com/anna_",
        "[menu](https://x.com/a(b)",
        "a - b - c",
        "1. first\n2. second",
        "#1 in town",
        "~20 minutes ~ maybe",
        "Price: 5* hotel",
        "\u043f\u0440\u0438\u0432\u0435\u0442 *",
    ],
)
def test_what_only_looks_like_markdown_stays(text):
    assert plain(text) == text


@pytest.mark.parametrize("end", ["", "x"])
@pytest.mark.parametrize(
    "again",
    [
        *("*a ", "**a ", "_a ", "`a", "[a ", "[a](http://b", "> ", "# ", "|-", "| a", "* ", " ", "\n", "*_", "\n*"),
        *("http://", "http://* ", "_http://_a", "**http://a", "http://_a_ ", "[a](http://b(c)", "[a](http://(", "(b)"),
    ],
)
def test_a_long_text_with_many_marks_holds_nobody_up(again, end):
    text = "a" + "\n" + again * (24_000 // len(again)) + end
    began = time.process_time()
    plain(text)
    assert time.process_time() - began < 0.4


def test_no_word_is_lost_of_marks_within_marks_without_end():
    assert "inside" in plain("*_" * 100 + "inside" + "_*" * 100)


ADDRESSES = st.from_regex(r"https://x\.com/(?:(?!\*\*)[ab*_~?=&/.-]){0,20}z", fullmatch=True)


@settings(max_examples=150)
@given(
    ADDRESSES,
    st.sampled_from(["{}", "see {} there", "{}.", "({}),", "[menu]({})", "**b**: {} _c_"]),
    st.sampled_from(["", "*", "**", "***", "_", "__", "~~", "`"]),
)
def test_no_mark_of_an_address_is_lost_whatever_stands_around_it(address, around, mark):
    assert address in plain(f"{mark}{around.format(address)}{mark}")


MARKS = st.sampled_from(
    [
        "**",
        "*",
        "__",
        "_",
        "`",
        "# ",
        "- ",
        "* ",
        "> ",
        "[a](https://b.c)",
        "\n",
        " ",
        "x",
        "yz",
        "~~",
        "https://_b",
        "(",
    ]
)


@settings(max_examples=150)
@given(st.lists(MARKS, max_size=25).map("".join))
def test_plain_text_is_not_changed_again(text):
    once = plain(text)
    assert plain(once) == once


@given(st.text())
def test_clean_text_is_taken_by_every_store_and_model(text):
    cleaned = clean(text)
    assert "\x00" not in cleaned
    assert cleaned.encode().decode() == cleaned
    assert clean(cleaned) == cleaned


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_fingerprint_does_not_mind_white_space_and_normal_forms(text):
    import unicodedata

    assert digest(unicodedata.normalize("NFD", text)) == digest(f"  {text.replace(' ', '  ')}\n")


def test_half_a_surrogate_pair_becomes_a_replacement_and_whole_pairs_stay():
    assert clean("a\ud83d") == "a\ufffd"
    assert clean("\ud83d\ude00") == "\U0001f600"


@pytest.mark.parametrize("text", ["stop", " STOP ", "Stop.", "stop!", "StOp!!", "stop !"])
def test_a_stop_word_is_the_whole_message_whatever_its_case(text):
    assert is_word(text, frozenset({"stop"}))


@pytest.mark.parametrize("text", ["", "please stop", "stop it", "stopp", "."])
def test_anything_more_is_no_stop_word(text):
    assert not is_word(text, frozenset({"stop"}))


def test_folding_makes_one_blank_of_white_space():
    assert folded(" a\n\tb\u00a0c ") == "a b c"
