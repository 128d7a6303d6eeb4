"""What a sender is shown of its batches: the batch itself, and the results of its lines as NDJSON or CSV.

Owns     the shape of a batch and of a result
Rules    a letter that was rejected after it was drawn is a rejected line, with the reason of its evidence
Elsewhere: reading and paging (batches.py, batch_results.py)
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.problem_codes import PROBLEMS
from gateway.problems import Language, words
from pipeline.evidence.dossier import Reason
from pipeline.formats.instants import time_text
from pipeline.stores.batches import OPEN, RUNNING, BatchProgress, BatchSeen, ResultSeen

CSV_COLUMNS = (
    "line",
    "client_ref",
    "status",
    "delivery_id",
    "number",
    "replayed",
    "problem_code",
    "problem_detail",
    "problem_fields",
)
Row = dict[str, Any]


def batch(b: BatchSeen, progress: BatchProgress | None = None) -> dict[str, object]:
    """BATCH out of the interface; deliveries_by_state only where it was counted."""
    optional = {"submitted_at": b.submitted_at, "completed_at": b.completed_at}
    shown: dict[str, object] = {
        "id": str(b.id),
        "name": b.name,
        "format": b.format,
        "state": b.state,
        "parts": b.parts,
        "created_at": time_text(b.created_at),
        **{name: time_text(moment) for name, moment in optional.items() if moment is not None},
    }
    if b.state == OPEN:
        shown["expires_at"] = time_text(b.expires_at)
    if progress is None:
        return shown
    late = progress.by_state.get("rejected", 0) + progress.replayed_rejected
    counts = {
        "received": b.lines,
        "accepted": b.accepted - late,
        "rejected": b.rejected + late,
        "unprocessed": b.lines - b.accepted - b.rejected,
    }
    return {
        **shown,
        "counts": counts,
        "deliveries_by_state": dict(progress.by_state),
        "eta_seconds": eta_seconds(b, progress),
    }


def eta_seconds(b: BatchSeen, progress: BatchProgress) -> int | None:
    """Until every line is deposited or rejected, at the pace since it was submitted; null while nobody can tell."""
    if b.state not in RUNNING or b.submitted_at is None:
        return None
    decided = b.rejected + sum(progress.by_state.values()) - progress.by_state.get("submitted", 0)
    elapsed = (b.read_at - b.submitted_at).total_seconds()
    if decided == 0 or elapsed <= 0:
        return None
    return max(0, round((b.lines - decided) * elapsed / decided))


def result(r: ResultSeen, reason: Reason | None, language: Language) -> Row:
    """What became of a drawn line."""
    row: Row = {"line": r.number, "client_ref": r.client_ref, "status": "accepted"}
    if r.delivery is not None:
        row |= {"delivery_id": str(r.delivery), "number": r.delivery_number}
    if r.replayed:
        row["replayed"] = True
    if reason is not None:
        return {**row, "status": "rejected", "problem": {"code": reason.code, "detail": reason.text, "errors": []}}
    if r.problem is not None:
        return {**row, "status": "rejected", "problem": problem(r.problem, language)}
    return row


def problem(stored: Mapping[str, Any], language: Language) -> dict[str, Any]:
    """A stored problem, with the words for people of its code."""
    kind = PROBLEMS.get(stored["code"])
    if kind is None:  # stored by another version
        return dict(stored)
    text = words(kind, language)
    return {"title": text.title, "remedy": text.remedy, **stored}


def as_ndjson(rows: Sequence[Row]) -> bytes:
    """One object a line."""
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def as_csv(rows: Sequence[Row]) -> bytes:
    """RFC 4180, without the header."""
    text = io.StringIO()
    writer = csv.writer(text)
    for row in rows:
        row_problem = row.get("problem") or {}
        pointers = " ".join(error["pointer"] for error in row_problem.get("errors", ()))
        writer.writerow(
            [
                row["line"],
                row["client_ref"] or "",
                row["status"],
                row.get("delivery_id", ""),
                row.get("number", ""),
                "true" if row.get("replayed") else "",
                row_problem.get("code", ""),
                row_problem.get("detail", ""),
                pointers,
            ]
        )
    return text.getvalue().encode()


CSV_HEADER = (",".join(CSV_COLUMNS) + "\r\n").encode()
