"""Rates: so many at once, then as many as come back; told in fields that programs read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.problems import Problem
from gateway.rates import REMEMBERED_MAX, Rate


class Time:
    """That a test sets."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> float:
        return self.seconds


def test_what_is_left_is_told_and_comes_back() -> None:
    """Ten in a minute: ten at once, the eleventh hears when to come again, and then has one."""
    time = Time()
    rate = Rate("tokens", 10, 60, now=time.now)
    fields = [rate.take("a") for _ in range(10)]
    assert fields[0] == {"RateLimit-Policy": '"tokens";q=10;w=60', "RateLimit": '"tokens";r=9;t=6'}
    assert fields[9]["RateLimit"] == '"tokens";r=0;t=60'
    with pytest.raises(Problem) as problem:
        rate.take("a")
    assert problem.value.code == "rate_limited"
    assert problem.value.headers["Retry-After"] == "6"
    assert problem.value.headers["RateLimit"] == '"tokens";r=0;t=60'
    rate.take("b")
    time.seconds += 6
    rate.take("a")
    with pytest.raises(Problem):
        rate.require("a")
    time.seconds += 60
    rate.require("a")
    assert rate.take("a")["RateLimit"] == '"tokens";r=9;t=6'


@given(st.integers(1, 50), st.integers(1, 100), st.lists(st.floats(0, 30), max_size=200))
def test_never_more_than_the_count_and_what_came_back(count: int, seconds: int, pauses: list[float]) -> None:
    """In any stretch of time, however the questions fall."""
    time = Time()
    rate = Rate("x", count, seconds, now=time.now)
    given_at: list[float] = []
    for pause in pauses:
        time.seconds += pause
        try:
            rate.take("a")
        except Problem as problem:
            time.seconds += int(problem.headers["Retry-After"])
            rate.take("a")  # as it was told
        given_at.append(time.seconds)
    for first in range(len(given_at)):
        for last in range(first, len(given_at)):
            passed = given_at[last] - given_at[first]
            assert last - first + 1 <= count + passed * count / seconds + 1e-6


def test_what_is_remembered_has_a_bound() -> None:
    """Any number of addresses: the oldest are forgotten."""
    rate = Rate("x", 1, 60, now=Time().now)
    for number in range(REMEMBERED_MAX + 10):
        rate.take(number)
    rate.take(0)
    with pytest.raises(Problem):
        rate.take(REMEMBERED_MAX)
