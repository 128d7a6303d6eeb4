"""Committed rows that stages read in bulk, outside any transaction.

What may have changed since is checked again under the lock. Elsewhere: writing (mailbox.py, Tx), what the faces ask
(pipeline/stores).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol
from uuid import UUID

from pipeline.delivery.facts import UploadWrap
from pipeline.evidence.binding import EvidenceRow
from pipeline.evidence.draft import Dossier
from pipeline.formats.xades import imprint_sha256


@dataclass(frozen=True, slots=True)
class SubmittedDelivery:
    """What `ingest` checks. consent: given, withdrawn, unknown, or not_needed (a professional)."""

    delivery: UUID
    state: str
    dossier: Dossier
    consent: str


@dataclass(frozen=True, slots=True)
class PackKey:
    """The key of a pack, sealed to an intake key."""

    intake_key_id: str
    sealed_key: bytes


@dataclass(frozen=True, slots=True)
class Segment:
    """One encrypted stretch of one document.

    object_bytes: how long its stream is in the object, None when it is the whole of it. pack: of the object, when many
    contents share it; sealed_key is encrypted under that key then.
    """

    part: int
    segment: int
    sender: UUID
    upload: UUID
    object: str
    content_format: str
    plain_bytes: int
    intake_key_id: str
    sealed_key: bytes
    uploaded_at: datetime
    object_offset: int = 0
    object_bytes: int | None = None
    pack: PackKey | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """What `encrypt` reads back: the dossier, what the sender declared, and where the bytes are.

    wraps: of its uploads, those that were read before, for this letter or for another.
    """

    delivery: UUID
    dossier: Dossier
    declared_sha256: tuple[bytes, ...]
    segments: tuple[Segment, ...]
    consent: str
    wraps: Mapping[UUID, UploadWrap] = field(default_factory=dict)

    @property
    def uploads(self) -> Mapping[int, UUID]:
        """Which upload each part is."""
        return {s.part: s.upload for s in self.segments}


@dataclass(frozen=True, slots=True)
class StoredDraft:
    """An evidence as drafted: its row with the bytes to be sealed, and the bridge's receipt of a recipient's act."""

    row: EvidenceRow
    receipt: bytes | None
    seal_key_id: str


@dataclass(frozen=True, slots=True)
class StoredSeal:
    """A sealed evidence on its way to its token."""

    row: EvidenceRow
    signature: bytes

    @property
    def imprint(self) -> bytes:
        """What its token is over: SHA-256 of the SignatureValue element."""
        return imprint_sha256(self.signature)


@dataclass(frozen=True, slots=True)
class StoredNotice:
    """A prepared notice: exactly the bytes that go to the relay, and where to."""

    delivery: UUID
    ordinal: int
    notice_date: date
    last_day: date
    recipient_email: str
    message_id: str
    claim_sha256: bytes
    text_sha256: bytes
    mail: bytes
    prepared_at: datetime
    dossier: Dossier
    is_latest: bool


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a notice may say of a delivery: nothing of the sender, the subject or the files."""

    delivery: UUID
    number: str
    recipient_email: str
    language: str
    next_ordinal: int
    legal_time: datetime


@dataclass(frozen=True, slots=True)
class StampedEvidence:
    """One complete proof: draft, seal, token and the certificate to check the seal with."""

    evidence: UUID
    event: str
    sequence: int
    event_time: datetime
    canonical: bytes
    signature: bytes
    token: bytes
    certificate: bytes


@dataclass(frozen=True, slots=True)
class DeliveryProofs:
    """All that a package snapshot holds, and the snapshot before it."""

    delivery: UUID
    number: str
    mode: str
    stamped_through: int
    evidences: tuple[StampedEvidence, ...]
    snapshots: int
    snapshot_through: int
    snapshot_sha256: bytes | None
    legal_time: datetime


class Facts(Protocol):
    """Committed rows, read in bulk outside any transaction. What may have changed is checked again under the lock.

    Every method answers a mapping without the ids it does not know. May be called as often as one likes.
    Raises Transient when the database is away.
    """

    async def dossiers(self, deliveries: Sequence[UUID]) -> Mapping[UUID, Dossier]: ...
    async def submissions(self, deliveries: Sequence[UUID]) -> Mapping[UUID, SubmittedDelivery]: ...
    async def contents(self, deliveries: Sequence[UUID]) -> Mapping[UUID, Content]: ...
    async def drafts(self, evidences: Sequence[UUID]) -> Mapping[UUID, StoredDraft]: ...
    async def seals(self, evidences: Sequence[UUID]) -> Mapping[UUID, StoredSeal]: ...
    async def announcements(self, deliveries: Sequence[UUID]) -> Mapping[UUID, Announcement]: ...
    async def notices(self, keys: Sequence[tuple[UUID, int]]) -> Mapping[tuple[UUID, int], StoredNotice]: ...
    async def proofs(self, deliveries: Sequence[UUID]) -> Mapping[UUID, DeliveryProofs]: ...
    async def legal_now(self) -> datetime: ...
