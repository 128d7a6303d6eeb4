"""The facts of a proof: the rows that `seal`, `timestamp` and the drafting stages insert, one row per fact.

Each is unique on `evidence`; `EvidenceDraft` also on (delivery, event, ordinal). Never updated, never deleted by a
stage. How the bytes are made is in `draft`, `xades` and `time_stamp`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pipeline.formats.evidence_head import evidence_id


@dataclass(frozen=True, slots=True)
class EvidenceDraft:
    """Everything that will be signed, fixed before any signature."""

    evidence: UUID
    delivery: UUID
    event: str
    ordinal: int
    sequence: int
    event_time: datetime
    canonical: bytes
    sha256: bytes
    seal_key_id: str
    receipt: bytes | None  # the bridge's record of the recipient's act; stored beside the draft, not in it


@dataclass(frozen=True, slots=True)
class EvidenceSeal:
    evidence: UUID
    signature: bytes  # r and s, 64 bytes
    key_id: str


@dataclass(frozen=True, slots=True)
class EvidenceToken:
    evidence: UUID
    token: bytes
    gen_time: datetime


__all__ = ["EvidenceDraft", "EvidenceSeal", "EvidenceToken", "evidence_id"]
