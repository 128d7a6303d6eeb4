"""Facts about a delivery: each a frozen dataclass = one inserted row = one insert query of the same name.

Field order is parameter order of the query (adapters/postgres/sql/facts.sql, `add_<snake_case of the class>`).
Facts about proofs are in pipeline/evidence/facts.py. A fact is never changed after it was written.
"""

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from pipeline.formats.person import MatchKind


@dataclass(frozen=True, slots=True)
class ContentWrap:
    """The delivery's content keys, wrapped by the bridge for one addressee. Unique per delivery."""

    delivery: UUID
    key_id: str
    context: bytes
    wrapped: bytes


@dataclass(frozen=True, slots=True)
class UploadWrap:
    """An upload that was read and is what it was declared to be; its keys, wrapped under that. Unique per upload.

    sha3_256: as it was found. open_until: the bridge derives no letter's wrap from it afterwards; real time.
    """

    upload: UUID
    key_id: str
    context: bytes
    wrapped: bytes
    sha3_256: bytes
    open_until: datetime


@dataclass(frozen=True, slots=True)
class Notice:
    """The legal announcement, as bytes to be sent and sent again. Unique per (delivery, ordinal)."""

    delivery: UUID
    ordinal: int
    notice_date: date
    last_day: date
    language: str
    message_id: str
    claim_sha256: bytes
    text_sha256: bytes
    mail: bytes
    prepared_at: datetime


@dataclass(frozen=True, slots=True)
class NoticeResult:
    """What became of one notice. Unique per (delivery, ordinal).

    outcome: relayed, refused (for ever), or superseded (its date had passed before it could leave).
    """

    delivery: UUID
    ordinal: int
    outcome: str
    code: int
    detail: str
    at: datetime


@dataclass(frozen=True, slots=True)
class AcceptanceWindow:
    """Until when the recipient may decide. Unique per delivery; fixed when the notice that the relay took is proved."""

    delivery: UUID
    ordinal: int
    last_day: date
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Identification:
    """One attempt of a person to identify for a delivery, with the provider's signed proof. match_kind: of a match."""

    id: UUID
    delivery: UUID
    provider: str
    outcome: str
    level: str
    person_sha256: bytes
    proof: bytes
    authenticated_at: datetime
    match_kind: MatchKind | None


@dataclass(frozen=True, slots=True)
class DecisionIntent:
    """A decision taken in time, before the bridge was asked; its time becomes EventTime. It lives 60 s."""

    id: UUID
    delivery: UUID
    act: str
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class Handover:
    """One document sent in one response, to its last byte or not."""

    delivery: UUID
    part: int
    complete: bool
    bytes: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A numbered state of the package in the object store. Unique per (delivery, snapshot)."""

    delivery: UUID
    snapshot: int
    object: str
    package_bytes: int
    sha256: bytes
    previous_sha256: bytes | None
    sequence_through: int


Fact = ContentWrap | Notice | NoticeResult | AcceptanceWindow | Identification | DecisionIntent | Handover | Snapshot
