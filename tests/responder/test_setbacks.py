"""Back-off and giving up."""

import pytest
from msgspec.structs import replace

from services.common.errors import Unavailable
from services.responder.model import NeedsPerson
from services.responder.outside import ModelRefused
from services.responder.setbacks import back_off, set_back, set_back_too
from services.responder.times import Policy, Times
from tests.responder.stores import a_row

NOW = 1_000_000
TIMES, POLICY = Times(), Policy(max_tries=3)


def after(row, *errors):
    for error in errors:
        row = set_back(row, error, now=NOW, jitter=1.0, times=TIMES, policy=POLICY)
    return row


def test_outages_never_count_towards_the_tries():
    row = after(a_row(), *[Unavailable("away")] * 99)
    assert (row.tries, row.backed_off, row.failed) == (0, 99, False)
    assert row.due_at == NOW + TIMES.back_off_at_most


def test_a_fault_of_its_own_fails_a_conversation_at_last_and_is_told_once():
    refused = ModelRefused("400")
    assert not after(a_row(), refused, refused).failed
    failed = after(a_row(version=7), refused, refused, refused)
    assert [(news.reason, news.subject) for news in failed.handovers] == [(NeedsPerson.FAILED, "7")]
    assert (failed.failed, failed.due_at) == (True, NOW + TIMES.pass_floor)
    again = after(failed, refused)
    assert (again.due_at, again.handovers) == (None, failed.handovers)


def test_a_message_that_came_meanwhile_keeps_a_conversation_from_failing():
    failed = after(a_row(version=7), *[ModelRefused("400")] * 3)
    newer = set_back_too(replace(a_row(version=8), rev=5), failed)
    assert (newer.failed, newer.handovers, newer.rev, newer.due_at) == (False, (), 5, failed.retry_at)
    same = set_back_too(replace(a_row(version=7), rev=5), failed)
    assert (same.failed, same.handovers) == (True, failed.handovers)


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_the_wait_grows_from_a_second_to_five_minutes(jitter):
    waits = [back_off(step, jitter=jitter, times=TIMES) for step in range(30)]
    assert waits == sorted(waits)
    assert min(waits) >= TIMES.back_off_first
    assert max(waits) <= TIMES.back_off_at_most
