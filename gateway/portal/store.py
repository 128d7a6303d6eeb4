"""What the portal asks of the database, and the rows that come back.

Owns     the port and its row types; a Letter has no field for the sender, the subject or a file name, so that no page made
         of one can show them; an OpenedLetter has, and is read only where the letter was accepted
Rules    a session lives 15 minutes idle and one hour in all (real clock); the claim digest is the SHA-256 of the token's
         text as it stands in the link
Not      here: what a page shows (standing.py), what may be decided (decision.py)
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol
from uuid import UUID

from pipeline.evidence.dossier import Dossier
from pipeline.ports import StampedEvidence, Tx

SESSION_IDLE_SECONDS = 15 * 60  # OWASP ASVS 5, session timeouts; a letter is read in minutes
SESSION_SECONDS = 60 * 60  # no longer than the bridge's ticket lives
TRANSACTION_SECONDS = 10 * 60  # FranceConnect+: lifetime of an interaction
SESSION_LETTERS_MAX = 20  # claim links opened in one browser


@dataclass(frozen=True, slots=True)
class Person:
    """Who identified in this browser for one letter, and the bridge's ticket for it."""

    given_names: str
    birth_name: str
    usage_name: str | None
    birth_date: date | None
    subject: str
    level: str
    method: str
    authenticated_at: datetime
    person_sha256: bytes
    ticket: bytes


@dataclass(frozen=True, slots=True)
class Session:
    """One browser: the letters whose links it opened, and for which of them somebody identified."""

    session_sha256: bytes
    form_sha256: bytes
    deliveries: tuple[UUID, ...]
    people: Mapping[UUID, Person]


@dataclass(frozen=True, slots=True)
class Transaction:
    """A sign-in under way at the identity provider. session_sha256: the session that the nonce is bound to."""

    delivery: UUID
    number: str
    language: str
    nonce: str
    session_sha256: bytes


@dataclass(frozen=True, slots=True)
class Letter:
    """A delivery as its recipient may see it before accepting and after refusing."""

    delivery: UUID
    number: str
    language: str
    recipient_email: str
    recipient_kind: str
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
    sha256: bytes
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
class StoredSegment:
    """One encrypted stretch of a document; key_index: its place among the delivery's content keys."""

    object: str
    content_format: str
    bytes: int
    key_index: int


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """One document of an accepted letter, with all that is needed to hand it over."""

    document: Document
    segments: tuple[StoredSegment, ...]
    keys: int
    wrap: Wrap
    receipt: bytes


class PortalTx(Tx, Protocol):
    """The Tx of the recipient's acts, and the questions that must be asked under the lock."""

    async def intent_known(self, intent: UUID) -> bool:
        """Whether this form was submitted before."""

    async def intent_lives(self, intent: UUID) -> bool:
        """Whether this very intent is younger than 60 s."""

    async def handed_over(self, delivery: UUID) -> bool:
        """Whether every document has been sent whole, this transaction's rows included."""


class PortalStore(Protocol):
    """All methods raise Transient when the database is away. Reads may be repeated; each write says what twice means."""

    def transaction(self) -> AbstractAsyncContextManager[PortalTx]:
        """Commits on leaving, rings the receivers afterwards; rolls back on any exception."""

    async def open_session(self, session_sha256: bytes, form_sha256: bytes, delivery: UUID) -> None:
        """Durable on return. Also removes sessions that have run out."""

    async def session(self, session_sha256: bytes) -> Session | None:
        """The session, its idle time begun anew; None when it is unknown or has run out."""

    async def join_session(self, session_sha256: bytes, delivery: UUID) -> None:
        """Add a letter to the session; twice is once."""

    async def begin_transaction(self, session_sha256: bytes, state_sha256: bytes, begun: Transaction) -> None:
        """Durable on return."""

    async def take_transaction(self, session_sha256: bytes, state_sha256: bytes) -> Transaction | None:
        """The transaction, once, while it is younger than TRANSACTION_SECONDS; afterwards None."""

    async def renew_session(self, old: bytes, new: bytes, form_sha256: bytes, delivery: UUID, person: Person) -> None:
        """A new identifier for the same browser, with the person in it; the old identifier is gone on return."""

    async def claimed(self, claim_sha256: bytes) -> UUID | None:
        """The delivery that a claim link points to."""

    async def letter(self, delivery: UUID) -> Letter | None:
        """By id."""

    async def numbered(self, number: str, deliveries: tuple[UUID, ...]) -> Letter | None:
        """By number, among the letters of a session."""

    async def opened(self, delivery: UUID) -> OpenedLetter | None:
        """None unless the letter is accepted."""

    async def wrap(self, delivery: UUID) -> Wrap | None:
        """None before the deposit."""

    async def document(self, delivery: UUID, part: int) -> StoredDocument | None:
        """None unless the letter is accepted and has that part."""

    async def evidence(self, delivery: UUID, evidence: UUID) -> StampedEvidence | None:
        """None unless the letter is accepted and this evidence stamped."""

    async def dossier(self, delivery: UUID) -> Dossier:
        """What the drafts are made of."""

    async def recent_mismatches(self, delivery: UUID) -> int:
        """Identifications of the last hour that were not the addressee."""
