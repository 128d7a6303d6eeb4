"""One `ingest` over a real database, turn by turn: the real stage, loop and mailbox, and nothing after it.

Owns     a process of `ingest` that takes one batch of messages when it is told to
Rules    drawing needs no key and no store: what needs them (a single letter that is refused) is not for here
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pipeline.actors import loop
from pipeline.adapters.ids import SystemRandomness
from pipeline.adapters.postgres.draws import PostgresDraws
from pipeline.adapters.postgres.link import Link
from pipeline.adapters.postgres.mailbox import PostgresMailbox
from pipeline.errors import LeaseLost
from pipeline.formats.configuration import DatabaseSettings
from pipeline.ports.mailbox import Message
from pipeline.process.recorder import Recorder
from pipeline.stages import ingest

LEASE_SECONDS = 15.0


@dataclass
class Ingest:
    """A process of `ingest`, between two turns."""

    box: PostgresMailbox
    ports: Any
    log: list[str] = field(default_factory=list)

    async def turn(self) -> Sequence[Message]:
        """Fire what is due, take what waits, perform and commit. What was taken."""
        await self.box.sweep()
        batch = await self.box.take(ingest.STAGE.batch_max)
        if batch:
            recorder = Recorder("ingest", self.log.append)
            await loop.turn(ingest.STAGE, self.box, self.ports, batch, lambda: 0.0, recorder)
        return batch

    async def run(self) -> int:
        """Turns until nothing waits; how many. What waits for a time is left."""
        turns = 0
        while await self.turn():
            turns += 1
        return turns


@asynccontextmanager
async def ingest_process(database: DatabaseSettings) -> AsyncIterator[Ingest]:
    """A life of one process, ended in good order."""
    dsn = database.dsn("qerds_ingest")
    link, log = Link(dsn, LeaseLost), list[str]()
    recorder = Recorder("ingest", log.append)
    box = PostgresMailbox(dsn, link, "ingest", "test", SystemRandomness(), recorder, LEASE_SECONDS)
    draws = PostgresDraws(link)
    ports = ingest.Ports(None, draws, SystemRandomness(), "non_qualified", "embedded-1")  # type: ignore[arg-type]
    await box.start()
    try:
        yield Ingest(box, ports, log)
    finally:
        await box.stop()
