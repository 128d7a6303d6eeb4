"""The statistics that the bench's verdicts stand on."""

import pytest

from bench.statistics import (
    SUSTAINED_MIN,
    medians,
    percentile,
    percentiles,
    rates_by_second,
    ratio_of_runs,
    sustained_rate,
)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    """Nearest rank: nothing is interpolated, and the 99th of few is the largest."""
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert percentile(values, 50) == 3.0
    assert percentile(values, 99) == 5.0
    assert percentile(values, 1) == 1.0
    assert percentile(list(map(float, range(1, 101))), 99) == 99.0


def test_no_values_have_no_percentile() -> None:
    """An empty measurement is an error, not a zero that meets every target."""
    with pytest.raises(ValueError, match="no values"):
        percentiles([])


def test_a_ratio_is_taken_run_by_run() -> None:
    """A run that was slow for both contestants does not change it."""
    assert ratio_of_runs([10.0, 5.0, 12.0], [20.0, 10.0, 20.0]) == 0.5


def test_a_ratio_needs_both_contestants_of_every_run() -> None:
    """A missing run is told, never silently paired with another."""
    with pytest.raises(ValueError, match="zip"):
        ratio_of_runs([1.0, 2.0], [1.0])


def test_contestants_without_a_run_have_no_median() -> None:
    """An absent peer is left out."""
    assert medians({"hop": [3.0, 1.0, 2.0], "absent": []}) == {"hop": 2.0}


def test_the_last_second_is_left_out() -> None:
    """It is cut off, and would look like a fall."""
    assert rates_by_second([10.0, 10.5, 11.2, 12.9, 13.1]) == [2, 1, 1]
    assert rates_by_second([]) == []


def test_a_sustained_rate_forgets_start_and_end() -> None:
    """A slow start and a slow end of many events do not count."""
    steady = [100.0 + n / 1000 for n in range(SUSTAINED_MIN)]
    assert sustained_rate([50.0, *steady, 400.0], began=0.0) == pytest.approx(1000, rel=0.01)


def test_few_events_are_counted_from_the_beginning() -> None:
    """A handful of batches has no rate of its own: 250 letters in three bursts were no 1,300 a second."""
    assert sustained_rate([2.0, 2.0, 2.0, 2.0], began=0.0) == 2.0
