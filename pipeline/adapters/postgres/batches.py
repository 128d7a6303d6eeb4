"""pipeline.stores.batches.BatchStore over PostgreSQL, as the role qerds_gateway.

Owns     the mapping from rows to the dataclasses of the port; the transactions that add a part, submit, cancel
Rules    lines are copied in short transactions of their own, so that a slow client pins no snapshot; they count when
         their part is there, and only then
Crash    between the lines and their part: a `batch_intake` row says so, and the hourly round drops them
Elsewhere: what is valid, what is shown; drawing (draws.py); the queries are in sql/batches.sql
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.draws import ALL_LANES, read_references
from pipeline.adapters.postgres.packs import add_pack
from pipeline.adapters.postgres.tx import PostgresTx
from pipeline.delivery.routes import AFTER_INGEST, BULK, DRAW, RECEIVER, SUBMITTED, Emission
from pipeline.errors import Transient
from pipeline.stores.batches import (
    BATCH_LINES_MAX,
    CANCELLED,
    OPEN,
    RUNNING,
    BatchPart,
    BatchProgress,
    BatchSeen,
    Closing,
    LineCursor,
    Mismatch,
    NewBatch,
    NewPart,
    NotOpen,
    PartAdded,
    PartConflict,
    References,
    ResultSeen,
    TooManyLines,
    WaitingLine,
)
from pipeline.stores.senders import PackRows

INTERACTIVE_LANES = (0, 1)
INGEST = (RECEIVER[SUBMITTED],)
DROPPED_LINES_MAX = 20_000  # by one statement
PARTS_AT_ONCE = 5000  # of batches that ran out: by one statement
INTAKES_AT_ONCE = 20  # claimed by one statement
ROUNDS_MAX = 500  # such statements in one hourly round
CANCELLED_AT_ONCE = 20  # batches emptied in one hourly round
PART_AFTER_ALL = 2**31 - 1

Row = Mapping[str, Any]


class _TakenForBroken(Exception):
    """The hourly round drops the lines of this body."""


class PostgresBatchStore:
    """Rows of batches."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, batch: NewBatch) -> BatchSeen:
        """A batch that takes parts."""
        b = batch
        mapping, defaults = json.dumps(dict(b.csv_mapping)), json.dumps(dict(b.defaults))
        await self._database.fetch("open_batch", b.id, b.sender, b.name, b.format, mapping, defaults, b.expires_at)
        return await self._there(b.sender, b.id)

    async def batch(self, sender: UUID, batch: UUID) -> BatchSeen | None:
        """One that is theirs."""
        row = await self._database.fetch_one("sender_batch", sender, batch)
        return None if row is None else _batch(row)

    async def batches(self, sender: UUID, after: UUID | None, limit: int) -> Sequence[BatchSeen]:
        """In the order of opening."""
        return [_batch(r) for r in await self._database.fetch("sender_batches", sender, after or UUID(int=0), limit)]

    async def progress(self, batch: UUID) -> BatchProgress:
        """Its letters by state."""
        rows = await self._database.fetch("batch_states", batch)
        by_state = {r["state"]: r["deliveries"] for r in rows if r["deliveries"]}
        return BatchProgress(by_state, sum(r["replayed"] for r in rows))

    async def part(self, batch: UUID, part: int) -> BatchPart | None:
        """A part that is stored."""
        row = await self._database.fetch_one("batch_part", batch, part)
        return None if row is None else BatchPart(**row)

    # -------------------------------------------------------------- lines coming in
    async def begin_intake(self, intake: UUID, batch: UUID) -> None:
        """Say that lines will come."""
        await self._database.fetch("begin_intake", intake, batch)

    async def add_lines(self, intake: UUID, lines: Sequence[tuple[int, bytes]]) -> None:
        """COPY, in a transaction of its own."""
        rows = [(intake, line, body) for line, body in lines]
        await self._database.copy(("qerds", "batch_line"), ("intake", "line", "body"), rows)

    async def drop_intake(self, intake: UUID) -> None:
        """Lines first, some at a time: what is left after a crash is still named."""
        line: int | None = 0
        while line is not None:
            row = await self._database.fetch_one("drop_lines", intake, line, DROPPED_LINES_MAX)
            line = None if row is None else row["line"]
        await self._database.fetch("end_intake", intake)

    async def add_part(
        self, sender: UUID, part: NewPart, pack: PackRows | None
    ) -> PartAdded | PartConflict | TooManyLines | NotOpen:
        """Lines of an intake become a part."""
        try:
            async with self._database.transaction() as tx:
                [locked] = await tx.fetch("lock_batch", sender, part.batch) or [None]
                is_open = locked is not None and locked["state"] == OPEN and not locked["expired"]
                refused = await self._why_not(tx, part) if is_open else None
                if is_open and refused is None:
                    await self._insert(tx, part, pack)
        except _TakenForBroken as error:
            await self.drop_intake(part.intake)  # with the lines that came after those that were dropped
            raise Transient("the body took longer than a body may") from error
        if is_open and refused is None:
            return PartAdded(BatchPart(part.part, part.sha256, part.lines), is_new=True)
        await self.drop_intake(part.intake)
        return refused or NotOpen(await self._there(sender, part.batch))

    @staticmethod
    async def _why_not(tx: PostgresTx, part: NewPart) -> PartAdded | PartConflict | TooManyLines | None:
        for row in await tx.fetch("batch_part", part.batch, part.part):
            same = row["sha256"] == part.sha256
            return PartAdded(BatchPart(**row), is_new=False) if same else PartConflict()
        [stored] = await tx.fetch("stored_lines", part.batch)
        return TooManyLines() if stored["lines"] + part.lines > BATCH_LINES_MAX else None

    @staticmethod
    async def _insert(tx: PostgresTx, part: NewPart, pack: PackRows | None) -> None:
        p = part
        if not await tx.fetch("take_intake", p.intake):
            raise _TakenForBroken
        await tx.fetch("add_batch_part", p.batch, p.part, p.intake, p.sha256, p.body_bytes, p.lines)
        if pack is not None:
            await add_pack(tx, pack)

    # -------------------------------------------------------------- submit, cancel
    async def submit(self, sender: UUID, batch: UUID, closing: Closing) -> BatchSeen | Mismatch | NotOpen | None:
        """One transaction: lock, compare, number the parts, emit the first draw."""
        async with self._database.transaction() as tx:
            [locked] = await tx.fetch("lock_batch", sender, batch) or [None]
            is_open = locked is not None and locked["state"] == OPEN and not locked["expired"]
            if is_open:
                rows = await tx.fetch("stored_parts", batch)
                stored = closing_of(rows)
                contiguous = [r["part"] for r in rows] == list(range(1, len(rows) + 1))
                if stored != closing or not contiguous:
                    return Mismatch(stored, contiguous)
                await tx.fetch("number_parts", batch)
                await tx.fetch("submit_batch", batch, closing.parts, closing.lines)
                await tx.emit([Emission(DRAW, batch, lane=BULK)])
        if locked is None:
            return None
        now = await self._there(sender, batch)
        return now if is_open else NotOpen(now)

    async def cancel(self, sender: UUID, batch: UUID) -> BatchSeen | NotOpen | None:
        """A draw that is under way waits for the lock or was before it."""
        async with self._database.transaction() as tx:
            [locked] = await tx.fetch("lock_batch", sender, batch) or [None]
            state = None if locked is None else locked["state"]
            if state == OPEN or state in RUNNING:
                if state == OPEN:
                    await tx.fetch("number_parts", batch)
                await tx.fetch("cancel_batch", batch)
        if state is None:
            return None
        now = await self._there(sender, batch)
        return now if now.state == CANCELLED else NotOpen(now)

    # -------------------------------------------------------------- what became of lines
    async def results(self, batch: UUID, after: LineCursor, limit: int) -> Sequence[ResultSeen]:
        """Of drawn lines."""
        rows = await self._database.fetch("batch_results", batch, after.part, after.line, limit)
        return [
            ResultSeen(**{**r, "problem": None if r["problem"] is None else json.loads(r["problem"])}) for r in rows
        ]

    async def waiting(self, batch: UUID, after: LineCursor, limit: int) -> Sequence[WaitingLine]:
        """Of lines that were not drawn."""
        rows = await self._database.fetch("waiting_lines", batch, after.part, after.line, limit)
        return [WaitingLine(**r) for r in rows]

    async def references(
        self, sender: UUID, uploads: Sequence[UUID], consents: Sequence[str], client_refs: Sequence[str]
    ) -> References:
        """What lines refer to."""
        return await read_references(self._database.fetch, sender, uploads, consents, client_refs)

    async def backlog(self, *, interactive_only: bool, at_most: int) -> int:
        """How many messages wait: of letters on their own at every stage up to the notice, of all for `ingest`."""
        stages, lanes = (INGEST + AFTER_INGEST, INTERACTIVE_LANES) if interactive_only else (INGEST, ALL_LANES)
        row = await self._database.fetch_one("backlog", list(stages), list(lanes), at_most)
        return 0 if row is None else int(row["waiting"])

    async def forget_expired(self) -> None:
        """Lines that count for nothing."""
        for _ in range(ROUNDS_MAX):
            if len(await self._database.fetch("expire_parts", PARTS_AT_ONCE)) < PARTS_AT_ONCE:
                break
        for _ in range(ROUNDS_MAX):
            broken = await self._database.fetch("claim_broken_intakes", INTAKES_AT_ONCE)
            for row in broken:
                await self.drop_intake(row["intake"])
            if len(broken) < INTAKES_AT_ONCE:
                break
        for row in await self._database.fetch("cancelled_with_bodies", CANCELLED_AT_ONCE):
            await self._empty(row["batch"])

    async def _empty(self, batch: UUID) -> None:
        """From its end to its beginning, some lines at a time."""
        place: Row | None = {"part": PART_AFTER_ALL, "line": 0}
        while place is not None:
            args = (batch, place["part"], place["line"], DROPPED_LINES_MAX)
            place = await self._database.fetch_one("empty_lines", *args)

    async def _there(self, sender: UUID, batch: UUID) -> BatchSeen:
        stored_batch = await self.batch(sender, batch)
        if stored_batch is None:
            raise Transient("a batch that was just there cannot be read")
        return stored_batch


def closing_of(parts: Sequence[Row]) -> Closing:
    """What a sender should say of these parts, in their order."""
    digest = hashlib.sha256(b"".join(r["sha256"] for r in parts)).digest()
    return Closing(len(parts), sum(r["lines"] for r in parts), digest)


def _batch(row: Row) -> BatchSeen:
    named = {**row, "csv_mapping": json.loads(row["csv_mapping"]), "defaults": json.loads(row["defaults"])}
    return BatchSeen(**named)
