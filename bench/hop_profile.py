"""Where the time of a hop goes, statement by statement, seen from the process that waits for them.

Owns     a link that times what it sends, a mailbox that times its takes, the split of one drain into statements and
         everything else; takes run beside the COMMIT of the batch before and are told apart
Rules    the real loop over the real mailbox, as in hop_stage: only link and mailbox tell more
"""

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio

from bench import hop_stage
from bench.server import DatabaseServer
from pipeline.actors import loop
from pipeline.adapters.ids import SystemRandomness
from pipeline.adapters.postgres.link import Link
from pipeline.adapters.postgres.mailbox import PostgresMailbox
from pipeline.errors import LeaseLost
from pipeline.ports.mailbox import Message
from pipeline.process.recorder import Recorder

STEPS = {"BEGIN": "BEGIN", "remove": "fence", "emit": "emit", "COMMIT": "COMMIT, with its flush"}
REST = "Python, the sweep, and what a take lasts beyond its COMMIT"
BESIDE = "beside the COMMIT: take"


class TimedLink(Link):
    """Seconds by statement, the wait for its answer included."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.spent: dict[str, float] = defaultdict(float)

    async def call(self, name: str, *arguments: Any) -> Any:
        began = time.perf_counter()
        try:
            return await super().call(name, *arguments)
        finally:
            self.spent[name.split("@")[0]] += time.perf_counter() - began

    async def fetch(self, name: str, *arguments: Any) -> Any:
        began = time.perf_counter()
        try:
            return await super().fetch(name, *arguments)
        finally:
            self.spent[name.split("@")[0]] += time.perf_counter() - began

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        began = time.perf_counter()
        async with super().transaction():
            self.spent["BEGIN"] += time.perf_counter() - began
            yield
            before = time.perf_counter()
        self.spent["COMMIT"] += time.perf_counter() - before


class TimedMailbox(PostgresMailbox):
    """Seconds of the takes beside a COMMIT."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.beside = 0.0

    async def take(
        self, limit: int, *, interactive_only: bool = False, beside_commit: bool = False
    ) -> Sequence[Message]:
        """As the real one."""
        began = time.perf_counter()
        try:
            return await super().take(limit, interactive_only=interactive_only, beside_commit=beside_commit)
        finally:
            self.beside += (time.perf_counter() - began) * beside_commit


def profile(server: DatabaseServer, rows: int, batch_max: int) -> dict[str, float]:
    """Milliseconds of a batch by step; their sum, without what runs beside, is the whole of it."""

    async def live() -> tuple[float, float, dict[str, float]]:
        dsn = server.dsn("qerds_ingest")
        link, drain = TimedLink(dsn, LeaseLost), hop_stage.Drain(rows)
        box = TimedMailbox(dsn, link, "ingest", "bench", SystemRandomness(), Recorder("ingest"))
        stage = hop_stage.stage("ingest", batch_max, drain)
        with anyio.fail_after(hop_stage.DRAIN_SECONDS_MAX):
            await loop.run(stage, box, None, drain.draining, SystemRandomness(), Recorder("ingest"))
        return drain.rate, box.beside, link.spent

    hop_stage.fill(server, "ingest", rows)
    rate, beside, spent = anyio.run(live, backend_options={"use_uvloop": True})
    batches = rows / batch_max
    milliseconds = {words: spent[name] / batches * 1000 for name, words in STEPS.items()}
    rest = batch_max / rate * 1000 - sum(milliseconds.values())
    return milliseconds | {REST: rest, BESIDE: beside / batches * 1000}
