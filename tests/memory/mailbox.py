"""The mailbox of one stage in memory: pipeline.ports.mailbox.Mailbox for the simulation, on trio or asyncio.

Owns     the same promises as adapters/postgres/mailbox.py (tests/contract/test_mailbox.py runs over both): epochs with
         leases, the fence, lanes and the alone bit, timers of both clocks, rescue, doorbell
Rules    no threads; every statement passes `pause` first, where a simulation delays and kills. An object is one life
         of a process: whoever starts again after a death makes a new one, and the old epoch waits for its lease
Elsewhere: the rows (database.py), the facts (tables.py, facts.py), faults (tests/simulation)
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from math import inf

import anyio
import anyio.lowlevel

from pipeline.delivery.routes import interactive_cap
from pipeline.errors import LeaseLost, Transient
from pipeline.ports.mailbox import Message
from pipeline.ports.outside import Randomness
from tests.memory.database import MemoryDatabase, MemoryTx, Pause, Timer, in_transaction

BEATS_PER_LEASE = 5
SWEEP_SECONDS = 1.0  # +- 20 %
FULL_SWEEP_SECONDS = 30.0  # also looks for running rows of epochs that have no process row any more
TIMERS_AT_ONCE = 100
ALONE_EVERY_TAKES = 10
LANES = (0, 2)
LANES_ALONE = (1, 3)


class MemoryMailbox:
    """pipeline.ports.mailbox.Mailbox for one stage and one process."""

    def __init__(
        self,
        database: MemoryDatabase,
        stage: str,
        randomness: Randomness,
        pause: Pause = anyio.lowlevel.checkpoint,
    ) -> None:
        self._database = database
        self._stage = stage
        self._randomness = randomness
        self._pause = pause
        self._epoch: int | None = None
        self._session = -1  # of which life of the server our connection is
        self._takes = 0
        self._next_sweep = self._next_full = 0.0
        self._bell = anyio.Event()

    async def start(self) -> None:
        """A new epoch; the one before, if it was ours, is over."""
        await self._pause()
        if self._database.away:
            raise Transient("the database is away")
        self._session = self._database.sessions_ended
        self._end_life()
        self._epoch = self._database.next_epoch(self._stage)
        self._next_sweep = self._next_full = anyio.current_time()
        self._listen()

    async def heartbeat(self) -> None:
        """Beat until cancelled. Raises LeaseLost when the life was taken for dead."""
        while True:
            await self._statement()
            life = self._database.lives.get(self._epoch or 0)
            if life is None or life.seen_at == -inf:
                raise LeaseLost(f"epoch {self._epoch} was rescued")
            life.seen_at = anyio.current_time()
            await anyio.sleep(self._database.lease_seconds / BEATS_PER_LEASE)

    async def take(
        self, limit: int, *, interactive_only: bool = False, beside_commit: bool = False
    ) -> Sequence[Message]:
        """Interactive before bulk; every tenth take, or when there is nothing else, one message under suspicion."""
        if interactive_only:
            return await self._take(LANES[:1], limit)
        self._takes += 1
        if self._takes % ALONE_EVERY_TAKES == 0:
            return await self._take(LANES_ALONE, 1) or await self._take(LANES, limit)
        return await self._take(LANES, limit) or await self._take(LANES_ALONE, 1)

    async def _take(self, lanes: tuple[int, ...], limit: int) -> list[Message]:
        await self._statement()
        waiting, running = self._database.waiting[self._stage], self._database.running[self._stage]
        first = [m for m in waiting.values() if m.lane == lanes[0]]
        second = [m for m in waiting.values() if m.lane in lanes[1:]]
        messages = [*first[: interactive_cap(limit) if len(lanes) > 1 else limit], *second][:limit]
        for m in messages:
            running[self._current(), m.id] = waiting.pop(m.id)
        await self._statement()
        return messages

    async def sweep(self) -> None:
        """Rescue and timers, each second; rows without a process row each half minute."""
        now = anyio.current_time()
        if now < self._next_sweep:
            return
        self._next_sweep = now + SWEEP_SECONDS * (0.8 + 0.4 * self._randomness.unit())
        await self._statement()
        self._rescue()
        if now >= self._next_full:
            self._next_full = now + FULL_SWEEP_SECONDS
            self._put_back(lambda epoch: epoch not in self._database.lives)
        await self._statement()
        clock = self._database.clock
        due = [t for t in self._database.timers if t.stage == self._stage]
        self._fire([t for t in due if not t.is_legal and t.due_at <= clock.now()])
        self._fire([t for t in due if t.is_legal and t.due_at <= clock.legal_now()])

    @asynccontextmanager
    async def transaction(self, batch: Sequence[Message]) -> AsyncIterator[MemoryTx]:
        """The one transaction of a batch."""
        tx = self.begin(batch)
        async with in_transaction(tx):
            yield tx
        self.ring(frozenset(tx.rung - {self._stage}))

    def begin(self, batch: Sequence[Message]) -> MemoryTx:
        """A transaction of this epoch. Raises LeaseLost before the first epoch and after the session's end."""
        self.check_session()
        return MemoryTx(self._database, self._stage, self._current(), batch, self._pause)

    def check_session(self) -> None:
        """Raises LeaseLost when the server is away or fell since this epoch began."""
        if self._database.away or self._session != self._database.sessions_ended:
            raise LeaseLost("the session is gone")

    async def doorbell(self, seconds: float) -> None:
        """Wait for a ring, at most `seconds`."""
        with anyio.move_on_after(seconds):
            await self._bell.wait()
        self._listen()

    def ring(self, stages: frozenset[str]) -> None:
        """At once; a set flag wakes nobody twice."""
        self._database.ring(stages)

    def wake(self) -> None:
        """Our own wait only."""
        self._bell.set()

    async def stop(self) -> None:
        """Rows still running under the epoch are rescued at the next sweep."""
        await self._pause()
        self._end_life()
        self._database.bells[self._stage] = [b for b in self._database.bells[self._stage] if b is not self._bell]

    def _end_life(self) -> None:
        life = self._database.lives.get(self._epoch or 0)
        if life is not None:
            life.seen_at = -inf

    def _listen(self) -> None:
        bells = [b for b in self._database.bells[self._stage] if b is not self._bell]
        self._bell = anyio.Event()
        self._database.bells[self._stage] = [*bells, self._bell]

    def _current(self) -> int:
        if self._epoch is None:
            raise LeaseLost("no epoch yet")
        return self._epoch

    async def _statement(self) -> None:
        await self._pause()
        self.check_session()

    def _rescue(self) -> None:
        """Lives without a heartbeat end; an epoch with a row in an open transaction is left for the next sweep."""
        database = self._database
        oldest = anyio.current_time() - database.lease_seconds
        busy = {key[1] for key in database.locks if isinstance(key, tuple) and key[0] == self._stage}
        stale = [e for e, life in database.lives.items() if life.kind == self._stage and life.seen_at < oldest]
        lost = frozenset(e for e in stale if e not in busy)
        self._put_back(lost.__contains__)
        for epoch in lost:
            del database.lives[epoch]

    def _put_back(self, is_lost: Callable[[int], bool]) -> None:
        running = self._database.running[self._stage]
        for row in sorted(key for key in running if is_lost(key[0])):
            if (self._stage, *row) in self._database.locks:
                continue
            m = running.pop(row)
            lane = m.lane | 1 if m.rescues >= 1 else m.lane
            self._database.enqueue(self._stage, replace(m, lane=lane, rescues=m.rescues + 1))

    def _fire(self, due: Sequence[Timer]) -> None:
        for timer in sorted(due, key=lambda t: t.due_at)[:TIMERS_AT_ONCE]:
            self._database.timers.remove(timer)
            self._database.enqueue(self._stage, timer.message)
