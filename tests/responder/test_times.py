"""The ledger's times, divided for tests."""

from services.responder.times import Times


def test_every_wait_is_divided_and_the_slack_of_instagrams_clock_is_not():
    whole, short = Times(), Times().divided(20)
    assert short.newer_wait == whole.newer_wait / 20
    assert short.clock_slack == whole.clock_slack
