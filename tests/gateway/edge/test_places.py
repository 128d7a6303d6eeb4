"""Places that are shared: nobody takes the last one, whoever asks and however many do."""

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.callers import Caller
from gateway.places import RETRY_SECONDS, Places
from gateway.problems import Problem


def taken(places: Places, stack: ExitStack, owner: str, attempts: int) -> int:
    """How many of so many attempts get a place."""
    count = 0
    for _ in range(attempts):
        try:
            stack.enter_context(places.held(owner))
        except Problem as problem:
            assert problem.code in ("unavailable", "rate_limited")
            assert problem.headers == {"Retry-After": str(RETRY_SECONDS)}
        else:
            count += 1
    return count


@given(st.integers(2, 100), st.integers(1, 3))
def test_nobody_takes_the_last_place(at_once: int, crowds: int) -> None:
    """However often some ask, one who has none gets one, as long as those are few; alone one gets more than half."""
    places = Places(at_once, "uploads")
    with ExitStack() as stack:
        counts = [taken(places, stack, f"crowd-{n}", 2 * at_once) for n in range(crowds)]
        assert counts[0] >= max(1, at_once // 2 - 1)
        assert all(counts[0] >= count for count in counts)
        if 3**crowds <= at_once:
            assert taken(places, stack, "newcomer", 1) == 1
    with ExitStack() as stack:
        assert taken(places, stack, "afterwards", 1) == 1


def test_a_place_is_given_back_whatever_happens() -> None:
    """An error inside gives the place back, and nothing is remembered of its owner."""
    places = Places(2, "uploads")
    for _ in range(5):
        with pytest.raises(ZeroDivisionError), places.held("a"):
            raise ZeroDivisionError
    with places.held("a"), places.held("b"), pytest.raises(Problem) as full, places.held("c"):
        raise AssertionError("there are two places")
    assert full.value.code == "unavailable"


def test_prefixes_of_one_region_are_one_crowd() -> None:
    """Many prefixes of a region leave room for others; a prefix leaves room for its region."""
    places = Places(8, "checks")
    with ExitStack() as stack:
        count = 0
        for number in range(20):
            try:
                stack.enter_context(places.held_by(Caller(f"192.0.{number}.0/24", "192.0.0.0/16")))
                count += 1
            except Problem as problem:
                assert problem.code == "rate_limited"
        assert 1 < count < 8
        stack.enter_context(places.held_by(Caller("198.51.100.0/24", "198.51.0.0/16")))
