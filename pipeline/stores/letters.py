"""A delivery as its recipient meets it: the rows that the portal reads and the session that it keeps.

Owns     plain row types, made by an adapter and shown by the gateway. A Letter has no field for the sender, the
         subject or a file name, so that no page made of one can show them; an OpenedLetter has, and is read only after
         acceptance
Elsewhere: how they are read (adapters/postgres/sql/portal.sql), what a page shows (gateway/portal)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from pipeline.formats.legal_texts import Capacity
from pipeline.formats.person import IdentifiedPerson

Digest = bytes


@dataclass(frozen=True, slots=True)
class TicketHolder:
    """Who identified in this browser for one letter, and the bridge's ticket for it."""

    person: IdentifiedPerson
    ticket: bytes


@dataclass(frozen=True, slots=True)
class Session:
    """One browser: what the links that it opened lead to, letters and consent requests, and who identified for which
    letter."""

    session_sha256: bytes
    form_sha256: bytes
    deliveries: tuple[UUID, ...]
    people: Mapping[UUID, TicketHolder]


@dataclass(frozen=True, slots=True)
class Transaction:
    """A sign-in under way at an identity provider. session_sha256: the session that the nonce is bound to; secret: what
    the browser does not learn (PKCE)."""

    delivery: UUID
    number: str
    language: str
    provider: str
    nonce: str
    secret: str
    session_sha256: bytes


@dataclass(frozen=True, slots=True)
class Letter:
    """A delivery as its recipient may see it before accepting and after refusing."""

    delivery: UUID
    number: str
    language: str
    recipient_email: str
    recipient_kind: Capacity
    organisation_name: str | None  # for which the recipient is addressed
    state: str
    drafted: frozenset[str]
    stamped: frozenset[str]
    notice_date: date | None
    last_day: date | None
    expires_at: datetime | None
    decided_at: datetime | None
    intent_alive: bool
    legal_time: datetime


@dataclass(frozen=True, slots=True)
class Document:
    """One document of an accepted letter."""

    part: int
    file_name: str
    content_type: str
    bytes: int
    sha256: Digest
    handed_over: bool


@dataclass(frozen=True, slots=True)
class EvidenceLine:
    """One stamped evidence, as the list shows it."""

    evidence: UUID
    event: str
    event_time: datetime
    stamped_at: datetime


@dataclass(frozen=True, slots=True)
class OpenedLetter:
    """What acceptance discloses."""

    sender_name: str
    sender_email: str
    subject: str
    documents: tuple[Document, ...]
    evidences: tuple[EvidenceLine, ...]


@dataclass(frozen=True, slots=True)
class Wrap:
    """The delivery's wrapped content keys and the context that binds them to the addressee."""

    key_id: str
    wrapped: bytes
    context: bytes


@dataclass(frozen=True, slots=True)
class DocumentSegment:
    """One encrypted stretch of a document; key_index: its place among the delivery's content keys.

    object_bytes: the length of its stream in the object; None when it is the whole object.
    """

    object: str
    content_format: str
    bytes: int
    key_index: int
    object_offset: int = 0
    object_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """One document of an accepted letter, with all that is needed to hand it over."""

    document: Document
    segments: tuple[DocumentSegment, ...]
    keys: int
    wrap: Wrap
    receipt: bytes
