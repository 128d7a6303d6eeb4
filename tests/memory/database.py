"""A database in memory and its transactions, on trio or asyncio: pipeline.ports.mailbox.MailboxTx for the simulation.

Owns     the rows of all mailboxes, timers, dead letters and process lives, both clocks; row locks until COMMIT; what is
         not committed leaves nothing
Rules    no threads and no clock but anyio's, so that a virtual clock rules; every statement passes `pause`, where a
         simulation delays, kills and lets others run; between two pauses everything is atomic
Elsewhere: the mailbox of one process (mailbox.py), the facts (tables.py), bulk reads (facts.py)
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import anyio
import anyio.lowlevel

from pipeline.delivery.deadlines import INTENT_SECONDS
from pipeline.delivery.facts import AcceptanceWindow, DecisionIntent
from pipeline.delivery.routes import INTERACTIVE, LEGAL_KINDS, RECEIVER, Emission
from pipeline.delivery.states import EvidenceStanding, advance
from pipeline.errors import LeaseLost, QerdsError, Transient
from pipeline.evidence.draft import Head
from pipeline.evidence.facts import EvidenceDraft, EvidenceToken
from pipeline.ports.mailbox import Advanced, Locked, Message, check_clock, check_tokens
from pipeline.stores.batches import DrawRecord, KnownDelivery, LineCursor
from pipeline.stores.senders import Order
from tests.memory.batches import BatchWrites, Bulk
from tests.memory.tables import Conflict, Submission, Tables

LEASE_SECONDS = 15.0  # as adapters/postgres/mailbox.py

Pause = Callable[[], Awaitable[None]]
AnyTx = TypeVar("AnyTx", bound="MemoryTx")


class MemoryClock:
    """Both clocks: anyio's time from `start` on, and the time of the law, which may be set ahead."""

    def __init__(self, start: datetime) -> None:
        self._start = start
        self._begun = anyio.current_time()
        self.ahead = timedelta()

    def now(self) -> datetime:
        """The real clock."""
        return self._start + timedelta(seconds=anyio.current_time() - self._begun)

    def legal_now(self) -> datetime:
        """Milliseconds, rounded down."""
        moment = self.now() + self.ahead
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@dataclass(slots=True)
class Life:
    """A process row."""

    kind: str
    seen_at: float  # anyio's time; minus infinity: over


@dataclass(frozen=True, slots=True)
class Timer:
    """A message that waits for an instant of its clock."""

    stage: str
    due_at: datetime
    message: Message
    is_legal: bool


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What no attempt could finish."""

    stage: str
    why: str
    message: Message


class MemoryDatabase:
    """What all processes share. `away`: no session lives and none can be opened."""

    def __init__(self, clock: MemoryClock, lease_seconds: float = LEASE_SECONDS) -> None:
        self.clock = clock
        self.lease_seconds = lease_seconds
        self.tables = Tables()
        self.bulk = Bulk()
        self.waiting: dict[str, dict[int, Message]] = {stage: {} for stage in RECEIVER.values()}
        self.running: dict[str, dict[tuple[int, int], Message]] = {stage: {} for stage in RECEIVER.values()}
        self.timers: list[Timer] = []
        self.dead: list[DeadLetter] = []
        self.lives: dict[int, Life] = {}
        self.made_at: dict[UUID, float] = {}  # of decision intents, by anyio's time
        self.away = False
        self.sessions_ended = 0
        self.locks: dict[object, MemoryTx] = {}  # deliveries, and (stage, epoch, id) of running rows
        self.bells: dict[str, list[anyio.Event]] = {stage: [] for stage in RECEIVER.values()}
        self._last_id = 0
        self._last_epoch = 0

    def fall(self) -> None:
        """A crash of the server: every session ends, every open transaction is rolled back."""
        self.away = True
        self.sessions_ended += 1

    def next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def next_epoch(self, kind: str) -> int:
        self._last_epoch += 1
        self.lives[self._last_epoch] = Life(kind, anyio.current_time())
        return self._last_epoch

    def enqueue(self, stage: str, message: Message) -> None:
        """A row in an outbox, under a new id."""
        new = self.next_id()
        self.waiting[stage][new] = replace(message, id=new)

    def ring(self, stages: frozenset[str]) -> None:
        """Wake whoever waits at these doorbells."""
        for stage in sorted(stages):
            for bell in self.bells[stage]:
                bell.set()

    @asynccontextmanager
    async def transaction(self, pause: Pause = anyio.lowlevel.checkpoint) -> "AsyncIterator[MemoryTx]":
        """For whoever has no mailbox: the gateway, a test."""
        tx = MemoryTx(self, "", pause=pause, lost=Transient)
        async with in_transaction(tx):
            yield tx
        self.ring(frozenset(tx.rung))


class MemoryTx:
    """One open transaction. Writes go into a layer of their own, merged at COMMIT."""

    def __init__(
        self,
        database: MemoryDatabase,
        stage: str,
        epoch: int = 0,
        batch: Sequence[Message] = (),
        pause: Pause = anyio.lowlevel.checkpoint,
        lost: type[QerdsError] = LeaseLost,
    ) -> None:
        self._database = database
        self._stage = stage
        self._epoch = epoch
        self._lanes = {m.subject: m.lane & ~1 for m in batch}
        self._traces = {m.subject: m.traceparent for m in batch}
        self._pause = pause
        self._lost = lost
        self._session = database.sessions_ended
        self._removed: list[tuple[int, int]] = []
        self._emitted: list[tuple[str, Message]] = []
        self._timers: list[Timer] = []
        self._dead: list[DeadLetter] = []
        self.tables = Tables(database.tables)
        self._batches = BatchWrites(self, database)
        self.finished = anyio.Event()
        self.rung: set[str] = set()
        self._locked_before: dict[UUID, Locked] = {}

    async def lock(self, deliveries: Sequence[UUID]) -> Mapping[UUID, Locked]:
        """In id order, waiting for whoever holds them; read after the last."""
        await self.statement()
        known = [d for d in sorted(set(deliveries)) if self.tables.state(d) is not None]
        for delivery in known:
            await self.lock_key(delivery)
        self._locked_before |= {d: self._locked(d) for d in known}
        return {d: self._locked_before[d] for d in known}

    async def lock_key(self, key: object) -> None:
        """Until the end of this transaction, after that of whoever holds it."""
        while (holder := self._database.locks.get(key, self)) is not self:
            await holder.finished.wait()
            await self.statement()
        self._database.locks[key] = self

    async def add(self, facts: Sequence[Any]) -> None:
        """Into this transaction's layer. Raises Conflict, here or at COMMIT."""
        await self.statement()
        check_clock(facts, self._locked_before)
        for fact in facts:
            if isinstance(fact, DecisionIntent):
                self._check_intent(fact)
            if isinstance(fact, EvidenceDraft):
                self._check_decision(fact)
            self.tables.add(fact)

    def _check_intent(self, intent: DecisionIntent) -> None:
        if abs(intent.decided_at - self._database.clock.legal_now()) > timedelta(seconds=INTENT_SECONDS):
            raise Conflict("a decision is made now")
        self._database.made_at[intent.id] = anyio.current_time()

    def _check_decision(self, evidence: EvidenceDraft) -> None:
        act = {"C.3": "accept", "C.4": "refuse"}.get(evidence.event)
        intents = [i for i in self.tables.of(DecisionIntent, evidence.delivery) if self.intent_lives(i)]
        if act and not any((i.act, i.decided_at) == (act, evidence.event_time) for i in intents):
            raise Conflict("no intent of this decision lives")

    async def advance(self, deliveries: Sequence[UUID]) -> Sequence[Advanced]:
        """Extend the stamped prefix of locked deliveries, and their state with it."""
        heads = await self.lock(deliveries)
        gained = []
        standings = {d: [self._stamped(e) for e in self.tables.drafts(d)] for d in heads}
        check_tokens(standings, heads)
        for d, locked in heads.items():
            step = advance(locked.state, locked.stamped_through, standings[d])
            if step.reached:
                self.tables.set_state(d, step.state, step.stamped_through)
                gained.append(Advanced(d, step.state, step.reached))
        return gained

    async def emit(self, emissions: Sequence[Emission]) -> None:
        """Into the receivers' outboxes, or the timers."""
        await self.statement()
        now = self._database.clock.now()
        for e in emissions:
            lane = self._lanes.get(e.subject, INTERACTIVE) if e.lane is None else e.lane
            trace = e.traceparent or self._traces.get(e.subject)
            message = Message(0, lane, e.kind, e.subject, e.evidence, e.ordinal, 0, 0, now, trace)
            stage = RECEIVER[e.kind]
            if e.at is None:
                self._emitted.append((stage, message))
                self.rung.add(stage)
            else:
                self._timers.append(Timer(stage, e.at, message, e.kind in LEGAL_KINDS))

    async def remove(self, batch: Sequence[Message]) -> frozenset[int]:
        """The fence: only rows that still carry this epoch."""
        await self.statement()
        mine = [m.id for m in batch if (self._epoch, m.id) in self._database.running[self._stage]]
        for i in mine:
            self._database.locks[self._stage, self._epoch, i] = self
            self._removed.append((self._epoch, i))
        return frozenset(mine)

    async def postpone(self, later: Sequence[tuple[Message, float]]) -> None:
        """Removed messages come back at once (0 s) or after a while."""
        await self.statement()
        for message, seconds in later:
            if seconds <= 0:
                self._emitted.append((self._stage, message))
                self.rung.add(self._stage)
            else:
                due_at = self._database.clock.now() + timedelta(seconds=seconds)
                self._timers.append(Timer(self._stage, due_at, message, is_legal=False))

    async def bury(self, dead: Sequence[tuple[Message, str]]) -> None:
        """Dead letters."""
        await self.statement()
        self._dead += [DeadLetter(self._stage, why, m) for m, why in dead]

    # -------------------------------------------------------------- of `ingest` (pipeline.stores.batches.BatchTx)
    async def lock_batches(self, batches: Sequence[UUID]) -> Mapping[UUID, tuple[str, LineCursor]]:
        """State and cursor, under the row locks."""
        await self.statement()
        known = [b for b in sorted(set(batches)) if b in self._database.bulk.batches]
        for batch in known:
            await self.lock_key(batch)
        return {b: self._batches.state_and_cursor(b) for b in known}

    async def add_orders(self, orders: Sequence[tuple[UUID, Order]]) -> frozenset[UUID]:
        """Deliveries and their documents; which were inserted."""
        await self.statement()
        return await self._batches.add(orders)

    async def taken_refs(self, refs: Sequence[tuple[UUID, str]]) -> Mapping[tuple[UUID, str], KnownDelivery]:
        """Who has a client_ref."""
        await self.statement()
        return self._batches.taken(refs)

    async def record_draws(self, records: Sequence[DrawRecord]) -> None:
        """Results in, lines out, cursors on."""
        await self.statement()
        for record in records:
            self._batches.record(record)

    async def close_batches(self, states: Mapping[UUID, str]) -> None:
        """Final states; the update waits for whoever holds the row."""
        await self.statement()
        for batch, state in states.items():
            await self.lock_key(batch)
            self._batches.close(batch, state)

    async def statement(self) -> None:
        """What every statement begins with. Raises the session's death."""
        await self._pause()
        if self._database.away or self._session != self._database.sessions_ended:
            raise self._lost("the session is gone")

    def commit(self) -> None:
        """All at once, or nothing with Conflict."""
        database = self._database
        database.tables.merge(self.tables)
        self._batches.merge()
        for row in self._removed:
            database.running[self._stage].pop(row, None)
        for stage, message in self._emitted:
            database.enqueue(stage, message)
        database.timers += self._timers
        database.dead += self._dead

    def release(self) -> None:
        """COMMIT or ROLLBACK is done: locks are free."""
        self._database.locks = {key: tx for key, tx in self._database.locks.items() if tx is not self}
        self.finished.set()

    def _stamped(self, e: Any) -> EvidenceStanding:
        token = self.tables.find(EvidenceToken, e.evidence)
        return EvidenceStanding(e.sequence, e.event, e.ordinal, e.event_time, None if token is None else token.gen_time)

    def _locked(self, delivery: UUID) -> Locked:
        state, through = self.tables.state(delivery) or ("", 0)
        drafts = self.tables.drafts(delivery)
        drafted = frozenset(e.event for e in drafts)
        window = self.tables.find(AcceptanceWindow, delivery)
        submission = self.tables.find(Submission, delivery)
        legal_time = self._database.clock.legal_now()
        return Locked(
            delivery=delivery,
            head=Head(
                delivery,
                state,
                drafts[-1].sequence + 1 if drafts else 1,
                drafts[-1].sha256 if drafts else None,
                legal_time,
                drafted,
            ),
            state=state,
            stamped_through=through,
            drafted=drafted,
            stamped=frozenset(e.event for e in drafts if self.tables.find(EvidenceToken, e.evidence) is not None),
            expires_at=None if window is None else window.expires_at,
            intent_alive=any(self.intent_lives(i) for i in self.tables.of(DecisionIntent, delivery)),
            consent_stands=submission is None or submission.consent != "withdrawn",
            legal_time=legal_time,
            not_before=self._not_before(submission, drafts),
        )

    def _not_before(self, submission: Submission | None, drafts: Sequence[EvidenceDraft]) -> datetime | None:
        """What happened last, and what its token says but for the second that another clock may be ahead."""
        if not drafts:
            return None if submission is None else submission.dossier.submitted_at
        token = self.tables.find(EvidenceToken, drafts[-1].evidence)
        proved = [] if token is None else [token.gen_time - timedelta(seconds=1)]
        return max([drafts[-1].event_time, *proved])

    def intent_lives(self, intent: DecisionIntent) -> bool:
        """Younger than 60 s of real time."""
        return anyio.current_time() - self._database.made_at[intent.id] < INTENT_SECONDS


@asynccontextmanager
async def in_transaction(tx: AnyTx) -> AsyncIterator[AnyTx]:
    """BEGIN .. COMMIT; any exception, cancellation included, leaves nothing.

    A process killed during COMMIT does not learn whether it happened: the pauses around it are both outcomes.
    """
    try:
        await tx.statement()
        yield tx
        await tx.statement()
        tx.commit()
    finally:
        tx.release()
    await tx.statement()
