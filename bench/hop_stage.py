"""A stage that does nothing but hand on, run by the real loop over the real mailbox: the hop that is measured.

Owns     the no-op stages, one per mailbox of the chain, and one measured drain of a full mailbox
Rules    nothing here is faster than the product: loop.run, PostgresMailbox and PostgresTx as every stage uses them.
         Timed from one perform to the last, so whole cycles count and neither start nor end does
"""

import time
from collections.abc import Sequence

import anyio

from bench.server import DatabaseServer
from pipeline.actors import loop
from pipeline.actors.contract import Done, Outcome, Stage, Work
from pipeline.adapters.ids import SystemRandomness
from pipeline.adapters.postgres.link import Link
from pipeline.adapters.postgres.mailbox import PostgresMailbox
from pipeline.delivery.routes import BULK, CHECKED, DRAFT, PRESERVE, RECEIVER, SEALED, SEND, SUBMITTED, Emission
from pipeline.errors import LeaseLost
from pipeline.ports.mailbox import Message, Tx
from pipeline.process.recorder import Recorder

HOPS = ((SUBMITTED, CHECKED), (CHECKED, DRAFT), (DRAFT, SEALED), (SEALED, SEND), (SEND, PRESERVE))
CHAIN = {RECEIVER[taken]: (taken, emitted) for taken, emitted in HOPS}
SINK = RECEIVER[PRESERVE]  # where a chain of five hops ends
DRAIN_SECONDS_MAX = 120.0
WARM_BATCHES = 2  # in which a connection prepares its statements
FILL = """
INSERT INTO outbox.{stage} (lane, kind, subject)
SELECT {lane}, '{kind}', gen_random_uuid() FROM generate_series(1, {rows})
"""
# notify hands on to archive in the bench only; in the service it does not
GRANTS = "GRANT INSERT ON outbox.archive TO qerds_notify;"


class Drain:
    """Counts what a stage performed, and sets `draining` when `rows` are done. The first batches are not timed."""

    def __init__(self, rows: int) -> None:
        self.draining = anyio.Event()
        self._rows = rows
        self._batches = self._done = self._done_at_first = 0
        self._before_last = 0
        self._first_at = self._last_at = 0.0

    def saw(self, count: int) -> None:
        """A batch is being performed."""
        self._last_at = time.perf_counter()
        self._before_last = self._done
        self._batches += 1
        if self._batches == WARM_BATCHES + 1:
            self._first_at, self._done_at_first = self._last_at, self._done
        self._done += count
        if self._done >= self._rows:
            self.draining.set()

    @property
    def rate(self) -> float:
        """Messages a second over whole cycles of take, perform and commit."""
        return (self._before_last - self._done_at_first) / (self._last_at - self._first_at)


def stage(name: str, batch_max: int, drain: Drain | None = None) -> Stage[object, None, Tx]:
    """The no-op stage of this mailbox."""
    receives, emits = CHAIN[name]

    async def perform(batch: Sequence[Message], _ports: object) -> list[Outcome[None]]:
        if drain is not None:
            drain.saw(len(batch))
        return [Done(m, None) for m in batch]

    async def commit(_tx: Tx, done: Sequence[Done[None]]) -> list[Emission]:
        return [Emission(emits, d.message.subject) for d in done]

    return Stage(name, Work(frozenset({receives}), perform, commit), batch_max)


class OneConnection(PostgresMailbox):
    """The real one, except that nothing is taken beside a COMMIT: what one connection can do."""

    async def take(
        self, limit: int, *, interactive_only: bool = False, beside_commit: bool = False
    ) -> Sequence[Message]:
        """Nothing while the connection is busy."""
        return [] if beside_commit else await super().take(limit, interactive_only=interactive_only)


def mailbox(server: DatabaseServer, name: str, kind: type[PostgresMailbox] = PostgresMailbox) -> PostgresMailbox:
    """The real one, or another kind of it."""
    dsn = server.dsn(f"qerds_{name}")
    return kind(dsn, Link(dsn, LeaseLost), name, "bench", SystemRandomness(), Recorder(name))


def fill(server: DatabaseServer, name: str, rows: int, lane: int = BULK) -> None:
    """An emptied chain, and `rows` messages waiting for this stage."""
    tables = [f"outbox.{t}, outbox.{t}_running" for t in (*CHAIN, SINK)]
    kind, _ = CHAIN[name]
    server.psql(f"TRUNCATE {', '.join(tables)};" + FILL.format(stage=name, kind=kind, lane=lane, rows=rows))


def one_connection_rate(server: DatabaseServer, rows: int, batch_max: int) -> float:
    """Hops a second when the next batch is taken after the COMMIT, as the fused statement has to."""
    return drain_rate(server, rows, batch_max, OneConnection)


def drain_rate(
    server: DatabaseServer, rows: int, batch_max: int, kind: type[PostgresMailbox] = PostgresMailbox
) -> float:
    """Hops a second of one process that moves `rows` messages from a mailbox into the next."""

    async def live() -> float:
        drain = Drain(rows)
        with anyio.fail_after(DRAIN_SECONDS_MAX):
            await loop.run(
                stage("ingest", batch_max, drain),
                mailbox(server, "ingest", kind),
                None,
                drain.draining,
                SystemRandomness(),
                Recorder("ingest"),
            )
        return drain.rate

    return anyio.run(live, backend_options={"use_uvloop": True})
