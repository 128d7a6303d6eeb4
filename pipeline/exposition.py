"""A process's measures in the Prometheus text format.

Owns     names of series and how a recorder's counters, gauges and histograms become lines
Rules    no identifier is ever a label: stages, lanes, outcomes and routes only
"""

from collections.abc import Iterator
from pathlib import Path
from resource import getpagesize

from pipeline.recorder import Histogram, Recorder

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
COUNTERS = {"outcome": "qerds_stage_messages_total", "stale": "qerds_stale_acks_total"}
HISTOGRAMS = {
    "wait": "qerds_stage_wait_seconds",
    "perform": "qerds_stage_perform_seconds",
    "commit": "qerds_stage_commit_seconds",
    "batch": "qerds_stage_batch_messages",
}


def exposition(kind: str, recorder: Recorder) -> str:
    """All of a stage's process, or of one like it."""
    lines = list(_process_lines(kind))
    for (name, label), value in sorted(recorder.counts.items()):
        labels = f'stage="{kind}"' + (f',outcome="{label}"' if label else "")
        lines.append(f"{COUNTERS.get(name, f'qerds_{name}_total')}{{{labels}}} {value}")
    for name, histogram in sorted(recorder.histograms.items()):
        lines += _histogram_lines(HISTOGRAMS[name], f'stage="{kind}"', histogram)
    for (series, labels), number in sorted(recorder.gauges.items()):
        lines.append(f"{series}{{{labels}}} {number:.15g}" if labels else f"{series} {number:.15g}")
    return "\n".join([*lines, ""])


def http_exposition(kind: str, counts: dict[tuple[str, str], int]) -> str:
    """The gateway's: requests by route pattern."""
    lines = list(_process_lines(kind))
    for (name, label), value in sorted(counts.items()):
        method, _, rest = label.partition(" ")
        route, _, status = rest.partition(" ")
        if name == "http_requests":
            labels = f'method="{method}",route="{route}",status="{status}"'
            lines.append(f"qerds_http_requests_total{{{labels}}} {value}")
        elif name == "http_request_milliseconds":
            lines.append(f'qerds_http_request_milliseconds_total{{method="{method}",route="{route}"}} {value}')
    return "\n".join([*lines, ""])


def _process_lines(kind: str) -> Iterator[str]:
    resident_pages = int(Path("/proc/self/statm").read_text().split()[1])
    yield f'qerds_process_resident_bytes{{kind="{kind}"}} {resident_pages * getpagesize()}'


def _histogram_lines(series: str, labels: str, histogram: Histogram) -> Iterator[str]:
    total = 0
    for bound, count in zip((*(f"{b:g}" for b in histogram.bounds), "+Inf"), histogram.counts, strict=True):
        total += count
        yield f'{series}_bucket{{{labels},le="{bound}"}} {total}'
    yield f"{series}_sum{{{labels}}} {histogram.sum:.15g}"
    yield f"{series}_count{{{labels}}} {total}"
