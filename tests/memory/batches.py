"""Bulk submission in memory: pipeline.stores.batches.DrawFacts and the writes of a draw, for the simulation.

Owns     batches with their lines and results, what lines may refer to, which client_ref is whose
Rules    the same promises as adapters/postgres/draws.py (tests/contract/test_draws.py runs over both): a transaction
         writes into its own layer; whoever inserts a client_ref that another transaction has inserted waits for its end
Elsewhere: taking lines in (the gateway has no memory twin), transactions (database.py)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from uuid import UUID

import anyio.lowlevel

from pipeline.delivery.routes import AFTER_INGEST
from pipeline.delivery.states import REJECTED, SUBMITTED
from pipeline.errors import Invariant
from pipeline.evidence.dossier import Dossier, Issuer, Part, SenderParty
from pipeline.ports.rows import Segment
from pipeline.stores.batches import (
    BEGINNING,
    PROCESSING,
    RUNNING,
    Draw,
    DrawRecord,
    KnownDelivery,
    LineCursor,
    LineResult,
    References,
    Settlement,
    StoredLine,
)
from pipeline.stores.senders import Consent, Order, SenderUpload
from tests.memory.tables import Submission, Tables

if TYPE_CHECKING:
    from tests.memory.database import MemoryDatabase, MemoryTx, Pause

NO_ISSUER = Issuer("", "", "", "", b"")  # filled in when a dossier is read


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A submitted batch: its lines that wait, and the results of those that were drawn."""

    batch: UUID
    sender: UUID
    defaults: Mapping[str, object]
    state: str
    lines: int
    waiting: tuple[StoredLine, ...]
    results: tuple[LineResult, ...] = ()
    cursor: LineCursor = BEGINNING


@dataclass
class Bulk:
    """What is committed. `owners`: whose delivery is of which batch. `known`: by (sender, client_ref)."""

    batches: dict[UUID, BatchRow] = field(default_factory=dict)
    known: dict[tuple[UUID, str], KnownDelivery] = field(default_factory=dict)
    owners: dict[UUID, UUID] = field(default_factory=dict)
    senders: dict[UUID, SenderParty] = field(default_factory=dict)
    uploads: dict[UUID, tuple[SenderUpload, tuple[Segment, ...]]] = field(default_factory=dict)
    consents: dict[tuple[UUID, str], Consent] = field(default_factory=dict)

    def consent_of(self, order: Order) -> str:
        """How the consent stands that an order names."""
        ref = order.submission.consent_ref
        found = None if ref is None else self.consents.get((order.sender, ref))
        if ref is None:
            return "not_needed"
        return "unknown" if found is None else "given" if found.withdrawn_at is None else "withdrawn"


class MemoryDraws:
    """pipeline.stores.batches.DrawFacts; committed rows only."""

    def __init__(self, database: "MemoryDatabase", pause: "Pause" = anyio.lowlevel.checkpoint) -> None:
        self._database = database
        self._pause = pause

    async def backlog(self, at_most: int) -> int:
        """How many messages wait after `ingest`."""
        await self._pause()
        return min(at_most, sum(len(self._database.waiting[stage]) for stage in AFTER_INGEST))

    async def draws(self, batches: Sequence[UUID], lines_max: int) -> Mapping[UUID, Draw]:
        """The next lines of each, of one part."""
        await self._pause()
        found = {b: self._database.bulk.batches[b] for b in batches if b in self._database.bulk.batches}
        return {b: self._draw(row, lines_max) for b, row in found.items()}

    def _draw(self, row: BatchRow, lines_max: int) -> Draw:
        part = row.waiting[0].part if row.waiting else 0
        return Draw(
            batch=row.batch,
            sender=row.sender,
            state=row.state,
            defaults=row.defaults,
            cursor=row.cursor,
            lines=row.lines,
            drawn=len(row.results),
            stored=tuple(line for line in row.waiting[:lines_max] if line.part == part),
            read_at=self._database.clock.now(),
        )

    async def references(
        self, sender: UUID, uploads: Sequence[UUID], consents: Sequence[str], client_refs: Sequence[str]
    ) -> References:
        """What lines refer to."""
        await self._pause()
        bulk, tables = self._database.bulk, self._database.tables
        own = {u: bulk.uploads[u][0] for u in uploads if u in bulk.uploads and bulk.uploads[u][0].sender == sender}
        theirs = {ref: bulk.consents[sender, ref] for ref in consents if (sender, ref) in bulk.consents}
        return References(
            own, theirs, {r: k for r in client_refs if (k := _taken(bulk, tables, sender, r)) is not None}
        )

    async def settlements(self, batches: Sequence[UUID]) -> Mapping[UUID, Settlement]:
        """Where drawn batches stand."""
        await self._pause()
        bulk = self._database.bulk
        return {b: self._settlement(bulk.batches[b]) for b in batches if b in bulk.batches}

    def _settlement(self, row: BatchRow) -> Settlement:
        found = [self._database.tables.state(r.delivery) for r in row.results if r.delivery is not None]
        states = {state[0] for state in found if state is not None}
        has_errors = REJECTED in states or any(r.delivery is None for r in row.results)
        return Settlement(row.batch, row.state, has_errors, SUBMITTED in states, self._database.clock.now())


def _taken(bulk: Bulk, tables: Tables, sender: UUID, ref: str) -> KnownDelivery | None:
    known = bulk.known.get((sender, ref))
    state = None if known is None else tables.state(known.delivery)
    return None if state is None or state[0] == REJECTED else known


class BatchWrites:
    """What a transaction of `ingest` wrote of batches; merged into `Bulk` at COMMIT."""

    def __init__(self, tx: "MemoryTx", database: "MemoryDatabase") -> None:
        self._tx = tx
        self._database = database
        self._rows: dict[UUID, BatchRow] = {}
        self._known: dict[tuple[UUID, str], KnownDelivery] = {}
        self._owners: dict[UUID, UUID] = {}

    def state_and_cursor(self, batch: UUID) -> tuple[str, LineCursor]:
        """Of a locked batch."""
        row = self._row(batch)
        return row.state, row.cursor

    async def add(self, orders: Sequence[tuple[UUID, Order]]) -> frozenset[UUID]:
        """In the order of client_ref, each waiting for whoever inserts the same one."""
        added = set()
        for batch, order in sorted(orders, key=lambda one: (one[1].sender, one[1].submission.client_ref or "")):
            ref = order.submission.client_ref
            if ref is not None:
                await self._tx.lock_key(("client_ref", order.sender, ref))
                own = (order.sender, ref) in self._known
                if own or _taken(self._database.bulk, self._database.tables, order.sender, ref) is not None:
                    continue
                self._known[order.sender, ref] = KnownDelivery(order.delivery, order.submission.request_sha256)
            self._owners[order.delivery] = batch
            self._tx.tables.submit(self._submission(order))
            added.add(order.delivery)
        return frozenset(added)

    def taken(self, refs: Sequence[tuple[UUID, str]]) -> Mapping[tuple[UUID, str], KnownDelivery]:
        """Who has a client_ref."""
        bulk, tables = self._database.bulk, self._database.tables
        return {(sender, ref): k for sender, ref in refs if (k := _taken(bulk, tables, sender, ref)) is not None}

    def record(self, record: DrawRecord) -> None:
        """Results in, lines out, the cursor on."""
        row, drawn = self._row(record.batch), len(record.results)
        if [(r.part, r.line) for r in record.results] != [(line.part, line.line) for line in row.waiting[:drawn]]:
            raise Invariant("lines of a locked batch changed under its lock")
        last = record.results[-1]
        self._rows[record.batch] = replace(
            row,
            state=PROCESSING,
            waiting=row.waiting[drawn:],
            results=row.results + record.results,
            cursor=LineCursor(last.part, last.line),
        )

    def close(self, batch: UUID, state: str) -> None:
        """A batch that was cancelled meanwhile stays cancelled."""
        row = self._row(batch)
        if row.state in RUNNING:
            self._rows[batch] = replace(row, state=state)

    def merge(self) -> None:
        """COMMIT."""
        self._database.bulk.batches |= self._rows
        self._database.bulk.known |= self._known
        self._database.bulk.owners |= self._owners

    def _row(self, batch: UUID) -> BatchRow:
        return self._rows.get(batch) or self._database.bulk.batches[batch]

    def _submission(self, order: Order) -> Submission:
        bulk, s = self._database.bulk, order.submission
        parts, segments = [], []
        for document in s.documents:
            upload, own = bulk.uploads[document.upload]
            parts.append(_part(document.part, document.file_name, upload))
            segments += [replace(segment, part=document.part) for segment in own]
        dossier = Dossier(
            delivery=order.delivery,
            number=order.number,
            client_ref=s.client_ref,
            mode=order.mode,
            config_version=order.config_version,
            issuer=NO_ISSUER,
            sender=bulk.senders[order.sender],
            recipient=s.recipient,
            parts=tuple(parts),
            submitted_at=self._database.clock.legal_now(),
            consent_ref=s.consent_ref,
        )
        declared = tuple(document.sha256 for document in s.documents)
        return Submission(dossier, s.language, bulk.consent_of(order), declared, tuple(segments))


def _part(number: int, file_name: str, upload: SenderUpload) -> Part:
    return Part(
        number=number,
        file_name=file_name,
        content_type=upload.content_type,
        bytes=upload.content_bytes,
        sha256=upload.sha256,
        sha3_256=upload.sha3_256,
    )
