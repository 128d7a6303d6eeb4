"""The row of an evidence against its bytes: what the database believes is what is sealed.

Owns     the comparison of every field that is written twice, in the row and in the bytes
Rules    who relies on a row beside bytes compares first: `seal` before the bridge is asked, `timestamp` before a state
         stands on it, the ledger over all. The row is the claim, the bytes are what anybody will read
Elsewhere: what the database itself holds equal (schemas/migrations/0013_evidence_bound.sql), the bridge's own reading
           of the bytes (hsm_bridge/operations/seals.py), how bytes are made (draft.py)
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pipeline.evidence.form.xades import SealInvalid, check_fresh_seal
from pipeline.formats.evidence_head import HeadError, parse_evidence_head


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
    """Raises RowDiffers unless the bytes are an evidence and say all that the row says."""
    try:
        head = parse_evidence_head(row.canonical)
    except HeadError as error:
        raise RowDiffers("the bytes are no evidence") from error
    pairs = {
        "evidence": (row.evidence, head.evidence_id),
        "delivery": (row.delivery, head.delivery),
        "event": (row.event, head.event),
        "sequence": (row.sequence, head.sequence),
        "event_time": (row.event_time, head.event_time),
        "predecessor_sha256": (row.predecessor_sha256, head.predecessor_sha256),
        "certificate": (hashlib.sha256(row.certificate).digest(), head.certificate_sha256),
    }
    different = [name for name, (in_row, in_bytes) in pairs.items() if in_row != in_bytes]
    if different:
        raise RowDiffers(f"row and bytes differ in {', '.join(different)}")


def check_sealed(row: EvidenceRow, signature: bytes) -> None:
    """Raises RowDiffers unless the signature seals these bytes as this evidence of this time, with this certificate."""
    try:
        check_fresh_seal(row.evidence, row.event_time, row.canonical, row.certificate, signature)
    except SealInvalid as error:
        raise RowDiffers(str(error)) from error
