"""The mailbox of one stage in PostgreSQL, and the doorbell: pipeline.ports.mailbox.Mailbox over three connections.

Owns     epochs, watermarks, the rhythm of sweeps and rings. The work link takes and commits; the ahead link takes while
         the other commits; the bell link listens, rings and beats, so that a stuck statement never silences it
Elsewhere: the statements (sql/mailbox.sql), what happens to a batch (actors/loop.py), the reasons (docs/mailbox.md)
"""

import os
import socket
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio

from pipeline.adapters.postgres.link import Link
from pipeline.adapters.postgres.ringer import Ringer
from pipeline.adapters.postgres.tx import PostgresTx
from pipeline.delivery.routes import interactive_cap
from pipeline.errors import LeaseLost
from pipeline.formats.database_address import Dsn
from pipeline.ports.mailbox import Message
from pipeline.ports.outside import Randomness
from pipeline.process.measures import RESCUED, STAGE_WAIT, TIMERS_FIRED
from pipeline.process.recorder import Recorder

LEASE_SECONDS = 15.0  # without a heartbeat for so long a process is taken for dead
HEARTBEAT_SECONDS = 3.0
SELF_TEST_SECONDS = 2.0  # a pooler in between swallows LISTEN silently; say so at the start
SWEEP_SECONDS = 1.0  # +- 20 %
FULL_SWEEP_SECONDS = 30.0  # look at every waiting row, whatever the watermark says
TIMERS_AT_ONCE = 100  # as sql/mailbox.sql limits them
TAKE_LAG_SECONDS = 0.5  # ids commit out of order: look this far behind the newest id seen
SWEEP_LAG_SECONDS = 20.0  # and once a sweep, this far
EVERYTHING = float("inf")  # and when idle, at every row
ALONE_EVERY_TAKES = 10  # a message under suspicion is taken singly, at least so often
LANES = (0, 2)
LANES_ALONE = (1, 3)


class Watermarks:
    """Per lane, the lowest id worth looking at: what was the newest id some seconds ago.

    Without it a take walks over every dead row since the oldest snapshot (0.5 -> 17 ms in half a minute).
    """

    def __init__(self) -> None:
        self._seen: dict[int, deque[tuple[float, int]]] = {lane: deque() for lane in (*LANES, *LANES_ALONE)}

    def saw(self, at: float, messages: Sequence[Message]) -> None:
        """Remember the newest id taken from each lane."""
        for lane, seen in self._seen.items():
            newest = max((m.id for m in messages if m.lane == lane), default=None)
            if newest is not None and (not seen or newest > seen[-1][1]):
                seen.append((at, newest))
            while len(seen) > 1 and seen[1][0] <= at - SWEEP_LAG_SECONDS:
                seen.popleft()

    def lowest(self, lane: int, at: float, lag_seconds: float) -> int:
        """The newest id that had been taken `lag_seconds` ago; 0 when nothing is known."""
        return next((i for t, i in reversed(self._seen[lane]) if t <= at - lag_seconds), 0)


class PostgresMailbox:
    """pipeline.ports.mailbox.Mailbox for one stage and one process."""

    def __init__(
        self,
        dsn: Dsn,
        link: Link,
        stage: str,
        build: str,
        randomness: Randomness,
        recorder: Recorder,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._link = link
        self._bell = Link(dsn, LeaseLost)
        self._ahead = Link(dsn, LeaseLost)
        self._stage = stage
        self._build = build
        self._randomness = randomness
        self._recorder = recorder
        self._lease_seconds = lease_seconds
        self._epoch: int | None = None
        self._watermarks = Watermarks()
        self._takes = 0
        self._next_sweep = self._next_full = 0.0
        self._is_paused = False
        self._server_time = (datetime.min.replace(tzinfo=UTC), 0.0)  # there, and our own clock at that moment
        self._lag_seconds = EVERYTHING  # how far behind the newest id the next take looks
        self._rung = anyio.Event()
        self._bell_lock = anyio.Lock()
        self._ringer = Ringer(self._ring)

    async def start(self) -> None:
        """A new epoch. A crash after it leaves a process row without a heartbeat: any sweep removes it."""
        for link in (self._link, self._ahead, self._bell):
            await link.open()
        await self._bell.listen("doorbell", self._heard)
        host = _host()
        lives = await self._link.call("lives_on_host", self._stage, host)
        over = [life["epoch"] for life in lives if life["epoch"] == self._epoch or not _is_alive(life["pid"])]
        rows = await self._link.call("begin_epoch", self._stage, host, os.getpid(), self._build, over)
        self._epoch = rows[0]["epoch"]
        self._watermarks = Watermarks()
        self._lag_seconds = EVERYTHING
        self._next_sweep = self._next_full = anyio.current_time()
        await self._test_doorbell()

    async def heartbeat(self) -> None:
        """Beat and ring until cancelled. A refused beat means that others hold our rows by now."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._ringer.run)
            while True:
                async with self._bell_lock:
                    alive = await self._bell.call("heartbeat", self._epoch)
                if not alive:
                    raise LeaseLost(f"epoch {self._epoch} was rescued")
                await anyio.sleep(self._lease_seconds / LEASE_SECONDS * HEARTBEAT_SECONDS)

    async def take(
        self, limit: int, *, interactive_only: bool = False, beside_commit: bool = False
    ) -> Sequence[Message]:
        """Interactive before bulk; every tenth take, or when there is nothing else, one message under suspicion."""
        link = self._ahead if beside_commit else self._link
        if self._is_paused:
            return []
        if interactive_only:
            return await self._take(LANES[:1], limit, link)
        self._takes += 1
        if self._takes % ALONE_EVERY_TAKES == 0:
            return await self._take(LANES_ALONE, 1, link) or await self._take(LANES, limit, link)
        return await self._take(LANES, limit, link) or await self._take(LANES_ALONE, 1, link)

    async def _take(self, lanes: tuple[int, ...], limit: int, link: Link) -> list[Message]:
        now = anyio.current_time()
        lag = EVERYTHING if lanes == LANES_ALONE else self._lag_seconds  # few are ever under suspicion
        lows = [self._watermarks.lowest(lane, now, lag) for lane in lanes]
        caps = [interactive_cap(limit) if lane == LANES[0] and len(lanes) > 1 else limit for lane in lanes]
        rows = await link.call(f"take@{self._stage}", list(lanes), lows, caps, limit, self._epoch)
        messages = sorted((Message(**row) for row in rows), key=lambda m: (m.lane, m.id))
        self._watermarks.saw(now, messages)
        self._observe_waits(messages)
        if lanes == LANES and self._lag_seconds == lag:
            self._lag_seconds = TAKE_LAG_SECONDS  # the deep look is done, and no sweep asked for a deeper one meanwhile
        return messages

    async def sweep(self) -> None:
        """Rescue, timers, and whether we are paused, each second; everything from the bottom up, each half minute."""
        now = anyio.current_time()
        if now < self._next_sweep:
            return
        self._next_sweep = now + SWEEP_SECONDS * (0.8 + 0.4 * self._randomness.unit())
        self._lag_seconds = max(self._lag_seconds, SWEEP_LAG_SECONDS)
        standing = await self._link.call("stage_standing", self._stage)
        self._is_paused = standing[0]["paused"]
        self._server_time = (standing[0]["now"], anyio.current_time())
        rescued = await self._link.call(f"rescue@{self._stage}", self._stage, self._lease_seconds)
        self._recorder.count(RESCUED, by=rescued[0]["rows"])
        if rescued[0]["epochs"]:
            self._next_full = min(self._next_full, self._next_sweep)  # its last take may still be under way: an orphan
        if now >= self._next_full:
            self._next_full = now + FULL_SWEEP_SECONDS
            self._lag_seconds = EVERYTHING
            orphans = await self._link.call(f"rescue_orphans@{self._stage}")
            self._recorder.count(RESCUED, by=orphans[0]["rows"])
        for query in ("fire_timers", "fire_legal_timers"):
            fired = await self._link.call(f"{query}@{self._stage}")
            self._recorder.count(TIMERS_FIRED, by=fired[0]["rows"])
            if fired[0]["rows"] >= TIMERS_AT_ONCE:
                self._next_sweep = now  # more are due: the deadlines of one midnight do not wait for each other

    @asynccontextmanager
    async def transaction(self, batch: Sequence[Message]) -> AsyncIterator[PostgresTx]:
        """The one transaction of a batch."""
        if self._epoch is None:
            raise LeaseLost("no epoch yet")
        tx = PostgresTx(self._link, self._stage, self._epoch, batch)
        async with self._link.transaction():
            yield tx
        self.ring(frozenset(tx.rung - {self._stage}))

    async def doorbell(self, seconds: float) -> None:
        """Wait for a ring; a wait without one means idle: look at everything once."""
        with anyio.move_on_after(seconds) as waited:
            await self._rung.wait()
        if waited.cancelled_caught:
            self._lag_seconds = EVERYTHING
        self._rung = anyio.Event()

    def ring(self, stages: frozenset[str]) -> None:
        """Leave it to the ringer."""
        self._ringer.ask(stages)

    def wake(self) -> None:
        """Our own wait only."""
        self._rung.set()

    async def stop(self) -> None:
        """In good order. When the database is away the lease simply runs out."""
        try:
            if self._epoch is not None and self._link.is_open:
                await self._link.call("end_epoch", self._epoch)
        except LeaseLost:
            self._recorder.note("epoch_left_to_its_lease", epoch=self._epoch)
        for link in (self._link, self._ahead, self._bell):
            await link.close()

    def _observe_waits(self, messages: Sequence[Message]) -> None:
        """From the emission to the take, by the server's clock."""
        server_time, own_seconds = self._server_time
        taken_at = server_time + timedelta(seconds=anyio.current_time() - own_seconds)
        for m in messages:
            self._recorder.observe(STAGE_WAIT, max(0.0, (taken_at - m.enqueued_at).total_seconds()))

    async def _ring(self, stages: list[str]) -> None:
        async with self._bell_lock:
            await self._bell.call("ring", stages)

    async def _test_doorbell(self) -> None:
        self._rung = anyio.Event()
        await self._bell.call("ring", [self._stage])
        with anyio.move_on_after(SELF_TEST_SECONDS) as waited:
            await self._rung.wait()
        if waited.cancelled_caught:
            self._recorder.note(
                "doorbell_is_deaf", remedy="connect directly, not through a transaction pooler; polling goes on"
            )
        self._rung = anyio.Event()

    def _heard(self, _connection: Any, _pid: int, _channel: str, payload: str) -> None:
        if payload == self._stage:
            self._rung.set()


def _host() -> str:
    """Where a pid means something: containers may share a host name, and each other's processes they cannot see."""
    return f"{socket.gethostname()}/{Path('/proc/self/ns/pid').stat().st_ino}"


def _is_alive(pid: int) -> bool:
    """Whether a process of this host has this pid. Wrong either way costs a rescue or a lease, never a message."""
    return Path(f"/proc/{pid}").exists()
