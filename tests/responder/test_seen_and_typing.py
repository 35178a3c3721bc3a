"""What the customer sees before the answer: seen at once, typing only while there is something to wait for."""

import asyncio

from services.responder import compose_reply
from tests.responder.fakes import A
from tests.responder.town import ANNA, opened

SEEN, TYPING = (A, ANNA, "mark_seen"), (A, ANNA, "typing_on")


async def test_an_answer_that_is_there_at_once_needs_no_typing(file, monkeypatch):
    monkeypatch.setattr(compose_reply, "TYPING_AFTER", 2)  # the answer is there well before it on any machine
    async with opened(file) as town:
        await town.say("hello")
        await town.run()
        await asyncio.sleep(compose_reply.TYPING_AFTER + 0.2)
        assert town.got()
        assert town.outside.instagram.acts == [SEEN]


async def test_typing_is_shown_while_the_model_takes_its_time_and_not_after_the_answer(file, monkeypatch):
    monkeypatch.setattr(compose_reply, "TYPING_AFTER", 0.05)
    async with opened(file) as town:
        writer = town.outside.writer
        write = writer.write_reply

        async def slowly(turns, *, within):
            await asyncio.sleep(0.3)
            return await write(turns, within=within)

        monkeypatch.setattr(writer, "write_reply", slowly)
        await town.say("hello")
        await town.run()
        assert town.got()
        assert town.outside.instagram.acts == [SEEN, TYPING]
