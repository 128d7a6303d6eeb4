"""Bulk reads and published keys for the simulation: pipeline.ports.rows.Facts and pipeline.ports.bridge.Keys.

Owns     the mapping from the rows of tables.py to the dataclasses of pipeline/ports/rows.py, as
         adapters/postgres/facts.py
Rules    committed rows only; every method passes `pause` before and after, so that what was read may be old by then
Elsewhere: writing (database.py)
"""

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import anyio.lowlevel

from pipeline.delivery.facts import Notice, Snapshot, UploadWrap
from pipeline.errors import Transient
from pipeline.evidence.binding import EvidenceRow
from pipeline.evidence.dossier import Deposit, Dossier, Issuer, Part
from pipeline.evidence.facts import EvidenceDraft, EvidenceSeal, EvidenceToken
from pipeline.ports.bridge import PublishedKey
from pipeline.ports.rows import (
    Announcement,
    Content,
    DeliveryProofs,
    StampedEvidence,
    StoredDraft,
    StoredNotice,
    StoredSeal,
    SubmittedDelivery,
)
from tests.memory import tables as memory_tables
from tests.memory.database import MemoryClock, MemoryDatabase, Pause

Key = TypeVar("Key", bound=Hashable)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MemoryKeys:
    """pipeline.ports.bridge.Keys over a list."""

    published: Sequence[PublishedKey]
    anchor: bytes
    documents: Mapping[str, bytes]
    clock: MemoryClock

    async def active(self, use: str) -> PublishedKey:
        """The newest that may still seal something new."""
        await anyio.lowlevel.checkpoint()
        begun = [k for k in self.published if k.use == use and k.not_before <= self.clock.now()]
        usable = [k for k in begun if k.until > self.clock.legal_now()]
        if not usable:
            raise Transient(f"the bridge has not published a key for {use} yet")
        return max(usable, key=lambda k: (k.not_before, k.key_id))

    async def every(self, use: str) -> Sequence[PublishedKey]:
        """The newest first."""
        await anyio.lowlevel.checkpoint()
        return sorted((k for k in self.published if k.use == use), key=lambda k: (k.not_before, k.key_id), reverse=True)

    async def statement(self) -> bytes:
        """Nobody outside reads it."""
        await anyio.lowlevel.checkpoint()
        raise Transient("nothing is stated in memory")

    async def by_id(self, key_id: str) -> PublishedKey:
        """Whatever its age."""
        await anyio.lowlevel.checkpoint()
        for key in self.published:
            if key.key_id == key_id:
                return key
        raise Transient(f"key {key_id} is not published")

    async def trust_anchor(self) -> bytes:
        """DER."""
        await anyio.lowlevel.checkpoint()
        return self.anchor

    async def document(self, name: str) -> bytes | None:
        """As published."""
        await anyio.lowlevel.checkpoint()
        return self.documents.get(name)


@dataclass(frozen=True, slots=True)
class MemoryFacts:
    """pipeline.ports.rows.Facts. name, country, policy_oid: of the issuer that dossiers name."""

    database: MemoryDatabase
    keys: MemoryKeys
    name: str
    country: str
    policy_oid: str
    pause: Pause = anyio.lowlevel.checkpoint

    async def dossiers(self, deliveries: Sequence[UUID]) -> Mapping[UUID, Dossier]:
        """What an evidence says of each delivery."""
        issuer = await self._issuer()
        return await self._each(deliveries, lambda d: self._dossier(d, issuer))

    async def submissions(self, deliveries: Sequence[UUID]) -> Mapping[UUID, SubmittedDelivery]:
        """Dossier, state and consent."""
        issuer = await self._issuer()

        def read(delivery: UUID) -> SubmittedDelivery | None:
            dossier, state = self._dossier(delivery, issuer), self.database.tables.state(delivery)
            if dossier is None or state is None:
                return None
            return SubmittedDelivery(delivery, state[0], dossier, self._submitted(delivery).consent)

        return await self._each(deliveries, read)

    async def contents(self, deliveries: Sequence[UUID]) -> Mapping[UUID, Content]:
        """Where the encrypted bytes are, and what they must turn out to be."""
        issuer = await self._issuer()

        def read(delivery: UUID) -> Content | None:
            dossier = self._dossier(delivery, issuer)
            if dossier is None:
                return None
            row = self._submitted(delivery)
            found = (self.database.tables.find(UploadWrap, s.upload) for s in row.segments)
            wraps = {w.upload: w for w in found if w is not None}
            return Content(delivery, dossier, row.declared_sha256, row.segments, row.consent, wraps)

        return await self._each(deliveries, read)

    async def drafts(self, evidences: Sequence[UUID]) -> Mapping[UUID, StoredDraft]:
        """The bytes to be sealed."""
        certificates = {k.key_id: k.certificate for k in self.keys.published}

        def read(evidence: UUID) -> StoredDraft | None:
            e = self.database.tables.find(EvidenceDraft, evidence)
            if e is None or (certificate := certificates.get(e.seal_key_id)) is None:
                return None
            return StoredDraft(self._row(e, certificate), e.receipt, e.seal_key_id)

        return await self._each(evidences, read)

    async def seals(self, evidences: Sequence[UUID]) -> Mapping[UUID, StoredSeal]:
        """Signatures on their way to a token."""
        certificates = {k.key_id: k.certificate for k in self.keys.published}

        def read(evidence: UUID) -> StoredSeal | None:
            tables = self.database.tables
            e, seal = tables.find(EvidenceDraft, evidence), tables.find(EvidenceSeal, evidence)
            if e is None or seal is None or (certificate := certificates.get(e.seal_key_id)) is None:
                return None
            return StoredSeal(self._row(e, certificate), seal.signature)

        return await self._each(evidences, read)

    def _row(self, e: EvidenceDraft, certificate: bytes) -> EvidenceRow:
        """The row with its predecessor's digest."""
        chain = {d.sequence: d.sha256 for d in self.database.tables.drafts(e.delivery)}
        predecessor = chain.get(e.sequence - 1)
        return EvidenceRow(
            e.evidence, e.delivery, e.event, e.sequence, e.event_time, predecessor, certificate, e.canonical
        )

    async def announcements(self, deliveries: Sequence[UUID]) -> Mapping[UUID, Announcement]:
        """What a notice may say."""

        def read(delivery: UUID) -> Announcement | None:
            row = self.database.tables.find(memory_tables.Submission, delivery)
            if row is None:
                return None
            ordinal = max((n.ordinal for n in self.database.tables.of(Notice, delivery)), default=0) + 1
            email, now = row.dossier.recipient.email, self.database.clock.legal_now()
            return Announcement(delivery, row.dossier.number, email, row.language, ordinal, now)

        return await self._each(deliveries, read)

    async def notices(self, keys: Sequence[tuple[UUID, int]]) -> Mapping[tuple[UUID, int], StoredNotice]:
        """Prepared notices with the bytes that go out."""
        issuer = await self._issuer()

        def read(key: tuple[UUID, int]) -> StoredNotice | None:
            notice, dossier = self.database.tables.find(Notice, *key), self._dossier(key[0], issuer)
            if notice is None or dossier is None:
                return None
            return StoredNotice(
                delivery=notice.delivery,
                ordinal=notice.ordinal,
                notice_date=notice.notice_date,
                last_day=notice.last_day,
                recipient_email=dossier.recipient.email,
                message_id=notice.message_id,
                claim_sha256=notice.claim_sha256,
                text_sha256=notice.text_sha256,
                mail=notice.mail,
                prepared_at=notice.prepared_at,
                dossier=dossier,
                is_latest=all(n.ordinal <= notice.ordinal for n in self.database.tables.of(Notice, key[0])),
            )

        return await self._each(keys, read)

    async def proofs(self, deliveries: Sequence[UUID]) -> Mapping[UUID, DeliveryProofs]:
        """The stamped prefix, complete, and the snapshot before."""
        return await self._each(deliveries, self._proofs)

    async def legal_now(self) -> datetime:
        """The time of the law."""
        await self.pause()
        return self.database.clock.legal_now()

    async def _each(self, keys: Sequence[Key], read: Callable[[Key], T | None]) -> dict[Key, T]:
        await self.pause()
        if self.database.away:
            raise Transient("the database is away")
        found = {key: row for key in keys if (row := read(key)) is not None}
        await self.pause()
        return found

    async def _issuer(self) -> Issuer:
        seal = await self.keys.active("seal")
        if seal.certificate is None:
            raise Transient(f"seal key {seal.key_id} has no certificate published")
        sha256 = hashlib.sha256(seal.certificate).digest()
        return Issuer(self.name, self.country, self.policy_oid, seal.key_id, sha256)

    def _submitted(self, delivery: UUID) -> memory_tables.Submission:
        row = self.database.tables.find(memory_tables.Submission, delivery)
        if row is None:
            raise KeyError(delivery)
        return row

    def _dossier(self, delivery: UUID, issuer: Issuer) -> Dossier | None:
        row = self.database.tables.find(memory_tables.Submission, delivery)
        if row is None:
            return None
        parts = tuple(self._part(part, row) for part in row.dossier.parts)
        return replace(row.dossier, issuer=issuer, deposit=self._deposit(delivery), parts=parts)

    def _part(self, part: Part, row: memory_tables.Submission) -> Part:
        """With the second digest of an upload in parts, once it was read back."""
        upload = next((s.upload for s in row.segments if s.part == part.number), None)
        wrap = None if upload is None else self.database.tables.find(UploadWrap, upload)
        return part if wrap is None or part.sha3_256 is not None else replace(part, sha3_256=wrap.sha3_256)

    def _deposit(self, delivery: UUID) -> Deposit | None:
        tables = self.database.tables
        _, through = tables.state(delivery) or ("", 0)
        for e in tables.drafts(delivery):
            seal = tables.find(EvidenceSeal, e.evidence)
            if e.event == "A.1" and through >= 1 and seal is not None:
                return Deposit(e.evidence, e.sha256, e.event_time, hashlib.sha256(seal.signature).digest())
        return None

    def _proofs(self, delivery: UUID) -> DeliveryProofs | None:
        tables = self.database.tables
        row, state = tables.find(memory_tables.Submission, delivery), tables.state(delivery)
        if row is None or state is None:
            return None
        snapshots = tables.of(Snapshot, delivery)
        last = max(snapshots, key=lambda s: s.snapshot) if snapshots else None
        return DeliveryProofs(
            delivery=delivery,
            number=row.dossier.number,
            mode=row.dossier.mode,
            stamped_through=state[1],
            evidences=tuple(self._complete(e) for e in tables.drafts(delivery) if e.sequence <= state[1]),
            snapshots=0 if last is None else last.snapshot,
            snapshot_through=0 if last is None else last.sequence_through,
            snapshot_sha256=None if last is None else last.sha256,
            legal_time=self.database.clock.legal_now(),
        )

    def _complete(self, e: EvidenceDraft) -> StampedEvidence:
        tables = self.database.tables
        seal, token = tables.find(EvidenceSeal, e.evidence), tables.find(EvidenceToken, e.evidence)
        certificate = next(k.certificate for k in self.keys.published if k.key_id == e.seal_key_id)
        if seal is None or token is None or certificate is None:
            raise KeyError(e.evidence)
        return StampedEvidence(
            e.evidence, e.event, e.sequence, e.event_time, e.canonical, seal.signature, token.token, certificate
        )
