"""A process's measures in the Prometheus text format.

Owns     names of series and how a recorder's counters, gauges and histograms become lines
Rules    no identifier is ever a label: stages, lanes, outcomes and routes only. A measure whose name begins with qerds_
         is a series as it is; the others are those of the runtime, and the stage is their label
"""

from collections.abc import Iterator
from pathlib import Path
from resource import getpagesize

from pipeline.process.recorder import Histogram, Recorder

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "qerds_"
COUNTERS = {"outcome": "qerds_stage_messages_total", "stale": "qerds_stale_acks_total"}
HISTOGRAMS = {
    "wait": "qerds_stage_wait_seconds",
    "perform": "qerds_stage_perform_seconds",
    "commit": "qerds_stage_commit_seconds",
    "batch": "qerds_stage_batch_messages",
}


def exposition(kind: str, recorder: Recorder) -> str:
    """All of one process."""
    lines = list(_process_lines(kind, recorder))
    for (name, label), value in sorted(recorder.counts.items()):
        if name.startswith(PREFIX):
            lines.append(_line(name, label, value))
        else:
            labels = f'stage="{kind}"' + (f',outcome="{label}"' if label else "")
            lines.append(_line(COUNTERS.get(name, f"{PREFIX}{name}_total"), labels, value))
    for (name, labels), histogram in sorted(recorder.histograms.items(), key=lambda item: item[0]):
        if name.startswith(PREFIX):
            lines += _histogram_lines(name, labels, histogram)
        else:
            lines += _histogram_lines(HISTOGRAMS[name], f'stage="{kind}"', histogram)
    lines += [_line(series, labels, number) for (series, labels), number in sorted(recorder.gauges.items())]
    return "\n".join([*lines, ""])


def label_value(text: str) -> str:
    """Between the quotes of a label; for what an operator may have written."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _line(series: str, labels: str, value: float) -> str:
    return f"{series}{{{labels}}} {value:.15g}" if labels else f"{series} {value:.15g}"


def _process_lines(kind: str, recorder: Recorder) -> Iterator[str]:
    version, config_version = map(label_value, recorder.build)
    yield _line("qerds_build_info", f'version="{version}",config_version="{config_version}"', 1)
    resident_pages = int(Path("/proc/self/statm").read_text().split()[1])
    yield _line("qerds_process_resident_bytes", f'kind="{kind}"', resident_pages * getpagesize())


def _histogram_lines(series: str, labels: str, histogram: Histogram) -> Iterator[str]:
    total = 0
    of = f"{labels}," if labels else ""
    for bound, count in zip((*(f"{b:g}" for b in histogram.bounds), "+Inf"), histogram.counts, strict=True):
        total += count
        yield f'{series}_bucket{{{of}le="{bound}"}} {total}'
    yield _line(f"{series}_sum", labels, histogram.sum)
    yield _line(f"{series}_count", labels, total)
