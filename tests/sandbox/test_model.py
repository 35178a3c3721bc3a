"""The pretend model: its shape, whose words it was given, what it answers."""

import json

from services.sandbox.answers import Heard, answer, user_texts


async def ask(sandbox, *texts, **more):
    turns = [{"role": "user", "content": text} for text in texts]
    body = {"model": "m1", "messages": [{"role": "system", "content": "Be kind."}, *turns], **more}
    return await sandbox.post("/v1/chat/completions", body, "key")


async def test_the_answer_names_the_newest_user_message(sandbox):
    _, body = await ask(sandbox, "hello", "rye bread?")
    assert body["choices"][0]["message"]["content"].startswith("“rye bread?”\n")
    assert body["object"] == "chat.completion"
    assert body["model"] == "m1"


async def test_the_ledger_knows_which_messages_a_prompt_held(sandbox):
    await sandbox.connect()
    one, two = await sandbox.say("first unique"), await sandbox.say("second unique")
    await ask(sandbox, "first unique", "second unique")
    (call,) = await sandbox.ledger("model_call")
    assert call["mids"] == [one, two]
    assert call["newest"] == two
    assert call["user"] == ["first unique", "second unique"]


async def test_several_messages_in_one_turn_are_told_apart_by_line(sandbox):
    await sandbox.connect()
    mids = [await sandbox.say("line one"), await sandbox.say("line two")]
    await ask(sandbox, "line one\nline two")
    assert (await sandbox.ledger("model_call"))[0]["mids"] == mids


async def test_it_streams_when_asked(sandbox):
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hello there"}]}
    async with sandbox.http.post(f"{sandbox.base}/v1/chat/completions", json=body) as streamed:
        lines = [line[6:] for line in (await streamed.text()).splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    pieces = [json.loads(line)["choices"][0]["delta"].get("content", "") for line in lines[:-1]]
    assert "".join(pieces) == answer(["hello there"])


async def test_a_body_without_messages_is_a_bad_request(sandbox):
    assert (await sandbox.post("/v1/chat/completions", {"model": "m"}))[0] == 400


def test_only_text_parts_of_user_messages_count():
    parts = [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "x"}}]
    assert user_texts([{"role": "system", "content": "s"}, {"role": "user", "content": parts}]) == ["see"]


def test_a_long_message_is_quoted_in_part():
    assert len(answer(["x" * 5000])) < 500


def test_white_space_does_not_matter_for_whose_words_they_are():
    heard = Heard()
    heard.note("two  words\n", "m1")
    assert heard.mids(["two words"]) == ["m1"]


def test_asked_for_the_whole_story_it_says_more_than_fits_in_one_message():
    chapters = answer(["Tell me the whole story, please"]).split("\n\n")
    assert len(chapters) == 3
    assert all(500 < len(chapter.encode()) <= 1000 for chapter in chapters)
