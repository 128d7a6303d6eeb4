"""A recorder's measures in the Prometheus text format, written by prometheus-client.

Owns     how counters, gauges and histograms become families of samples, and what every process tells of itself
Rules    a family is made of its declaration (measures.py) and the recorder's plain numbers at each scrape. The client's
         own counters and histograms take a lock for each count and three times as long, and a stage observes every
         message; its processes have one thread. Bounds of buckets are as short as can be: le="1"
"""

from collections.abc import Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from resource import getpagesize
from typing import TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeline.process.build import version
from pipeline.process.measures import BUILD, RESIDENT_BYTES, Measure, Series
from pipeline.process.recorder import Buckets, Recorder

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = tuple[str, ...]
M = TypeVar("M", bound=Measure)
V = TypeVar("V")


def exposition(recorder: Recorder) -> bytes:
    """All of one process, now. A recorder has a registry of its own: a test may have many in one process."""
    registry = CollectorRegistry()
    registry.register(Families(recorder))
    return generate_latest(registry)


class Families(Collector):
    """What a recorder holds, as prometheus-client wants it: families by name, their samples by label."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def collect(self) -> Iterator[Metric]:
        """Each family once."""
        recorder = self._recorder
        for counter, counts in _grouped(recorder.counts):
            counted = CounterMetricFamily(counter.name, counter.help, labels=counter.label_names)
            for labels, value in counts:
                counted.add_metric(self._values(counter, labels), value)
            yield counted
        for gauge, readings in _grouped({**self._process(), **recorder.gauges, **recorder.told()}):
            read = GaugeMetricFamily(gauge.name, gauge.help, labels=gauge.label_names)
            for labels, reading in readings:
                read.add_metric(self._values(gauge, labels), reading)
            yield read
        for histogram, spreads in _grouped(recorder.histograms):
            spread = HistogramMetricFamily(histogram.name, histogram.help, labels=histogram.label_names)
            for labels, buckets in spreads:
                spread.add_metric(self._values(histogram, labels), _cumulative(buckets), buckets.sum)
            yield spread

    def _process(self) -> Series:
        resident_pages = int(Path("/proc/self/statm").read_text().split()[1])
        return {
            BUILD.of(version(), self._recorder.config_version): 1,
            RESIDENT_BYTES.of(): resident_pages * getpagesize(),
        }

    def _values(self, measure: Measure, labels: Labels) -> Labels:
        return (self._recorder.process, *labels) if measure.of_process else labels


def _grouped(series: Mapping[tuple[M, Labels], V]) -> Iterator[tuple[M, list[tuple[Labels, V]]]]:
    """Each measure with its series; both by name, so that two scrapes are alike."""
    grouped: dict[M, list[tuple[Labels, V]]] = {}
    for (measure, labels), value in sorted(series.items(), key=lambda item: (item[0][0].name, item[0][1])):
        grouped.setdefault(measure, []).append((labels, value))
    yield from grouped.items()


def _cumulative(buckets: Buckets) -> list[tuple[str, float]]:
    bounds = [*(f"{bound:g}" for bound in buckets.bounds), "+Inf"]
    return list(zip(bounds, accumulate(buckets.counts), strict=True))
