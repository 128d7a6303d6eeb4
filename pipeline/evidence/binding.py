"""The row of an evidence against its bytes: what the database believes is what is sealed.

Owns     the comparison of every field that is written twice, in the row and in the bytes
Rules    who relies on a row beside bytes compares first: `seal` before the bridge is asked, `timestamp` before a state
         stands on it, the ledger over all. The row is the claim, the bytes are what anybody will read
         The bytes are searched for what the row says, not parsed: that is a third of a millisecond, twice an evidence.
         It is enough because the bridge seals nothing that is not strictly of the one form, with each of these elements
         at its place; what occurs once is then the one at its place
Elsewhere: what the database itself holds equal (schemas/migrations/0013_evidence_bound.sql), the bridge's own reading
           of the bytes (hsm_bridge/operations/seals.py), how bytes are made (draft.py)
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pipeline.evidence.form.xades import SealInvalid, check_fresh_seal
from pipeline.evidence.form.xml import (
    certificate_element,
    delivery_element,
    event_element,
    event_time_element,
    opening,
    predecessor_element,
    sequence_element,
)


class RowDiffers(ValueError):
    """The row says something else than the bytes, or the seal is over neither; the text names the fields, and none of
    their values."""


@dataclass(frozen=True, slots=True)
class EvidenceRow:
    """One evidence as the database has it. predecessor_sha256: of the row that is one before it in the sequence, None
    when there is none; certificate: of the seal key that the row names, DER."""

    evidence: UUID
    delivery: UUID
    event: str
    sequence: int
    event_time: datetime
    predecessor_sha256: bytes | None
    certificate: bytes
    canonical: bytes


def check_row(row: EvidenceRow) -> None:
    """Raises RowDiffers unless the bytes say all that the row says, and say it once."""
    start = opening(row.evidence).encode()
    is_said = {
        "evidence": row.canonical.startswith(start),
        "event": row.canonical.startswith(event_element(row.event).encode(), len(start)),
        "event_time": _says(row, "<EventTime>", event_time_element(row.event_time)),
        "certificate": _says(row, "<CertDigest>", certificate_element(hashlib.sha256(row.certificate).digest())),
        "delivery": _says(row, "<q:Delivery>", delivery_element(row.delivery)),
        "sequence": _says(row, "<q:Sequence>", sequence_element(row.sequence)),
        "predecessor_sha256": _says_after_sequence(row, predecessor_element(row.predecessor_sha256)),
    }
    different = [name for name, holds in is_said.items() if not holds]
    if different:
        raise RowDiffers(f"row and bytes differ in {', '.join(different)}")


def _says(row: EvidenceRow, tag: str, element: str) -> bool:
    """Once: of two, a reader could take the other one."""
    return row.canonical.count(tag.encode()) == 1 and element.encode() in row.canonical


def _says_after_sequence(row: EvidenceRow, predecessor: str) -> bool:
    """At its place, since the first of a letter has none, and it could stand elsewhere unread."""
    count = row.canonical.count(b"<q:Predecessor>")
    return count == bool(predecessor) and f"</q:Sequence>{predecessor}<q:ConfigVersion>".encode() in row.canonical


def check_sealed(row: EvidenceRow, signature: bytes) -> None:
    """Raises RowDiffers unless the signature seals these bytes as this evidence of this time, with this certificate."""
    try:
        check_fresh_seal(row.evidence, row.event_time, row.canonical, row.certificate, signature)
    except SealInvalid as error:
        raise RowDiffers(str(error)) from error
