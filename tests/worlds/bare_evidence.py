"""Evidences with no more in them than the database looks at: for tests of rows, where nobody reads the bytes."""

import hashlib
from datetime import UTC, datetime
from uuid import UUID

from pipeline.evidence.facts import EvidenceDraft
from pipeline.evidence.form.xml import opening
from pipeline.formats.evidence_head import evidence_id

AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


def bare_draft(
    delivery: UUID,
    event: str,
    sequence: int,
    ordinal: int = 0,
    *,
    at: datetime = AT,
    receipt: bytes | None = None,
) -> EvidenceDraft:
    """A draft that names a fact of this letter at this place."""
    evidence = evidence_id(delivery, event, ordinal)
    canonical = f"{opening(evidence)}{sequence}</erds:Evidence>".encode()
    digest = hashlib.sha256(canonical).digest()
    return EvidenceDraft(evidence, delivery, event, ordinal, sequence, at, canonical, digest, "seal-1", receipt)
