"""The bridge's clock beside the database's: what is told apart for certain, and nothing else, stops legal times."""

from datetime import UTC, datetime, timedelta

import pytest

from hsm_bridge.clock import APART_SECONDS_MAX, COMPARED_SECONDS_MAX, ClockAway, ClockComparison, ClockReading

MOMENT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class Host:
    """Its wall clock, which may be set, and its monotonic one, which may not."""

    def __init__(self) -> None:
        self.wall = MOMENT
        self.monotonic = 100.0
        self.comparison = ClockComparison(lambda: self.wall, lambda: self.monotonic)

    def compare(self, database_ahead: float, took: float = 0.0) -> None:
        before = self.wall
        self.live(took)
        self.comparison.keep(ClockReading(before, before + timedelta(seconds=took / 2 + database_ahead), self.wall))

    def live(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.monotonic += seconds

    def step(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)

    def is_believed(self) -> bool:
        try:
            self.comparison.check()
        except ClockAway:
            return False
        return True


@pytest.mark.parametrize("seconds", [0.0, 0.4, 1.0, 1.002, 3600.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_beyond_a_second_nothing_is_believed(seconds: float, sign: int) -> None:
    """Back or ahead, the database's clock or ours: whichever is wrong, the two are not both right."""
    for host in (Host(), Host()):
        host.compare(sign * seconds)
        assert host.is_believed() is (seconds <= APART_SECONDS_MAX)
    host = Host()
    host.compare(0.0)
    host.live(4.0)
    host.step(sign * seconds)
    assert host.is_believed() is (seconds <= APART_SECONDS_MAX)
    host.step(-sign * seconds)
    assert host.is_believed()


def test_a_slow_answer_is_no_wrong_clock() -> None:
    """What a stalled machine cannot tell is not held against a clock; an hour is told through any stall."""
    host = Host()
    for took in (0.0, 1.0, 4.9):
        host.compare(0.0, took)
        assert host.is_believed()
        host.compare(3600.0, took)
        assert not host.is_believed()


def test_a_clock_that_nobody_compares_is_not_believed() -> None:
    """Before the first comparison, and a minute after the last."""
    host = Host()
    assert not host.is_believed()
    host.compare(0.0)
    host.live(COMPARED_SECONDS_MAX)
    assert host.is_believed()
    host.live(0.1)
    assert not host.is_believed()


def test_the_offset_is_told_with_its_sign() -> None:
    """Positive: the database is ahead."""
    assert ClockReading(MOMENT, MOMENT + timedelta(seconds=3), MOMENT + timedelta(seconds=2)).offset_seconds == 2.0
    assert ClockReading(MOMENT, MOMENT - timedelta(seconds=3), MOMENT).offset_seconds == -3.0
