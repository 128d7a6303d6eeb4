"""What is known of a delivery when an evidence is drafted: the immutable input of `draft`.

Plain values only, read by the stages from committed rows. Decides nothing, formats nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Issuer:
    name: str
    country: str
    policy_oid: str
    seal_key_id: str
    seal_certificate_sha256: bytes


@dataclass(frozen=True, slots=True)
class SenderParty:
    name: str
    email: str
    identity_level: str
    identity_method: str
    identified_at: datetime


@dataclass(frozen=True, slots=True)
class RecipientParty:
    """As the sender declared it; what an identification found is in `IdentifiedPerson`."""

    kind: str  # consumer | professional
    email: str
    given_names: str
    birth_name: str
    usage_name: str | None = None
    birth_date: date | None = None
    organisation_name: str | None = None
    organisation_siren: str | None = None


Digest = bytes


@dataclass(frozen=True, slots=True)
class Part:
    """One document, bound by two independent digests.

    sha3_256 is None where nobody has read the document whole: in an A.2 about an upload that arrived in parts.
    """

    number: int
    file_name: str
    content_type: str
    bytes: int
    sha256: Digest
    sha3_256: Digest | None

    @property
    def second_digest(self) -> Digest:
        """Of a document that was read. Raises ValueError for one that was not."""
        if self.sha3_256 is None:
            raise ValueError(f"document {self.number} was never read whole")
        return self.sha3_256


@dataclass(frozen=True, slots=True)
class Deposit:
    """The proof of deposit that every later proof repeats (CPCE R.53-2 items 3, 4 and 5)."""

    evidence: UUID
    sha256: bytes  # of A.1's canonical bytes
    deposited_at: datetime
    seal_signature_sha256: bytes


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: a code of this service (`digest_mismatch`, `period_expired`) and words for people."""

    code: str
    text: str


# Of an A.2, whichever stage finds it.
WITHDRAWN = Reason("consent_withdrawn", "The recipient's consent was withdrawn before the deposit.")


@dataclass(frozen=True, slots=True)
class Dossier:
    delivery: UUID
    number: str
    client_ref: str | None
    mode: str
    config_version: str
    issuer: Issuer
    sender: SenderParty
    recipient: RecipientParty
    parts: tuple[Part, ...]
    submitted_at: datetime
    consent_ref: str | None = None
    deposit: Deposit | None = None  # none before A.1 is stamped
