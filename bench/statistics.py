"""The few statistics that a report is made of.

Owns     percentiles, and ratios of interleaved runs
Rules    pure. A ratio is taken run by run, then the median of the ratios: two figures of one moment share its noise
"""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

SUSTAINED_MIN = 2000  # events: twenty batches


class Percentiles(NamedTuple):
    """p50, p95, p99 and the largest."""

    p50: float
    p95: float
    p99: float
    largest: float


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of the values do not exceed (nearest rank)."""
    if not values:
        raise ValueError("no values, no percentile")
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * percent // 100))  # ceiling
    return ordered[int(rank) - 1]


def percentiles(values: Sequence[float]) -> Percentiles:
    """The usual ones."""
    return Percentiles(percentile(values, 50), percentile(values, 95), percentile(values, 99), max(values))


def ratio_of_runs(own_rates: Sequence[float], peer_rates: Sequence[float]) -> float:
    """The median of run-by-run ratios."""
    return median(a / b for a, b in zip(own_rates, peer_rates, strict=True))


def medians(runs: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each contestant's runs."""
    return {name: median(values) for name, values in runs.items() if values}


def sustained_rate(instants: Sequence[float], began: float) -> float:
    """Events a second from the first to the last tenth of them; of a few, from `began` to the last one.

    A few come in a handful of batches, and between two of those lies no rate.
    """
    ordered = sorted(instants)
    if len(ordered) < SUSTAINED_MIN:
        return len(ordered) / (ordered[-1] - began)
    low, high = percentile(ordered, 10), percentile(ordered, 90)
    return sum(low < at <= high for at in ordered) / max(high - low, 1e-9)


def rates_by_second(instants: Sequence[float]) -> list[int]:
    """How many fell into each whole second since the first; the last second, which is cut off, is left out."""
    if not instants:
        return []
    first = min(instants)
    counts = [0] * (int(max(instants) - first) + 1)
    for instant in instants:
        counts[int(instant - first)] += 1
    return counts[:-1]
