"""What a scenario hands back: figures for the reader, measures for the targets, plots, and what was not there.

Owns     the shape of a result; it is what report.json holds
Elsewhere: what is a good figure (targets.py), how it looks (report.py, plots.py)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with its unit."""

    name: str
    value: float
    unit: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text, for what is a matrix."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Plot:
    """Bars (one group per label) or lines (one x per value). `series` is name to values."""

    title: str
    kind: str  # bars | lines
    y_label: str
    labels: Sequence[str | float]
    series: Mapping[str, Sequence[float]]
    x_label: str = ""
    is_logarithmic: bool = False


@dataclass(slots=True)
class Section:
    """One scenario's result. `measures` is keyed as targets.py names them."""

    name: str
    title: str
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    measures: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    remarks: dict[str, str] = field(default_factory=dict)  # on a measure, for the targets table
    seconds: float = 0.0
    others_share: float = 0.0  # of the cores, used by programs that are not the bench's

    def figure(self, name: str, value: float, unit: str, note: str = "") -> None:
        """Add one number."""
        self.figures.append(Figure(name, value, unit, note))


@dataclass(frozen=True, slots=True)
class BenchReport:
    """A whole run."""

    started_at: str  # UTC
    is_quick: bool
    machine: Mapping[str, str]
    sections: Sequence[Section]
