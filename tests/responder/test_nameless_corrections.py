"""Edits and unsends that name no sender belong to the conversation of the message that they are about."""


def nameless(town, event):
    """The same message, of which only the recipient is told."""
    return town.event(mid=event.mid, person="")


async def test_an_edit_that_names_no_sender_is_answered_in_its_new_words(town):
    message = await town.say("do you open at six?")
    town.writer.meanwhile.append(lambda: town.edit(nameless(town, message), "do you open at seven?"))
    await town.run()
    assert town.writer.asked[-1] == ["do you open at seven?"]
    assert len(town.got()) == 1


async def test_an_unsend_that_names_no_sender_stops_the_answer_that_is_being_written(town):
    message = await town.say("my secret")
    town.writer.meanwhile.append(lambda: town.unsend(nameless(town, message)))
    await town.run()
    assert town.got() == []
