"""Plots of a section as SVG text. The only importer of matplotlib, and only when a report is written."""

import io
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib import pyplot

from bench.results import Plot

mpl.use("svg")
COLOURS = ("#1b5e8c", "#c8792b", "#4d8f57", "#8a5a9e", "#a33f3f", "#5f6b73")
LABELS_LEVEL_MAX = 6  # more names would run into each other
SIZE_INCHES = (7.2, 3.4)


def svg(plot: Plot) -> str:
    """One figure, to stand in an HTML page."""
    figure, axes = pyplot.subplots(figsize=SIZE_INCHES, layout="constrained")
    try:
        (_bars if plot.kind == "bars" else _lines)(axes, plot)
        axes.set_title(plot.title, fontsize=10, loc="left")
        axes.set_ylabel(plot.y_label)
        axes.set_xlabel(plot.x_label)
        if plot.is_logarithmic:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.grid(axis="y", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if len(plot.series) > 1:
            axes.legend(frameon=False, fontsize=8)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
        text = out.getvalue()
        return text[text.index("<svg") :]
    finally:
        pyplot.close(figure)


def _bars(axes: "pyplot.Axes", plot: Plot) -> None:
    width = 0.8 / len(plot.series)
    for place, (name, values) in enumerate(plot.series.items()):
        at = [group + (place - (len(plot.series) - 1) / 2) * width for group in range(len(plot.labels))]
        bars = axes.bar(at, values, width, label=name, color=COLOURS[place % len(COLOURS)])
        axes.bar_label(bars, fmt=_short, fontsize=7)
    axes.set_xticks(range(len(plot.labels)), [str(label) for label in plot.labels])
    if len(plot.labels) > LABELS_LEVEL_MAX:
        axes.tick_params("x", rotation=30)


def _lines(axes: "pyplot.Axes", plot: Plot) -> None:
    for place, (name, values) in enumerate(plot.series.items()):
        xs: Sequence[float] = [float(x) for x in plot.labels[: len(values)]]
        axes.plot(xs, values, label=name, color=COLOURS[place % len(COLOURS)], linewidth=1.4)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
