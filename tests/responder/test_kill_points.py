"""A worker dies at each named step of a send, whatever Instagram does and whenever the echo comes.

Here the step raises, and another worker finds the row as a kill would have left it; test_kill_processes.py kills
real processes with the same table.
"""

import itertools

import pytest

from tests.responder.fakes import SILENCE, A, graph_error
from tests.responder.town import ANNA, MINUTE, SECOND, Outside, opened

STEPS = (
    *("before_begin", "after_begin", "before_post", "after_post", "after_record"),
    *("before_part", "after_part", "before_finish", "after_finish", "before_release", "after_release"),
)
ANSWERS = {
    "success": "ok",
    "timeout": SILENCE,
    "reset_after_the_body": ("arrives", SILENCE),
    "500": graph_error(2, status=500),
    "429": graph_error(613, status=429),
    "sent_but_500": ("arrives", graph_error(1, status=500)),
}
ECHOES = ("early", "late", "none")
FIRST, SECOND_PART = "a" * 900 + ".", "b" * 900
EVERY = 7  # of the whole table `make test` tries one in so many, `make test-all` all
CASES = [
    pytest.param(*case, marks=[pytest.mark.long] if n % EVERY else [])
    for n, case in enumerate(itertools.product(STEPS, ANSWERS, ECHOES, (0, 1)))
]


@pytest.mark.parametrize(("step", "answer", "echo", "faulty_part"), CASES)
async def test_each_part_is_seen_once_and_in_order(file, step, answer, echo, faulty_part):
    outside = Outside(file)
    outside.writer.script = [f"{FIRST}\n\n{SECOND_PART}"] * 3
    outside.instagram.script = ["ok"] * faulty_part + [ANSWERS[answer]]
    async with opened(file, outside=outside) as one, opened(file, outside=outside, owner="two") as two:
        echoed = set()

        async def echoes(mid=""):
            for account, person, out, text in list(outside.instagram.arrived):
                if out not in echoed and (not mid or mid == out):
                    echoed.add(out)
                    await two.echo(out, text, person=person, account=account)

        if echo == "early":
            outside.instagram.meanwhile = [echoes] * 20
        message = await one.say("hello")
        one.kill_at = step
        await one.run(for_ms=2 * SECOND)  # who was killed and runs again is as good as another worker
        await (one if one.kill_at else two).run(for_ms=30 * SECOND)
        if echo == "late":
            await echoes()
        await (one if one.kill_at else two).run(for_ms=20 * MINUTE)
        if echo == "late":
            await echoes()
        assert one.kill_at == "", f"nothing came to {step}"
        assert two.got() == [FIRST, SECOND_PART]
        assert [text for _, _, _, text in outside.instagram.arrived] == [FIRST, SECOND_PART]
        assert (await two.answered_by(message)).startswith("reply")
        row = await two.row()
        assert row.reply is None
        assert row.unsettled == row.undecided == row.pauses == ()
        assert await two.held() == []
        await two.say("and again")
        await two.run(for_ms=MINUTE)
        assert len(two.got(ANNA, A)) == 4
