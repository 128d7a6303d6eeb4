"""What a process tells about itself: measures for /metrics and structured lines for the log.

Rules: ids, kinds, counts, codes, times and places in the code only; never a name, an address, a subject, a key or
content, and no text of an exception but ours (failure.py). One JSON object a line on stderr, written at once, so that
the last line before a crash is there.
"""

import json
import sys
from bisect import bisect_left
from collections.abc import Callable
from typing import Any, TextIO

import anyio

from pipeline.process.failure import behind, places_of, text_of
from pipeline.process.measures import Counter, Gauge, Histogram, Series


class Buckets:
    """How often a value fell up to each bound, above the one before; the last count is of what was above all."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """One more."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Recorder:
    """Measures and log of one process. Tests and the simulation give it a list instead of stderr."""

    def __init__(
        self, process: str, write: Callable[[str], object] | None = None, now: Callable[[], str] | None = None
    ) -> None:
        self.process = process
        self.config_version = ""
        self.counts: dict[tuple[Counter, tuple[str, ...]], int] = {}
        self.gauges: Series = {}
        self.told: Callable[[], Series] = dict  # asked at each scrape, beside the gauges
        self.histograms: dict[tuple[Histogram, tuple[str, ...]], Buckets] = {}
        self.ready = anyio.Event()  # set by the first epoch
        self.is_ready = False  # whether an epoch lives now
        self._write = write or _to(sys.stderr)
        self._now = now

    def count(self, counter: Counter, *labels: str, by: int = 1) -> None:
        """Add to one counter. Raises ValueError when it has other labels."""
        if by:
            so_far = self.counts.get((counter, labels))
            self.counts[(counter, labels) if so_far is not None else counter.of(*labels)] = (so_far or 0) + by

    def set(self, gauge: Gauge, value: float, *labels: str) -> None:
        """How it is now. Raises ValueError when it has other labels."""
        self.gauges[gauge.of(*labels)] = value

    def observe(self, histogram: Histogram, value: float, *labels: str) -> None:
        """Add to one histogram. Raises ValueError when it has other labels."""
        buckets = self.histograms.get((histogram, labels))
        if buckets is None:
            buckets = self.histograms[histogram.of(*labels)] = Buckets(histogram.bounds)
        buckets.observe(value)

    def note(self, what: str, **fields: Any) -> None:
        """One line about something that happened."""
        line = {"process": self.process, "what": what, **fields}
        if self._now is not None:
            line = {"at": self._now(), **line}
        self._write(json.dumps(line, default=str) + "\n")

    def error(self, where: str, error: BaseException) -> None:
        """An exception: type, places, what it was raised from, and its text when it is one of ours."""
        details = {"type": type(error).__name__, "text": text_of(error), "places": places_of(error)}
        self.note("error", where=where, **details, behind=behind(error))


def _to(stream: TextIO) -> Callable[[str], object]:
    def write(line: str) -> None:
        stream.write(line)
        stream.flush()

    return write
