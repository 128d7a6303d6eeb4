"""What a process tells about itself: measures for /metrics and structured lines for the log.

Rules: ids, kinds, counts, codes, times and places in the code only; never a name, an address, a subject, a key or
content, and no text of an exception but ours (failure.py). One JSON object a line on stderr, written at once, so that
the last line before a crash is there.
"""

import json
import sys
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any, TextIO

import anyio

from pipeline.process.failure import behind, places_of, text_of

Labelled = tuple[str, str]  # a measure's name, and its labels as the exposition writes them
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0, 3600.0)
MESSAGES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)


class Histogram:
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
        self.counts: dict[Labelled, int] = {}
        self.gauges: Mapping[Labelled, float] = {}  # replaced as a whole
        self.histograms: dict[Labelled, Histogram] = {}
        self.build = ("", "")  # versions of program and configuration
        self.ready = anyio.Event()  # set by the first epoch
        self.is_ready = False  # whether an epoch lives now
        self._write = write or _to(sys.stderr)
        self._now = now

    def count(self, name: str, label: str = "", by: int = 1) -> None:
        """Add to one counter."""
        if by:
            self.counts[(name, label)] = self.counts.get((name, label), 0) + by

    def observe(self, name: str, value: float, bounds: tuple[float, ...] = SECONDS, labels: str = "") -> None:
        """Add to one histogram; its first value decides the bounds."""
        histogram = self.histograms.get((name, labels))
        if histogram is None:
            histogram = self.histograms[name, labels] = Histogram(bounds)
        histogram.observe(value)

    def note(self, what: str, **fields: Any) -> None:
        """One line about something that happened."""
        line = {"process": self.process, "what": what, **fields}
        if self._now is not None:
            line = {"at": self._now(), **line}
        self._write(json.dumps(line, default=str) + "\n")

    def error(self, where: str, error: BaseException) -> None:
        """An exception: type, places, what it was raised from, and its text when it is one of ours."""
        told = {"type": type(error).__name__, "text": text_of(error), "places": places_of(error)}
        self.note("error", where=where, **told, behind=behind(error))


def _to(stream: TextIO) -> Callable[[str], object]:
    def write(line: str) -> None:
        stream.write(line)
        stream.flush()

    return write
