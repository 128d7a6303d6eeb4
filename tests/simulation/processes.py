"""Processes of the simulation: the real loop over in-memory ports, with deaths, stalls, outages and lost answers.

Owns     when a process dies (its scope is cancelled: nothing of it is tidied up, its epoch waits for the lease), when
         it stands still (all its tasks at once, longer than a lease), what does not answer
Rules    every decision comes from the seed; while `Faults.on` is False nothing goes wrong
"""

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import anyio
import anyio.lowlevel

from pipeline.actors import loop
from pipeline.actors.contract import Stage
from pipeline.errors import Transient
from pipeline.ports.mailbox import Message
from pipeline.process.recorder import Recorder
from tests.fakes.objects import MemoryObjects
from tests.memory.database import MemoryDatabase, MemoryTx
from tests.memory.mailbox import MemoryMailbox

LEASE_SECONDS = 4.0
KILL_RATE = 0.002  # per step
STALL_RATE = 0.002
SLOW_RATE = 0.1
AT_WORK = 10  # times as dangerous is a step with a batch in hand: idle deaths teach little
LOST_RATE = 0.03  # answers of the outside
STALL_LEASES = (0.8, 2.3)
LATE_SECONDS_MAX = 1.0


@dataclass(slots=True)
class Faults:
    """What goes wrong now, and how often it did."""

    on: bool = False
    away: set[str] = field(default_factory=set)
    count: Counter[tuple[str, str]] = field(default_factory=Counter)

    def of(self, what: str) -> int:
        """How often anything happened to processes of this name."""
        return sum(number for (_, who), number in self.count.items() if who == what)


class Victim:
    """Something with tasks that can die or stand still: one life after another."""

    def __init__(self, name: str, faults: Faults, seed: str) -> None:
        self.name = name
        self.faults = faults
        self.random = random.Random(seed)
        self.scope = anyio.CancelScope()
        self._standing_until = 0.0

    async def pause(self) -> None:
        """Between any two steps: maybe the last."""
        await self._step(1)

    async def work(self) -> None:
        """The same, with a batch in hand."""
        await self._step(AT_WORK)

    async def _step(self, danger: int) -> None:
        if self.faults.on:
            chance = self.random.random() / danger
            if chance < KILL_RATE:
                self.faults.count["killed", self.name] += 1
                self.scope.cancel()
            elif chance < KILL_RATE + STALL_RATE:
                self.faults.count["stalled", self.name] += 1
                seconds = self.random.uniform(*STALL_LEASES) * LEASE_SECONDS
                self._standing_until = anyio.current_time() + seconds
            elif chance < SLOW_RATE / AT_WORK:
                await self.wait(self.random.uniform(0, 0.05))
        if anyio.current_time() < self._standing_until:
            # Whoever was at work goes on first; the heartbeat's connection takes longer to notice.
            late = 0.0 if danger == AT_WORK else self.random.uniform(0, LATE_SECONDS_MAX)
            await anyio.sleep_until(self._standing_until + late)
        await anyio.lowlevel.checkpoint()

    async def wait(self, seconds: float) -> None:
        """Virtual time."""
        await anyio.sleep_until(anyio.current_time() + seconds)

    def new_life(self) -> anyio.CancelScope:
        """The scope of the next life."""
        self._standing_until = 0.0
        self.scope = anyio.CancelScope()
        return self.scope

    def random_bytes(self, count: int) -> bytes:
        return self.random.randbytes(count)

    def unit(self) -> float:
        return self.random.random()


class Remote:
    """A port behind a network: it may be away, and its answers may be lost after the work was done."""

    def __init__(self, owner: Victim, target: Any, name: str) -> None:
        self._owner = owner
        self._target = target
        self._name = name

    def __getattr__(self, method: str) -> Any:
        owner, faults, name = self._owner, self._owner.faults, self._name
        if not callable(getattr(self._target, method)):
            return getattr(self._target, method)  # a setting, not a call

        async def call(*arguments: Any) -> Any:
            await owner.work()
            if name in faults.away:
                raise Transient(f"{name} is away")
            answer = await getattr(self._target, method)(*arguments)
            await owner.work()
            if faults.on and owner.random.random() < LOST_RATE:
                faults.count["answer lost", owner.name] += 1
                raise Transient(f"the answer of {name} was lost")
            return answer

        return call


class RemoteObjects(MemoryObjects):
    """The one store, seen by one process."""

    def __init__(self, owner: Victim, objects: dict[str, bytes]) -> None:
        super().__init__()
        self.objects = objects
        self._owner = owner

    async def _checkpoint(self) -> None:
        await self._owner.work()
        if "objects" in self._owner.faults.away:
            raise Transient("the object store does not answer")

    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> int:
        """With the answer lost now and then."""
        length = await super().put(name, chunks)
        if self._owner.faults.on and self._owner.random.random() < LOST_RATE:
            raise Transient("the answer of the object store was lost")
        return length


class DangerousMailbox(MemoryMailbox):
    """The mailbox of a victim; within a transaction life is more dangerous."""

    tx: type[MemoryTx] = MemoryTx

    def __init__(self, database: MemoryDatabase, stage: str, owner: Victim) -> None:
        super().__init__(database, stage, owner, owner.pause)
        self._owner = owner

    def begin(self, batch: Sequence[Message]) -> MemoryTx:
        self.check_session()
        return self.tx(self._database, self._stage, self._current(), batch, self._owner.work)


MailboxMaker = Callable[[MemoryDatabase, str, Victim], MemoryMailbox]


@dataclass(slots=True)
class Process:
    """One process of a stage, restarted by a supervisor whenever it dies."""

    stage: Stage[Any, Any, Any]
    ports: Any
    owner: Victim
    database: MemoryDatabase
    draining: anyio.Event
    recorder: Recorder
    make_mailbox: MailboxMaker

    async def live(self) -> None:
        """Life after life, until everything drains."""
        while not self.draining.is_set():
            mailbox = self.make_mailbox(self.database, self.stage.name, self.owner)
            with self.owner.new_life():
                await loop.run(self.stage, mailbox, self.ports, self.draining, self.owner, self.recorder)
            if not self.draining.is_set():
                await self.owner.wait(self.owner.random.uniform(0.1, 2.0))


def ports_for(kind: type[Any], given: dict[str, Any]) -> Any:
    """A stage's Ports, each field by its name."""
    return kind(**{f.name: given[f.name] for f in fields(kind)})
