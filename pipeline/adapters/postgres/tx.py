"""What may be done inside one transaction: lock, add, advance, emit; for the loop also remove, postpone, bury.

Owns     the order of writes and their checks. Lock order everywhere: running rows, deliveries, the rest
Elsewhere: BEGIN and COMMIT (link.py), what a commit decides (the stages), which facts exist (the dataclasses)
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any
from uuid import UUID

import asyncpg

from pipeline.adapters.postgres import draws
from pipeline.adapters.postgres.link import Link
from pipeline.delivery.routes import INTERACTIVE, LEGAL_KINDS, RECEIVER, Emission
from pipeline.delivery.states import EvidenceStanding, advance
from pipeline.errors import Invariant
from pipeline.evidence.draft import Head
from pipeline.ports.mailbox import Advanced, Locked, Message, check_clock, check_tokens
from pipeline.stores.batches import DrawRecord, KnownDelivery, LineCursor
from pipeline.stores.senders import Order


class PostgresTx:
    """One open transaction. `batch` gives emissions without a lane or a trace of their own those of their cause."""

    def __init__(self, link: Link, stage: str, epoch: int = 0, batch: Sequence[Message] = ()) -> None:
        self._link = link
        self._stage = stage
        self._epoch = epoch
        self._lanes = {m.subject: m.lane & ~1 for m in batch}
        self._traces = {m.subject: m.traceparent for m in batch}
        self._locked: dict[UUID, Locked] = {}
        self.rung: set[str] = set()  # stages that have something new once this is committed

    async def fetch(self, name: str, *arguments: Any) -> list[asyncpg.Record]:
        """A named query inside this transaction; for the gateway's own adapters."""
        return await self._link.fetch(name, *arguments)

    async def lock(self, deliveries: Sequence[UUID]) -> Mapping[UUID, Locked]:
        """Row locks in id order; what is told was read after them."""
        rows = await self._link.fetch("lock_deliveries", sorted(set(deliveries)))
        locked = {row["delivery"]: _locked(row) for row in rows}
        self._locked |= locked
        return locked

    async def add(self, facts: Sequence[Any]) -> None:
        """Insert facts, one statement a kind, kinds in the order they first appear: what others refer to comes first.

        Any unique violation is the server's error. Raises ClockBehind for a draft that would be before the last event.
        """
        check_clock(facts, self._locked)
        kinds: dict[type, list[Any]] = defaultdict(list)
        for fact in facts:
            kinds[type(fact)].append(fact)
        for kind, rows in kinds.items():
            columns = [[getattr(fact, field.name) for fact in rows] for field in fields(kind)]
            await self._link.fetch(_query_of(kind), *columns)

    async def advance(self, deliveries: Sequence[UUID]) -> Sequence[Advanced]:
        """Extend the stamped prefix of locked deliveries, and their state with it."""
        missing = [d for d in deliveries if d not in self._locked]
        if missing:
            await self.lock(missing)
        heads = {d: self._locked[d] for d in deliveries if d in self._locked}  # states do not change under the lock
        progress: dict[UUID, list[EvidenceStanding]] = defaultdict(list)
        for r in await self._link.fetch("evidence_progress", sorted(heads)):
            standing = EvidenceStanding(r["sequence"], r["event"], r["ordinal"], r["event_time"], r["gen_time"])
            progress[r["delivery"]].append(standing)
        check_tokens(progress, heads)
        steps = {d: advance(h.state, h.stamped_through, progress[d]) for d, h in heads.items()}
        moved = {d: s for d, s in steps.items() if s.reached}
        updated = await self._link.fetch(
            "advance_deliveries",
            list(moved),
            [heads[d].state for d in moved],
            [heads[d].stamped_through for d in moved],
            [s.state for s in moved.values()],
            [s.stamped_through for s in moved.values()],
        )
        if moved:
            self.rung.add("events")  # a trigger left a row for the sequencer
        if len(updated) != len(moved):
            raise Invariant("a locked delivery changed its state under the lock")
        return [Advanced(d, s.state, s.reached) for d, s in moved.items()]

    async def emit(self, emissions: Sequence[Emission]) -> None:
        """Messages into their receivers' outboxes, timers into the timers."""
        by_stage: dict[str, list[Emission]] = defaultdict(list)
        timers: dict[str, list[Emission]] = defaultdict(list)
        for e in emissions:
            if e.at is None:
                by_stage[RECEIVER[e.kind]].append(e)
            else:
                timers["emit_legal_timer" if e.kind in LEGAL_KINDS else "emit_timer"].append(e)
        for stage, group in by_stage.items():
            await self._link.fetch(f"emit@{stage}", *self._columns(group))
            self.rung.add(stage)
        for query, group in timers.items():
            await self._link.fetch(
                query, [RECEIVER[e.kind] for e in group], [e.at for e in group], *self._columns(group)
            )

    async def remove(self, batch: Sequence[Message]) -> frozenset[int]:
        """The fence."""
        rows = await self._link.fetch(f"remove@{self._stage}", self._epoch, [m.id for m in batch])
        return frozenset(row["id"] for row in rows)

    async def postpone(self, later: Sequence[tuple[Message, float]]) -> None:
        """Removed messages come back at once (0 s) or after a while."""
        now = [m for m, seconds in later if seconds <= 0]
        then = [(m, seconds) for m, seconds in later if seconds > 0]
        if now:
            await self._link.fetch(f"return_now@{self._stage}", *_history(now))
            self.rung.add(self._stage)
        if then:
            await self._link.fetch("postpone", self._stage, [s for _, s in then], *_history([m for m, _ in then]))

    async def bury(self, dead: Sequence[tuple[Message, str]]) -> None:
        """Dead letters."""
        if dead:
            await self._link.fetch("bury", self._stage, [why for _, why in dead], *_history([m for m, _ in dead]))

    # -------------------------------------------------------------- of `ingest` (pipeline.stores.batches.BatchTx)
    async def lock_batches(self, batches: Sequence[UUID]) -> Mapping[UUID, tuple[str, LineCursor]]:
        """State and cursor, under the row locks."""
        return await draws.lock_batches(self._link, batches)

    async def add_orders(self, orders: Sequence[tuple[UUID, Order]]) -> frozenset[UUID]:
        """Deliveries and their documents; which were inserted."""
        return await draws.add_orders(self._link, orders)

    async def taken_refs(self, refs: Sequence[tuple[UUID, str]]) -> Mapping[tuple[UUID, str], KnownDelivery]:
        """Who has a client_ref."""
        return await draws.taken_refs(self._link, refs)

    async def record_draws(self, records: Sequence[DrawRecord]) -> None:
        """Results in, lines out, cursors on."""
        await draws.record_draws(self._link, records)

    async def close_batches(self, states: Mapping[UUID, str]) -> None:
        """Final states."""
        await draws.close_batches(self._link, states)

    def _columns(self, emissions: Sequence[Emission]) -> list[list[Any]]:
        return [
            [self._lanes.get(e.subject, INTERACTIVE) if e.lane is None else e.lane for e in emissions],
            [e.kind for e in emissions],
            [e.subject for e in emissions],
            [e.evidence for e in emissions],
            [e.ordinal for e in emissions],
            [e.traceparent or self._traces.get(e.subject) for e in emissions],
        ]


def _locked(row: asyncpg.Record) -> Locked:
    drafted = frozenset(row["drafted"])
    head = Head(
        delivery=row["delivery"],
        state=row["state"],
        next_sequence=row["next_sequence"],
        predecessor_sha256=row["predecessor_sha256"],
        legal_time=row["legal_time"],
        drafted=drafted,
    )
    return Locked(
        delivery=row["delivery"],
        head=head,
        state=row["state"],
        stamped_through=row["stamped_through"],
        drafted=drafted,
        stamped=frozenset(row["stamped"]),
        expires_at=row["expires_at"],
        intent_alive=row["intent_alive"],
        consent_stands=row["consent_stands"],
        legal_time=row["legal_time"],
        not_before=row["not_before"],
    )


def _history(messages: Sequence[Message]) -> list[list[Any]]:
    return [
        [m.lane for m in messages],
        [m.kind for m in messages],
        [m.subject for m in messages],
        [m.evidence for m in messages],
        [m.ordinal for m in messages],
        [m.attempts for m in messages],
        [m.rescues for m in messages],
        [m.enqueued_at for m in messages],
        [m.traceparent for m in messages],
    ]


def _query_of(kind: type) -> str:
    """EvidenceDraft -> add_evidence_draft."""
    return "add_" + re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
