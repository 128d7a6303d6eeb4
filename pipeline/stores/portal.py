"""What the portal asks of the database.

Owns     the port; its rows are in pipeline/stores/letters.py, where the adapter may import them too
Rules    a session lives 15 minutes idle and one hour in all (real clock; sql/portal.sql has the same numbers); the
         claim digest is the SHA-256 of the token's text as it stands in the link
Elsewhere: what a page shows (gateway/pages/standing.py), what may be decided (gateway/portal/decision.py)
"""

from contextlib import AbstractAsyncContextManager
from typing import Protocol
from uuid import UUID

from pipeline.evidence.dossier import Dossier
from pipeline.ports.mailbox import Tx
from pipeline.ports.rows import StampedEvidence
from pipeline.stores.letters import Letter, OpenedLetter, Session, StoredDocument, TicketHolder, Transaction, Wrap

SESSION_SECONDS = 60 * 60  # no longer than the bridge's ticket lives; idle 15 minutes: OWASP ASVS 5, session timeouts
SESSION_LETTERS_MAX = 20  # links of mails opened in one browser


class PortalTx(Tx, Protocol):
    """The Tx of the recipient's acts, and the questions that must be asked under the lock."""

    async def intent_known(self, intent: UUID) -> bool:
        """Whether this form was submitted before."""

    async def intent_lives(self, intent: UUID) -> bool:
        """Whether this very intent is younger than 60 s."""

    async def handed_over(self, delivery: UUID) -> bool:
        """Whether every document has been sent whole, this transaction's rows included."""


class PortalStore(Protocol):
    """All methods raise Transient when the database is away. Reads may be repeated; a write says what twice means."""

    def transaction(self) -> AbstractAsyncContextManager[PortalTx]:
        """Commits on leaving, rings the receivers afterwards; rolls back on any exception."""

    async def open_session(self, session_sha256: bytes, form_sha256: bytes, delivery: UUID) -> None:
        """With a letter, or a consent request. Durable on return. Also removes sessions that have run out."""

    async def session(self, session_sha256: bytes) -> Session | None:
        """The session, its idle time begun anew; None when it is unknown or has run out."""

    async def join_session(self, session_sha256: bytes, delivery: UUID) -> None:
        """Add a letter, or a consent request, to the session; twice is once."""

    async def begin_transaction(self, session_sha256: bytes, state_sha256: bytes, begun: Transaction) -> None:
        """Durable on return."""

    async def take_transaction(self, session_sha256: bytes, state_sha256: bytes) -> Transaction | None:
        """The transaction, once, while it is younger than ten minutes (as at FranceConnect+)."""

    async def renew_session(
        self, old: bytes, new: bytes, form_sha256: bytes, delivery: UUID, holder: TicketHolder
    ) -> None:
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

    async def matched_providers(self, delivery: UUID) -> frozenset[str]:
        """The identity providers with which somebody was found to be the addressee."""

    async def recent_mismatches(self, delivery: UUID, person_sha256: bytes) -> int:
        """Identifications of this person in the last hour that were not the addressee."""
