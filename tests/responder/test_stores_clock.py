"""The server's time, estimated: tests/responder/test_stores_*.py use the real one."""

import pytest

from services.common.errors import Unavailable
from services.responder.mongo_clock import REFRESH_SECONDS, MongoClock


class Ticks:
    """A monotonic clock that goes when it is told."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class TestMongoClock:
    def asked(self, clock: MongoClock, ticks: Ticks, server_ms: int, *, after: float) -> None:
        asked = clock.ask()
        assert asked is not None
        ticks.seconds += after
        clock.learn(server_ms, asked)

    def test_it_is_unavailable_before_the_first_answer(self) -> None:
        with pytest.raises(Unavailable):
            MongoClock().now()

    def test_it_goes_on_by_itself_and_is_never_ahead(self) -> None:
        ticks = Ticks()
        clock = MongoClock(ticks)
        self.asked(clock, ticks, 5_000, after=0.25)
        assert clock.now() == 5_000
        ticks.seconds += 2
        assert clock.now() == 7_000
        assert clock.ask() is None, "a young answer is good enough"

    def test_a_slow_answer_does_not_turn_it_back(self) -> None:
        ticks = Ticks()
        clock = MongoClock(ticks)
        self.asked(clock, ticks, 5_000, after=0)
        ticks.seconds += REFRESH_SECONDS
        self.asked(clock, ticks, 10_000, after=0.5)
        assert clock.now() == 10_500

    def test_it_follows_a_server_whose_clock_was_set(self) -> None:
        ticks = Ticks()
        clock = MongoClock(ticks)
        self.asked(clock, ticks, 5_000, after=0)
        for server_ms in (90_000, 2_000):
            ticks.seconds += REFRESH_SECONDS
            self.asked(clock, ticks, server_ms, after=0)
            assert clock.now() == server_ms
