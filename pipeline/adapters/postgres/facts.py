"""pipeline.ports.rows.Facts over a stage's work link: committed rows in bulk, one or two statements a batch.

Owns     the mapping from rows to the dataclasses of pipeline/ports/rows.py
Elsewhere: what a stage makes of them. Nothing here is locked: what may have changed is checked again in commit
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import asyncpg

from pipeline.adapters.postgres.dossiers import issuer_of, read_dossiers
from pipeline.adapters.postgres.keys import PostgresKeys
from pipeline.adapters.postgres.link import Link
from pipeline.delivery.facts import UploadWrap
from pipeline.evidence.binding import EvidenceRow
from pipeline.evidence.dossier import Dossier
from pipeline.formats.configuration import Provider
from pipeline.ports.rows import (
    Announcement,
    Content,
    DeliveryProofs,
    PackKey,
    Segment,
    StampedEvidence,
    StoredDraft,
    StoredNotice,
    StoredSeal,
    SubmittedDelivery,
)


class PostgresFacts:
    """Reads as the role of its link; a stage that asks beyond its grants is told so by the server."""

    def __init__(self, link: Link, keys: PostgresKeys, provider: Provider) -> None:
        self._link = link
        self._keys = keys
        self._provider = provider

    async def dossiers(self, deliveries: Sequence[UUID]) -> Mapping[UUID, Dossier]:
        """What an evidence says of each delivery."""
        issuer = issuer_of(self._provider, await self._keys.active("seal"))
        return await read_dossiers(self._link.call, deliveries, issuer)

    async def submissions(self, deliveries: Sequence[UUID]) -> Mapping[UUID, SubmittedDelivery]:
        """Dossier, state and consent."""
        dossiers = await self.dossiers(deliveries)
        consents = await self._consents(deliveries)
        states = {r["delivery"]: r["state"] for r in await self._link.call("read_dossiers", list(deliveries))}
        return {d: SubmittedDelivery(d, states[d], dossier, consents[d]) for d, dossier in dossiers.items()}

    async def contents(self, deliveries: Sequence[UUID]) -> Mapping[UUID, Content]:
        """Where the encrypted bytes are, and what they must turn out to be."""
        dossiers = await self.dossiers(deliveries)
        consents = await self._consents(deliveries)
        declared: dict[UUID, list[bytes]] = defaultdict(list)
        for r in await self._link.call("read_documents", list(deliveries)):
            declared[r["delivery"]].append(r["declared_sha256"])
        segments: dict[UUID, list[Segment]] = defaultdict(list)
        for r in await self._link.call("read_segments", list(deliveries)):
            segments[r["delivery"]].append(_segment(r))
        wraps = {r["upload"]: UploadWrap(**r) for r in await self._link.call("read_upload_wraps", list(deliveries))}
        return {
            d: Content(d, dossier, tuple(declared[d]), tuple(segments[d]), consents[d], _own(wraps, segments[d]))
            for d, dossier in dossiers.items()
        }

    async def drafts(self, evidences: Sequence[UUID]) -> Mapping[UUID, StoredDraft]:
        """The bytes to be sealed; the certificate is checked against the pinned CA."""
        rows = await self._link.call("read_drafts", list(evidences))
        certificates = await self._certificates(rows)
        return {
            r["evidence"]: StoredDraft(_evidence_row(r, certificates), r["receipt"], r["seal_key_id"]) for r in rows
        }

    async def seals(self, evidences: Sequence[UUID]) -> Mapping[UUID, StoredSeal]:
        """Signatures on their way to a token."""
        rows = await self._link.call("read_seals", list(evidences))
        certificates = await self._certificates(rows)
        return {r["evidence"]: StoredSeal(_evidence_row(r, certificates), r["signature"]) for r in rows}

    async def _certificates(self, rows: Sequence[asyncpg.Record]) -> Mapping[str, bytes]:
        """Of the seal keys that the rows name, each checked against the pinned CA."""
        keys = {key_id: await self._keys.by_id(key_id) for key_id in {r["seal_key_id"] for r in rows}}
        return {key_id: cast(bytes, key.certificate) for key_id, key in keys.items()}

    async def announcements(self, deliveries: Sequence[UUID]) -> Mapping[UUID, Announcement]:
        """What a notice may say."""
        now = await self.legal_now()
        rows = await self._link.call("read_announcements", list(deliveries))
        return {r["delivery"]: Announcement(**r, legal_time=now) for r in rows}

    async def notices(self, keys: Sequence[tuple[UUID, int]]) -> Mapping[tuple[UUID, int], StoredNotice]:
        """Prepared notices with the bytes that go out."""
        dossiers = await self.dossiers([delivery for delivery, _ in keys])
        rows = await self._link.call("read_notices", [d for d, _ in keys], [o for _, o in keys])
        return {(r["delivery"], r["ordinal"]): StoredNotice(**r, dossier=dossiers[r["delivery"]]) for r in rows}

    async def proofs(self, deliveries: Sequence[UUID]) -> Mapping[UUID, DeliveryProofs]:
        """The stamped prefix, complete, and the snapshot before."""
        now = await self.legal_now()
        evidences: dict[UUID, list[StampedEvidence]] = defaultdict(list)
        for r in await self._link.call("read_stamped_evidence", list(deliveries)):
            evidences[r["delivery"]].append(StampedEvidence(**{k: v for k, v in r.items() if k != "delivery"}))
        rows = await self._link.call("read_package_heads", list(deliveries))
        return {r["delivery"]: _proofs(r, evidences[r["delivery"]], now) for r in rows}

    async def legal_now(self) -> datetime:
        """The time of the law."""
        rows = await self._link.call("legal_now")
        return cast(datetime, rows[0]["legal_now"])

    async def _consents(self, deliveries: Sequence[UUID]) -> dict[UUID, str]:
        return {r["delivery"]: r["consent"] for r in await self._link.call("read_consents", list(deliveries))}


def _own(wraps: Mapping[UUID, UploadWrap], segments: Sequence[Segment]) -> dict[UUID, UploadWrap]:
    return {s.upload: wraps[s.upload] for s in segments if s.upload in wraps}


def _evidence_row(row: asyncpg.Record, certificates: Mapping[str, bytes]) -> EvidenceRow:
    return EvidenceRow(
        evidence=row["evidence"],
        delivery=row["delivery"],
        event=row["event"],
        sequence=row["sequence"],
        event_time=row["event_time"],
        predecessor_sha256=row["predecessor_sha256"],
        certificate=certificates[row["seal_key_id"]],
        canonical=row["canonical"],
    )


def _segment(row: Mapping[str, Any]) -> Segment:
    values = dict(row)
    del values["delivery"]
    key_id, sealed = values.pop("pack_key_id"), values.pop("pack_sealed_key")
    return Segment(**values, pack=None if key_id is None else PackKey(key_id, sealed))


def _proofs(row: Mapping[str, Any], evidences: Sequence[StampedEvidence], now: datetime) -> DeliveryProofs:
    # The heads are read after the evidences: a token that came in between is left for the next snapshot.
    through = evidences[-1].sequence if evidences else 0
    return DeliveryProofs(
        **{**row, "stamped_through": min(row["stamped_through"], through)}, evidences=tuple(evidences), legal_time=now
    )
