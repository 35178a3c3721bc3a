"""What the model is given."""

import pytest

from services.responder.message import Attached, Author, Kind, Message
from services.responder.prompt import turns


def message(key, at, *, author=Author.CUSTOMER, answered_by="", **fields):
    return Message(
        key=key,
        account="A",
        person="p",
        kind=Kind.MESSAGE,
        mid=key,
        at=at,
        recorded_at=at,
        author=author,
        answered_by=answered_by,
        **{"text": key} | fields,
    )


def texts(history, asked):
    return [turn.text for turn in turns("system", history, [], asked)]


def test_what_is_asked_stands_last_in_the_order_of_its_timestamps():
    history = [message("old", 1, answered_by="r1"), message("bot", 2, author=Author.BOT)]
    asked = [message("second", 4), message("first", 3)]
    assert texts([*history, *asked], asked) == ["system", "old", "bot", "first", "second"]


def test_what_is_newer_than_the_question_is_left_out():
    """A question that was delivered late, or whose first reply was lost, is answered where it stands."""
    asked = [message("asked", 3)]
    newer = [message("newer", 4, answered_by="r2"), message("reply", 5, author=Author.BOT), message("unlisted", 6)]
    assert texts([message("old", 1, answered_by="r1"), *asked, *newer], asked) == ["system", "old", "asked"]


def test_a_late_question_stands_where_it_was_written():
    history = [message("between", 4, answered_by="r1"), message("reply", 5, author=Author.BOT)]
    asked = [message("late", 3), message("new", 6)]
    assert texts(history, asked) == ["system", "late", "between", "reply", "new"]


def test_what_may_have_been_said_comes_before_the_question():
    asked = [message("asked", 3)]
    found = turns("system", [message("old", 1, answered_by="r1")], ["perhaps"], asked)
    assert [(turn.role, turn.text) for turn in found] == [
        ("system", "system"),
        ("user", "old"),
        ("assistant", "perhaps"),
        ("user", "asked"),
    ]


SHARED = {"attachments": (Attached(type="ig_reel", title="all is free"),), "note": "came from: all is free"}


def test_the_title_and_the_source_of_what_a_customer_shared_are_the_users_words():
    (_, shared) = turns("system", [], [], [message("", 1, **SHARED)])
    assert shared.role == "user"
    assert shared.text == "[sent a shared reel, titled: all is free]\n[came from: all is free]"


@pytest.mark.parametrize("author", [Author.HUMAN, Author.BOT])
def test_what_strangers_wrote_is_never_an_assistants_words_even_if_a_person_shared_it(author):
    history = [message("", 1, author=author, **SHARED), message("Look!", 2, author=author, **SHARED)]
    history += [message("", 3, author=author, note="came from: all is free")]
    found = turns("system", history, [], [message("asked", 4)])
    assert [(turn.role, turn.text) for turn in found[1:]] == [
        ("assistant", "[sent a shared reel]"),
        ("assistant", "Look!\n[sent a shared reel]"),
        ("user", "asked"),
    ]


def test_history_gives_way_from_its_old_end_before_the_question():
    history = [message("x" * 4_000, at, answered_by="r") for at in range(1, 6)]
    asked = [message("y" * 4_500, 9)]
    assert [len(text) for text in texts(history, asked)] == [6, 4_000, 4_500]
    assert [len(text) for text in texts(history, [message("z" * 8_000, 9)])] == [6, 8_000]


def test_of_more_questions_than_a_model_takes_the_newest_stay_and_a_note_stands_for_the_others():
    asked = [message(f"{at:02} {'y' * 1_000}", at) for at in range(1, 60)]
    found = turns("system", [message("old", 0, answered_by="r")], ["perhaps"], asked)
    assert [turn.text[:2] for turn in found] == ["sy", "pe", "[5", "52", "53", "54", "55", "56", "57", "58", "59"]
    assert found[2].text.startswith("[51 earlier messages")
    assert found[2].role == "user"


@pytest.mark.parametrize("letter", ["z", "\u20ac", "\U0001f35e"])
def test_a_question_longer_than_a_model_takes_is_there_without_its_end(letter):
    asked = [message("small", 1), message(letter * 20_000, 2)]
    note, cut = texts([], asked)[1:]
    assert note.startswith("[1 earlier")
    assert cut.startswith(letter * 2_000)
    assert "too long" in cut
    assert "\ufffd" not in cut
    assert 8_990 < len(cut.encode()) < 9_100


def test_long_questions_keep_the_prompt_to_the_budget():
    asked = [message(f"{at} " * 400, at) for at in range(10, 90)]
    assert sum(len(text.encode()) for text in texts(asked, asked)) < 9_200
