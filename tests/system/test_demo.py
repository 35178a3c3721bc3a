"""`make demo` without a browser: two links, a connected account, an answer, and everything kept over a restart."""

import asyncio

from tests.ports import free_shift
from tests.system.demo import browser_like, connect, demo
from tests.system.town import A, until

PERSON = "6900000000000501"


async def chat(http, link):
    query = {"account": A, "person": PERSON, "known": ""}
    async with http.get(f"{link}sandbox/chat", params=query) as answer:
        return await answer.json()


async def say(http, link, text):
    body = {"account": A, "person": PERSON, "text": text}
    async with http.post(f"{link}sandbox/say", json=body) as answer:
        assert answer.status == 200


async def answered(http, link, count):
    async def bubbles():
        texts = [one["text"] for one in (await chat(http, link))["messages"] if one["author"] == "app"]
        return texts if len(texts) >= count else None

    return await until(bubbles, 30, f"{count} answers")


async def test_the_demo_connects_answers_and_keeps_both_over_a_restart(tmp_path):
    shift = free_shift()
    async with browser_like() as http:
        async with demo(tmp_path, shift) as first:
            assert "@north_pier_bakery is connected" in await connect(http, first.connect)
            await say(http, first.chat, "Do you have rye bread?")
            (answer,) = await answered(http, first.chat, 1)
            assert "Do you have rye bread?" in answer
            await asyncio.sleep(0.5)  # the sandbox keeps what it knows every 0.3 s and once more when it stops
            assert await first.stop() == 0
        async with demo(tmp_path, shift) as second:
            state = await chat(http, second.chat)
            assert state["connected"]
            assert [one["text"] for one in state["messages"]] == ["Do you have rye bread?", answer]
            await say(http, second.chat, "And on Sunday?")
            assert "And on Sunday?" in (await answered(http, second.chat, 2))[1]
            assert await second.stop() == 0
    assert "Traceback" not in (tmp_path / "log").read_text()
