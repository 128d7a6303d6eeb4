"""When to try again."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.actors.contract import ATTEMPTS_MAX
from pipeline.process.backoff import CAP_SECONDS, FIRST_SECONDS, JITTER, retry_seconds

UNITS = st.floats(0, 1, exclude_max=True)


@given(st.integers(0, 100_000), UNITS)
def test_a_wait_is_bounded(attempts: int, unit: float) -> None:
    """However often it failed, it is tried again soon after the outage ends, and never at once."""
    seconds = retry_seconds(attempts, unit)
    assert FIRST_SECONDS * (1 - JITTER) <= seconds <= CAP_SECONDS * (1 + JITTER)


@given(st.integers(0, 30), UNITS)
def test_waits_grow(attempts: int, unit: float) -> None:
    """Each wait is at least as long as the one before, the jitter aside."""
    assert retry_seconds(attempts, unit) <= retry_seconds(attempts + 1, unit)


@given(st.integers(0, 30))
def test_jitter_spreads_around_the_plain_wait(attempts: int) -> None:
    """Half of a crowd comes back earlier, half later: not all in the same second."""
    early, plain, late = (retry_seconds(attempts, unit) for unit in (0.0, 0.5, 0.999))
    assert early < plain < late
    assert late - early > plain * JITTER


def test_an_outage_of_a_night_buries_nothing() -> None:
    """The attempts that a message may spend last for at least twelve hours even with the luckiest jitter."""
    assert sum(retry_seconds(n, 0.0) for n in range(ATTEMPTS_MAX)) > 12 * 3600
