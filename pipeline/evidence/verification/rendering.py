"""A report as lines for people, as JSON for programs, and as one HTML page.

Owns the three forms; the sentences are in `words`. Everything that came from the verified bytes is escaped or stripped
of control characters before it is shown, since a forged proof may carry anything.
"""

from __future__ import annotations

import html
import json

from pipeline.evidence.events import WORDS
from pipeline.evidence.form.xml import one_line
from pipeline.evidence.verification.report import BatchFacts, CheckOutcome, LetterFacts, Report, Step
from pipeline.evidence.verification.table import CHECKS
from pipeline.evidence.verification.words import LABELS, MARKS, NATURES, STANDING, VERDICTS
from pipeline.formats.instants import time_text


def step_sentence(step: Step, language: str) -> str:
    sentence = CHECKS[step.check].words(step.outcome).said(language).format(**dict(step.values))
    where = f" [{one_line(step.subject, 200)}]" if step.subject else ""
    why = f" ({one_line(step.detail, 300)})" if step.detail else ""
    return sentence + where + why


def verdict_sentence(report: Report, language: str) -> str:
    failed = next((step for step in report.steps if step.outcome is CheckOutcome.FAILED), None)
    reason = "" if failed is None else step_sentence(failed, language)
    sentence = VERDICTS[language][report.verdict.value].format(reason=reason)
    if report.facts is None:
        return sentence
    nature = "" if report.nature is None else f"; {NATURES[language][report.nature]}"
    return f"{sentence} ({STANDING[language][report.facts.mode]}{nature}){_late(report.facts, language)}"


def _late(facts: LetterFacts | BatchFacts, language: str) -> str:
    """What a verdict says of events that were the service's word alone for longer than the bound."""
    if isinstance(facts, BatchFacts) or not facts.late:
        return ""
    events = ", ".join(event.code for event in facts.late)
    return f". {LABELS[language]['late'].format(events=events, seconds=facts.lag_seconds_max)}"


def text(report: Report, name: str, language: str, *, quiet: bool = False) -> str:
    lines = [f"{one_line(name, 300)}  SHA-256 {report.sha256}"]
    if not quiet:
        lines += [f"{MARKS[step.outcome]} {step.number:>2}. {step_sentence(step, language)}" for step in report.steps]
        if report.facts is not None:
            lines += [f"  {label}: {value}" for label, value in fact_lines(report.facts, language)]
    return "\n".join([*lines, verdict_sentence(report, language)]) + "\n"


def fact_lines(facts: LetterFacts | BatchFacts, language: str) -> list[tuple[str, str]]:
    lines = _batch_lines(facts, language) if isinstance(facts, BatchFacts) else _letter_lines(facts, language)
    return [(label, one_line(value, 500)) for label, value in lines]


def _batch_lines(facts: BatchFacts, language: str) -> list[tuple[str, str]]:
    labels = LABELS[language]
    counts = f"{facts.deposited} {labels['deposited']}, {facts.rejected} {labels['rejected']}"
    return [
        (labels["batch"], f"{facts.name} ({facts.batch})"),
        (labels["issuer"], f"{facts.issuer}; {STANDING[language][facts.mode]}"),
        (labels["sender"], facts.sender),
        (labels["submitted"], time_text(facts.submitted_at)),
        (labels["parts"], facts.parts_sha256),
        (labels["lines"], counts),
    ]


def _letter_lines(facts: LetterFacts, language: str) -> list[tuple[str, str]]:
    labels = LABELS[language]
    lines = [
        (labels["number"], facts.number),
        (labels["issuer"], f"{facts.issuer}; {STANDING[language][facts.mode]}"),
        (labels["sender"], facts.sender),
        (labels["recipient"], facts.recipient),
    ]
    for event in facts.events:
        sentence = WORDS[event.code].sentence.said(language)
        stamped = "" if event.stamped_at is None else f"; {labels['stamped']} {time_text(event.stamped_at)}"
        line = f"{sentence}: {labels['happened']} {time_text(event.event_time)}{stamped}"
        lines.append((event.code, f"{line} ({labels['proved_late']})" if facts.is_late(event) else line))
    return lines


def as_dict(report: Report, language: str = "en") -> dict[str, object]:
    """The same report for programs; codes are stable, sentences are not."""
    facts = report.facts
    return {
        "kind": report.kind,
        "is_evidence": report.is_evidence,
        "sha256": report.sha256,
        "verdict": report.verdict.value,
        "failed_check": report.failed_check,
        "sentence": verdict_sentence(report, language),
        "steps": [
            {
                "number": step.number,
                "check": step.check,
                "outcome": step.outcome.value,
                "subject": step.subject,
                "detail": step.detail,
                "sentence": step_sentence(step, language),
            }
            for step in report.steps
        ],
        "facts": None if facts is None else _facts(facts, language),
    }


def _facts(facts: LetterFacts | BatchFacts, language: str) -> dict[str, object]:
    if isinstance(facts, BatchFacts):
        return {
            "batch": facts.batch,
            "name": facts.name,
            "standing": STANDING[language][facts.mode],
            "issuer": facts.issuer,
            "sender": facts.sender,
            "submitted_at": time_text(facts.submitted_at),
            "sha256_of_parts": facts.parts_sha256,
            "deposited": facts.deposited,
            "rejected": facts.rejected,
        }
    return {
        "number": facts.number,
        "delivery": facts.delivery,
        "standing": STANDING[language][facts.mode],
        "issuer": facts.issuer,
        "sender": facts.sender,
        "recipient": facts.recipient,
        "snapshot": facts.snapshot,
        "lag_seconds_max": facts.lag_seconds_max,
        "events": [
            {
                "event": event.code,
                "name": event.name,
                "sequence": event.sequence,
                "event_time": time_text(event.event_time),
                "stamped_at": None if event.stamped_at is None else time_text(event.stamped_at),
                "lag_seconds": event.lag_seconds,
                "is_late": facts.is_late(event),
            }
            for event in facts.events
        ],
    }


def as_json(reports: list[tuple[str, Report]], language: str) -> str:
    documents = [{"file": name, **as_dict(report, language)} for name, report in reports]
    return json.dumps(documents, indent=2, ensure_ascii=False) + "\n"


def as_html(reports: list[tuple[str, Report]], language: str) -> str:
    """One page without script, style sheet or link, to print or keep."""
    title = html.escape(LABELS[language]["title"])
    sections = "".join(_section(name, report, language) for name, report in reports)
    return (
        f'<!doctype html>\n<html lang="{language}"><head><meta charset="utf-8"><title>{title}</title></head>\n'
        f"<body><h1>{title}</h1>\n{sections}</body></html>\n"
    )


def _section(name: str, report: Report, language: str) -> str:
    steps = "".join(
        f"<li>{MARKS[step.outcome]} {html.escape(step_sentence(step, language))}</li>\n" for step in report.steps
    )
    facts = ""
    if report.facts is not None:
        rows = "".join(
            f"<dt>{html.escape(label)}</dt><dd>{html.escape(value)}</dd>\n"
            for label, value in fact_lines(report.facts, language)
        )
        facts = f"<dl>\n{rows}</dl>\n"
    return (
        f"<h2>{html.escape(one_line(name, 300))}</h2>\n<p>SHA-256 {report.sha256}</p>\n<ol>\n{steps}</ol>\n"
        f"{facts}<p><strong>{html.escape(verdict_sentence(report, language))}</strong></p>\n"
    )
