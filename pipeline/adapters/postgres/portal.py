"""The portal's questions to PostgreSQL, as the role of the gateway. Implements pipeline/stores/portal.py's port.

Rules    what acceptance discloses is guarded in the WHERE of each query (sql/portal.sql), not here
Elsewhere: transactions and connections (database.py), the rows' types (pipeline/stores/letters.py)
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.dossiers import issuer_of, read_dossiers
from pipeline.adapters.postgres.tx import PostgresTx
from pipeline.delivery.routes import Emission
from pipeline.errors import Invariant
from pipeline.evidence.dossier import Dossier
from pipeline.formats.configuration import Provider
from pipeline.ports.bridge import Keys
from pipeline.ports.mailbox import Locked
from pipeline.ports.rows import StampedEvidence
from pipeline.stores.letters import (
    Document,
    DocumentSegment,
    EvidenceLine,
    Letter,
    OpenedLetter,
    Session,
    StoredDocument,
    TicketHolder,
    Transaction,
    Wrap,
)


class PostgresPortalTx:
    """A transaction of the recipient's acts."""

    def __init__(self, tx: PostgresTx) -> None:
        self._tx = tx

    async def lock(self, deliveries: Sequence[UUID]) -> Mapping[UUID, Locked]:
        """See pipeline.ports.mailbox.Tx."""
        return await self._tx.lock(deliveries)

    async def add(self, facts: Sequence[Any]) -> None:
        """See pipeline.ports.mailbox.Tx."""
        await self._tx.add(facts)

    async def advance(self, deliveries: Sequence[UUID]) -> Sequence[Any]:
        """See pipeline.ports.mailbox.Tx; the gateway's role may not."""
        return await self._tx.advance(deliveries)

    async def emit(self, emissions: Sequence[Emission]) -> None:
        """See pipeline.ports.mailbox.Tx."""
        await self._tx.emit(emissions)

    async def intent_known(self, intent: UUID) -> bool:
        """Submitted before."""
        return bool(await self._tx.fetch("portal_intent_known", intent))

    async def intent_lives(self, intent: UUID) -> bool:
        """Younger than 60 s."""
        return bool(await self._tx.fetch("portal_intent_lives", intent))

    async def handed_over(self, delivery: UUID) -> bool:
        """No document is missing any more."""
        return not await self._tx.fetch("portal_missing_parts", delivery)


class PostgresPortalStore:
    """PortalStore over a bounded set of connections."""

    def __init__(self, database: Database, keys: Keys, provider: Provider) -> None:
        self._database = database
        self._keys = keys
        self._provider = provider

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresPortalTx]:
        """BEGIN .. COMMIT."""
        async with self._database.transaction() as tx:
            yield PostgresPortalTx(tx)

    # ------------------------------------------------------------------ sessions
    async def open_session(self, session_sha256: bytes, form_sha256: bytes, delivery: UUID) -> None:
        """One row."""
        await self._database.fetch("portal_open_session", session_sha256, form_sha256, delivery)

    async def session(self, session_sha256: bytes) -> Session | None:
        """While it lives."""
        row = await self._database.fetch_one("portal_session", session_sha256)
        if row is None:
            return None
        people = msgspec.json.decode(row["people"], type=dict[UUID, TicketHolder])
        return Session(row["session_sha256"], row["form_sha256"], tuple(row["deliveries"]), people)

    async def join_session(self, session_sha256: bytes, delivery: UUID) -> None:
        """One letter more."""
        await self._database.fetch("portal_join_session", session_sha256, delivery)

    async def begin_transaction(self, session_sha256: bytes, state_sha256: bytes, begun: Transaction) -> None:
        """Into the session."""
        transaction_json = msgspec.json.encode(begun).decode()
        await self._database.fetch("portal_begin_transaction", session_sha256, state_sha256.hex(), transaction_json)

    async def take_transaction(self, session_sha256: bytes, state_sha256: bytes) -> Transaction | None:
        """Out of it, once."""
        row = await self._database.fetch_one("portal_take_transaction", session_sha256, state_sha256.hex())
        return None if row is None else msgspec.json.decode(row["said"], type=Transaction)

    async def renew_session(
        self, old: bytes, new: bytes, form_sha256: bytes, delivery: UUID, holder: TicketHolder
    ) -> None:
        """A new name for the row. When the session ran out meanwhile nobody is in it, and the next page says so."""
        holder_json = msgspec.json.encode(holder).decode()
        await self._database.fetch("portal_renew_session", old, new, form_sha256, str(delivery), holder_json)

    # ------------------------------------------------------------------ letters
    async def claimed(self, claim_sha256: bytes) -> UUID | None:
        """Where a link points to."""
        row = await self._database.fetch_one("portal_claimed", claim_sha256)
        return None if row is None else row["delivery"]

    async def letter(self, delivery: UUID) -> Letter | None:
        """Without sender, subject and file names."""
        row = await self._database.fetch_one("portal_letter", delivery)
        return None if row is None else _letter(row)

    async def numbered(self, number: str, deliveries: tuple[UUID, ...]) -> Letter | None:
        """Among the letters of a session."""
        row = await self._database.fetch_one("portal_numbered", number, list(deliveries))
        return None if row is None else await self.letter(row["delivery"])

    async def opened(self, delivery: UUID) -> OpenedLetter | None:
        """After acceptance."""
        row = await self._database.fetch_one("portal_opened", delivery)
        if row is None:
            return None
        documents = await self._database.fetch("portal_documents", delivery)
        evidences = await self._database.fetch("portal_evidences", delivery)
        return OpenedLetter(
            sender_name=row["sender_name"],
            sender_email=row["sender_email"],
            subject=row["subject"],
            documents=tuple(_document(d) for d in documents),
            evidences=tuple(EvidenceLine(e["evidence"], e["event"], e["event_time"], e["gen_time"]) for e in evidences),
        )

    async def wrap(self, delivery: UUID) -> Wrap | None:
        """The wrapped keys."""
        row = await self._database.fetch_one("portal_wrap", delivery)
        return None if row is None else Wrap(row["key_id"], row["wrapped"], row["context"])

    async def document(self, delivery: UUID, part: int) -> StoredDocument | None:
        """After acceptance, with the receipt that says so."""
        documents = await self._database.fetch("portal_documents", delivery)
        document = next((_document(row) for row in documents if row["part"] == part), None)
        receipt = await self._database.fetch_one("portal_acceptance", delivery)
        if document is None or receipt is None:
            return None
        segments = await self._database.fetch("portal_segments", delivery)
        wrap = await self.wrap(delivery)
        if wrap is None:
            raise Invariant(f"{delivery} is accepted and has no content wrap")
        stored = tuple(_segment(index, row) for index, row in enumerate(segments) if row["part"] == part)
        return StoredDocument(document, stored, len(segments), wrap, receipt["receipt"])

    async def evidence(self, delivery: UUID, evidence: UUID) -> StampedEvidence | None:
        """After acceptance, complete."""
        row = await self._database.fetch_one("portal_evidence", delivery, evidence)
        return None if row is None else StampedEvidence(**dict(row))

    async def dossier(self, delivery: UUID) -> Dossier:
        """For a draft, under the key that seals now."""
        issuer = issuer_of(self._provider, await self._keys.active("seal"))
        dossiers = await read_dossiers(self._database.fetch, [delivery], issuer)
        if delivery not in dossiers:
            raise Invariant(f"no delivery {delivery}")
        return dossiers[delivery]

    async def matched_providers(self, delivery: UUID) -> frozenset[str]:
        rows = await self._database.fetch("portal_matched_providers", delivery)
        return frozenset(row["provider"] for row in rows)

    async def recent_mismatches(self, delivery: UUID, person_sha256: bytes) -> int:
        """In the last hour."""
        row = await self._database.fetch_one("portal_recent_mismatches", delivery, person_sha256)
        return 0 if row is None else row["mismatches"]


def _letter(row: asyncpg.Record) -> Letter:
    values = dict(row)
    return Letter(**values | {"drafted": frozenset(values["drafted"]), "stamped": frozenset(values["stamped"])})


def _document(row: asyncpg.Record) -> Document:
    return Document(
        part=row["part"],
        file_name=row["file_name"],
        content_type=row["content_type"],
        bytes=row["plain_bytes"],
        sha256=row["sha256"],
        handed_over=row["handed_over"],
    )


def _segment(index: int, row: asyncpg.Record) -> DocumentSegment:
    return DocumentSegment(
        row["object"], row["content_format"], row["plain_bytes"], index, row["object_offset"], row["object_bytes"]
    )
