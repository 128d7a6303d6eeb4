"""The bridge's record of key uses against the database: no seal without evidence, none that was not made.

Owns     two predicates of docs/invariants.md, for whoever can read the bridge's files: the record is whole (its chain,
         its files, its heads here and in the database), and its seals are those of the database
Rules    the record is read before the database and what came meanwhile after it, so a busy installation breaks neither.
         What was before the oldest file that is still here is not asked. Holds 16 bytes a seal. Ids and numbers only
Elsewhere: the form of the record (pipeline/formats/key_record.py), the key behind its heads (the bridge checks them at
         its start), the other predicates (ledger.py)
"""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import anyio.to_thread

from pipeline.formats.key_record import CONTINUED, RecordBroken, head_in, line_sha256, old_files, read_chain, start_of
from pipeline.operate.command import Questions
from pipeline.operate.ledger_proofs import Violation

RECORD_PREDICATES = ("key_uses_are_whole", "every_seal_was_made")
RECORD_NAME = "audit.jsonl"
PAGE_SEALS = 10_000
TOLD_WITHIN = timedelta(minutes=10)  # a head goes to the database at once; while that is away, later
_SEALS_MARK = b'"op":"seal_evidence"'


@dataclass(slots=True)
class KeyRecord:
    """What the files say. begins_at: the time of the first line when older files are elsewhere, else None."""

    lines: int = 0
    begins_after: int = 0
    begins_at: datetime | None = None
    last_sha256: str = ""
    last_at: datetime | None = None
    sealed: set[bytes] = field(default_factory=set)
    heads: dict[int, tuple[bytes, datetime | None]] = field(default_factory=dict)
    digests: dict[int, str] = field(default_factory=dict)  # of the lines that were asked for


def read_record(path: Path, line_numbers: frozenset[int] = frozenset()) -> KeyRecord:
    """All files in their order; `line_numbers`: of which lines the digests are wanted. Raises RecordBroken, OSError."""
    record = KeyRecord()
    for one_file in [*old_files(path), path]:
        with one_file.open("rb") as file:
            for line, number in read_chain(file):
                _take(record, line, number, line_numbers)
    return record


def read_whole(path: Path, line_numbers: frozenset[int] = frozenset()) -> KeyRecord:
    """As read_record; read again when a file was put aside between listing and reading."""
    try:
        return read_record(path, line_numbers)
    except (RecordBroken, FileNotFoundError):
        return read_record(path, line_numbers)


def _take(record: KeyRecord, line: bytes, number: int, line_numbers: frozenset[int]) -> None:
    entry = json.loads(line)
    if "at" in entry:
        record.last_at = datetime.fromisoformat(entry["at"])
    if record.lines == 0 and number > 1:
        record.begins_after = number - 1
    elif entry.get("phase") == CONTINUED and start_of(entry) != (record.lines + 1, record.last_sha256):
        raise RecordBroken(f"line {number} of the record does not follow line {record.lines}")
    if record.begins_after and record.begins_at is None:
        record.begins_at = record.last_at
    record.lines, record.last_sha256 = number, line_sha256(line)
    if number in line_numbers:
        record.digests[number] = record.last_sha256
    if (head := head_in(line)) is not None:
        record.heads[head.number] = head.sha256, record.last_at
    elif _SEALS_MARK in line and entry.get("phase") == "result":
        record.sealed.update(
            UUID(outcome.split(" ")[2]).bytes for outcome in entry["done"] if outcome.startswith("ok ")
        )


async def check_record(database: Questions, path: Path) -> list[Violation]:
    """What record and database say differently. Raises OSError when the record cannot be read, Transient."""
    async with database.transaction() as rows:
        anchors = {(row["number"], row["sha256"]) for row in await rows.fetch("ledger_key_use_heads")}
    try:
        record = await anyio.to_thread.run_sync(read_whole, path, frozenset(number for number, _ in anchors))
        violations = _heads(record, anchors)
        return violations + await _seals(database, path, record)
    except RecordBroken as error:
        return [Violation("key_uses_are_whole", "record", str(error))]


def _heads(record: KeyRecord, anchors: set[tuple[int, bytes]]) -> list[Violation]:
    """Each anchor is a line of the record, and each head an anchor, unless it was made just now."""
    violations = [
        Violation("key_uses_are_whole", f"line {number}", "not the line that the database was told of, or it is gone")
        for number, sha256 in sorted(anchors)
        if number > record.begins_after and record.digests.get(number) != sha256.hex()
    ]
    for number, (sha256, at) in sorted(record.heads.items()):
        is_old = at is not None and record.last_at is not None and record.last_at - at > TOLD_WITHIN
        if is_old and (number, sha256) not in anchors:
            violations.append(
                Violation("key_uses_are_whole", f"line {number}", "a head that the database does not have")
            )
    return violations


async def _seals(database: Questions, path: Path, record: KeyRecord) -> list[Violation]:
    without_evidence, not_made = set(record.sealed), dict[bytes, str]()
    last = UUID(int=0)
    while True:
        async with database.transaction() as rows:
            page = await rows.fetch("ledger_seals", last, PAGE_SEALS)
        if not page:
            break
        for row in page:
            evidence = row["evidence"].bytes
            without_evidence.discard(evidence)
            is_asked = record.begins_at is None or (row["sealed_at"] or record.begins_at) > record.begins_at
            if row["sealed_at"] is not None and evidence not in record.sealed and is_asked:
                not_made[evidence] = str(row["evidence"])
        last = page[-1]["evidence"]
    if not_made:  # sealed while the pages were read, or never
        later = await anyio.to_thread.run_sync(read_whole, path)
        not_made = {evidence: name for evidence, name in not_made.items() if evidence not in later.sealed}
    return [
        *(Violation("every_seal_was_made", name, "the record has no such seal") for name in not_made.values()),
        *(Violation("every_seal_was_made", str(UUID(bytes=e)), "a seal without evidence") for e in without_evidence),
    ]
