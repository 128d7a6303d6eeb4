"""All that one evidence says, as a value: what `xml.render` writes and `reading.read` gives back.

The two are inverse to each other on every content that `xml.render` accepts; that is what makes a byte comparison a
proof of form. Decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pipeline.evidence.dossier import Deposit, Issuer, Part, Reason, RecipientParty, SenderParty
from pipeline.formats.person import IdentifiedPerson


@dataclass(frozen=True, slots=True)
class EvidenceContent:
    evidence: UUID
    event: str
    reason: Reason | None
    event_time: datetime
    issuer: Issuer
    sender: SenderParty
    recipient: RecipientParty
    submitted_at: datetime
    number: str
    parts: tuple[Part, ...]
    delivery: UUID
    ordinal: int
    sequence: int
    predecessor_sha256: bytes | None
    config_version: str
    mode: str
    deposit: Deposit | None
    client_ref: str | None
    consent_ref: str | None
    identification: IdentifiedPerson | None
    details: tuple[tuple[str, str], ...]
