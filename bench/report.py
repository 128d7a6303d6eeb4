"""Write what was measured: report.json for programs, report.md and report.html for people.

Owns     their layout. All three say the same
Elsewhere: drawing (plots.py), judging (targets.py)
"""

import html
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.results import BenchReport, Plot, Section, Table
from bench.targets import JudgedTarget, judge_all

QUANTITY = re.compile(r"-?\d[\d.,]*( ?[^\s\d]+)?")  # a number, perhaps with its unit: not words that begin with one

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1d2429 }
table { border-collapse: collapse; margin: .5rem 0 1.5rem } caption { text-align: left; font-weight: 600 }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #d5dbdf; text-align: left; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums } .missed { color: #a32020; font-weight: 600 }
.met { color: #1f6b35 } svg { max-width: 100%; height: auto } .note { color: #56626a }
"""
BUSY_SHARE = 0.1
TARGET_COLUMNS = ("target", "goal", "measured", "verdict", "note")


def write(report: BenchReport, folder: Path, draw: Callable[[Plot], str]) -> list[JudgedTarget]:
    """The three files, and the verdicts."""
    folder.mkdir(parents=True, exist_ok=True)
    judged = verdicts(report)
    (folder / "report.json").write_text(as_json(report, judged), encoding="utf-8")
    (folder / "report.md").write_text(as_markdown(report, judged), encoding="utf-8")
    (folder / "report.html").write_text(as_html(report, judged, draw), encoding="utf-8")
    return judged


def verdicts(report: BenchReport) -> list[JudgedTarget]:
    """Every target of the scenarios that ran."""
    measures = {key: value for section in report.sections for key, value in section.measures.items()}
    return judge_all(measures, [section.name for section in report.sections])


def as_json(report: BenchReport, judged: Sequence[JudgedTarget]) -> str:
    """Everything, for programs."""
    targets = [
        {
            "key": j.target.key,
            "what": j.target.what,
            "goal": j.target.goal,
            "measured": j.measured,
            "verdict": j.verdict,
        }
        for j in judged
    ]
    return json.dumps({**asdict(report), "targets": targets}, indent=1, ensure_ascii=False) + "\n"


def target_row(judged: JudgedTarget, report: BenchReport) -> list[str]:
    """One line of the targets table."""
    return [
        judged.target.what,
        judged.target.goal,
        "-" if judged.measured is None else f"{number(judged.measured)} {judged.target.unit}",
        judged.verdict,
        _note_on(judged, report),
    ]


def _note_on(judged: JudgedTarget, report: BenchReport) -> str:
    """What a miss comes from, or why there is no figure, where a section says so."""
    remarks = {key: text for section in report.sections for key, text in section.remarks.items()}
    if judged.measured is not None:
        return remarks.get(judged.target.key, "") if judged.verdict in ("MISSED", "floor met") else ""
    notes = (note for s in report.sections if s.name == judged.target.scenario for note in s.notes)
    words = judged.target.key.split(".")[-1]
    return next((note for note in notes if words in note), "see the notes of the scenario")


def as_markdown(report: BenchReport, judged: Sequence[JudgedTarget]) -> str:
    """For a terminal or a merge request."""
    lines = ["# Bench", "", _headline(report, judged), ""]
    lines += _markdown_table(TARGET_COLUMNS, [target_row(j, report) for j in judged]) if judged else []
    for section in report.sections:
        lines += ["", f"## {section.title}", "", _conditions(section)]
        if section.figures:
            rows = [[f.name, f"{number(f.value)} {f.unit}", f.note] for f in section.figures]
            lines += ["", *_markdown_table(("figure", "value", "note"), rows)]
        for table in section.tables:
            lines += ["", f"**{table.title}**", "", *_markdown_table(table.columns, table.rows)]
        lines += ["", *(f"- {note}" for note in section.notes)] if section.notes else []
    return "\n".join([*lines, ""])


def as_html(report: BenchReport, judged: Sequence[JudgedTarget], draw: Callable[[Plot], str]) -> str:
    """One page with its plots, no other file needed."""
    body = [
        "<h1>Bench</h1>",
        f"<p>{html.escape(_headline(report, judged))}</p>",
        _target_table(report, judged) if judged else "",
    ]
    for section in report.sections:
        body += _html_section(section, draw)
    page = "\n".join(body)
    head = f'<meta charset="utf-8"><title>Bench</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{page}\n</body></html>\n'


def number(value: float) -> str:
    """As few digits as say it."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"


def summary(judged: Sequence[JudgedTarget]) -> str:
    """How many targets were met, missed, not measured."""
    counts = {
        verdict: sum(j.verdict == verdict for j in judged) for verdict in ("met", "floor met", "MISSED", "not measured")
    }
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count) or "none is about what ran"


def _headline(report: BenchReport, judged: Sequence[JudgedTarget]) -> str:
    kind = "quick" if report.is_quick else "full"
    noise = " A quick run is short, and so noisy." if report.is_quick else ""
    machine = "; ".join(f"{name} {value}" for name, value in report.machine.items())
    return f"Started {report.started_at}, {kind} run, on {machine}. Targets: {summary(judged)}.{noise}"


def _conditions(section: Section) -> str:
    """How long, and who else was working: a hop waits for two processes in turn, so it loses more than its share."""
    busy = ", so read its ratios with care" if section.others_share > BUSY_SHARE else ""
    others = f"other programs used {section.others_share:.0%} of the cores meanwhile{busy}"
    return f"Scenario {section.name}, {section.seconds:.0f} s; {others}."


def _markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(columns), line(["---"] * len(columns)), *map(line, rows)]


def _target_table(report: BenchReport, judged: Sequence[JudgedTarget]) -> str:
    rows = []
    for j in judged:
        cells = target_row(j, report)
        look = {"MISSED": "missed", "met": "met", "floor met": "met"}.get(j.verdict, "note")
        shown = [f"<td>{html.escape(cell)}</td>" for cell in cells]
        shown[3] = f'<td class="{look}">{html.escape(cells[3])}</td>'
        rows.append(f"<tr>{''.join(shown)}</tr>")
    return _html_rows("Targets", TARGET_COLUMNS, rows)


def _html_section(section: Section, draw: Callable[[Plot], str]) -> list[str]:
    body = [f"<h2>{html.escape(section.title)}</h2>"]
    body.append(f'<p class="note">{html.escape(_conditions(section))}</p>')
    body += [draw(plot) for plot in section.plots]
    if section.figures:
        rows = [[f.name, f"{number(f.value)} {f.unit}", f.note] for f in section.figures]
        body.append(_html_table(Table("Figures", ("figure", "value", "note"), rows)))
    body += [_html_table(table) for table in section.tables]
    body += [f'<p class="note">{html.escape(note)}</p>' for note in section.notes]
    return body


def _html_table(table: Table) -> str:
    rows = [
        "<tr>" + "".join(f"<td{_look(cell)}>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows
    ]
    return _html_rows(table.title, table.columns, rows)


def _look(cell: str) -> str:
    return ' class="number"' if QUANTITY.fullmatch(cell) else ""


def _html_rows(title: str, columns: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    return f"<table><caption>{html.escape(title)}</caption><tr>{head}</tr>{''.join(rows)}</table>"
