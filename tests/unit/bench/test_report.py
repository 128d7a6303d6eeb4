"""The report says everything, and says misses plainly."""

import json
from pathlib import Path

from bench.report import as_html, as_json, as_markdown, number, summary, verdicts, write
from bench.results import BenchReport, Plot, Section, Table


def report() -> BenchReport:
    section = Section("hop", "One <hop>", measures={"hop.fused.100": 0.3, "hop.fused.10": 0.7})
    section.remarks["hop.fused.100"] = "the driver's round trips"
    section.figure("rate", 12345.6, "/s", "a | b")
    section.tables.append(Table("Rates", ["batch", "rate"], [["100", "1,000/s"]]))
    section.plots.append(Plot("Rates", "bars", "hops/s", ["100"], {"hop": [1000.0]}))
    section.notes.append("oban took no part: no Python 3.12 or newer")
    return BenchReport("2026-12-01T10:00:00+00:00", is_quick=True, machine={"cores": "2"}, sections=[section])


def drawn(plot: Plot) -> str:
    return f"<svg>{plot.title}</svg>"


def test_a_miss_is_said_plainly_with_its_reason() -> None:
    """In the table, in the headline, in words."""
    made = report()
    text = as_markdown(made, verdicts(made))
    missed = next(line for line in text.splitlines() if "MISSED" in line and line.startswith("|"))
    assert "batch 100 / fused" in missed
    assert "the driver's round trips" in missed
    assert "1 MISSED" in summary(verdicts(made))


def test_a_scenario_without_targets_has_no_table_of_them() -> None:
    """A million letters are counted, not judged."""
    section = Section("million", "A million")
    made = BenchReport("2026-12-01T10:00:00+00:00", is_quick=False, machine={}, sections=[section])
    for text in (as_markdown(made, verdicts(made)), as_html(made, verdicts(made), drawn)):
        assert "Targets: none is about what ran." in text
        assert "verdict" not in text


def test_an_absent_peer_is_told_where_its_figure_would_be() -> None:
    """Not measured, and why."""
    made = report()
    line = next(line for line in as_markdown(made, verdicts(made)).splitlines() if "oban no-op" in line)
    assert "not measured" in line
    assert "no Python 3.12" in line


def test_cells_cannot_break_a_table() -> None:
    """A bar inside a cell is escaped in Markdown, a sign in HTML."""
    made = report()
    assert "a \\| b" in as_markdown(made, verdicts(made))
    page = as_html(made, verdicts(made), drawn)
    assert "One &lt;hop&gt;" in page
    assert "<svg>Rates</svg>" in page


def test_quantities_stand_under_each_other_and_words_do_not() -> None:
    """A name that begins with a number is a name."""
    made = report()
    made.sections[0].figure("16 writers with doorbells", 8147.0, "commits/s")
    page = as_html(made, verdicts(made), drawn)
    assert '<td class="number">1,000/s</td>' in page
    assert '<td class="number">8,147 commits/s</td>' in page
    assert "<td>16 writers with doorbells</td>" in page


def test_the_json_holds_measures_and_verdicts() -> None:
    """For programs: what was measured and what was judged."""
    made = report()
    found = json.loads(as_json(made, verdicts(made)))
    assert found["sections"][0]["measures"]["hop.fused.10"] == 0.7
    assert {t["key"]: t["verdict"] for t in found["targets"]}["hop.fused.10"] == "met"


def test_three_files_are_written(tmp_path: Path) -> None:
    """JSON, Markdown and HTML."""
    write(report(), tmp_path / "new", drawn)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["report.html", "report.json", "report.md"]


def test_numbers_have_few_digits() -> None:
    """As many as say it."""
    assert [number(v) for v in (12345.6, 12.345, 0.01234)] == ["12,346", "12.35", "0.0123"]
