"""A hop under conditions: a pinned snapshot, doorbells beside writers, five processes in a row, its WAL.

Owns     one measurement each; hop.py decides how long they last and puts them into the report
"""

import time
from uuid import uuid4

import anyio

from bench import hop_stage, hop_worker
from bench.server import DatabaseServer
from bench.statistics import percentile
from pipeline.actors import loop
from pipeline.adapters.ids import SystemRandomness
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.link import Link
from pipeline.adapters.postgres.mailbox import PostgresMailbox
from pipeline.delivery.routes import BULK, SUBMITTED, Emission
from pipeline.errors import LeaseLost
from pipeline.formats.database_address import Dsn
from pipeline.ports.mailbox import Message
from pipeline.process.recorder import Recorder

PINNED_RATE = 2000  # messages a second
WRITERS = 16
SEND = "INSERT INTO outbox.ingest (lane, kind, subject) VALUES (0, 'submitted', $1)"
SINK_FULL_SECONDS = 10.0
BETWEEN_SECONDS = (0.023, 0.041, 0.067)  # uneven, so that nothing beats in time with a timer of ours


class WatchedMailbox(PostgresMailbox):
    """The real one, with a watch on every take that found something."""

    def __init__(self, dsn: Dsn, name: str) -> None:
        super().__init__(dsn, Link(dsn, LeaseLost), name, "bench", SystemRandomness(), Recorder(name))
        self.takes: list[tuple[float, float]] = []  # when, seconds

    async def _take(self, lanes: tuple[int, ...], limit: int, link: Link) -> list[Message]:
        began = time.perf_counter()
        batch = await super()._take(lanes, limit, link)
        if batch:
            self.takes.append((began, time.perf_counter() - began))
        return batch


def pinned(server: DatabaseServer, before_seconds: float, pinned_seconds: float) -> tuple[float, float, int]:
    """Take p50 in ms before a snapshot is held and at the end of holding it, and the dead rows by then."""
    tail_seconds = min(5.0, pinned_seconds / 3)

    async def run() -> tuple[float, float, int]:
        box = WatchedMailbox(server.dsn("qerds_ingest"), "ingest")
        draining = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(
                loop.run, hop_stage.stage("ingest", 100), box, None, draining, SystemRandomness(), Recorder("ingest")
            )
            await anyio.sleep(before_seconds)
            holder = await server.connect()
            await holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class")
            held_at = time.perf_counter()
            await anyio.sleep(pinned_seconds)
            draining.set()
            dead = await holder.fetchval(
                "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relid = 'outbox.ingest'::regclass"
            )
            await holder.execute("ROLLBACK")
            await holder.close()
        before = [s for at, s in box.takes if held_at - before_seconds + 1 < at < held_at]
        after = [s for at, s in box.takes if at > held_at + pinned_seconds - tail_seconds]
        return percentile(before, 50) * 1000, percentile(after, 50) * 1000, int(dead or 0)

    hop_stage.fill(server, "ingest", 0)
    with hop_worker.producer(server, PINNED_RATE, before_seconds + pinned_seconds + 5):
        return anyio.run(run, backend_options={"use_uvloop": True})


def writers_rate(server: DatabaseServer, seconds: float, *, is_ringing: bool) -> float:
    """Commits a second of sixteen writers of one row each, with the doorbell of the gateway's database or without."""

    async def run() -> float:
        ends_at = time.perf_counter() + seconds
        written = 0
        database = Database(server.dsn("qerds_gateway"), WRITERS)

        async def with_rings() -> None:
            nonlocal written
            while time.perf_counter() < ends_at:
                async with database.transaction() as tx:
                    await tx.emit([Emission(SUBMITTED, uuid4(), lane=BULK)])
                written += 1

        async def without() -> None:
            nonlocal written
            while time.perf_counter() < ends_at:
                async with database.transaction() as tx:
                    await tx.emit([Emission(SUBMITTED, uuid4(), lane=BULK)])
                    tx.rung.clear()
                written += 1

        async with database.ringing(), anyio.create_task_group() as tasks:
            for _ in range(WRITERS):
                tasks.start_soon(with_rings if is_ringing else without)
        await database.close()
        return written / seconds

    hop_stage.fill(server, "ingest", 0)
    return anyio.run(run, backend_options={"use_uvloop": True})


def five_hops(server: DatabaseServer, messages: int) -> list[float]:
    """Milliseconds from before the insert to the row in the sink, one message at a time through five processes."""

    async def run() -> list[float]:
        sender, ringer = await server.connect(), await server.connect()
        sent: dict[str, float] = {}
        for number in range(messages):
            subject = uuid4()
            sent[str(subject)] = time.time()
            await sender.execute(SEND, subject)
            await ringer.execute("SELECT pg_notify('doorbell', 'ingest')")
            await anyio.sleep(BETWEEN_SECONDS[number % len(BETWEEN_SECONDS)])
        question = "SELECT subject::text AS subject, extract(epoch FROM enqueued_at)::float8 AS at FROM outbox.archive"
        with anyio.fail_after(SINK_FULL_SECONDS):
            while len(arrived := await sender.fetch(question)) < messages:  # noqa: ASYNC110 - the database is asked
                await anyio.sleep(0.1)
        await sender.close()
        await ringer.close()
        return [(row["at"] - sent[row["subject"]]) * 1000 for row in arrived]

    server.psql(hop_stage.GRANTS)
    hop_stage.fill(server, "ingest", 0)
    with hop_worker.workers(server, list(hop_stage.CHAIN)):
        return anyio.run(run, backend_options={"use_uvloop": True})


def wal_bytes_of_a_hop(server: DatabaseServer, rows: int, batch_max: int) -> float:
    """WAL written while a mailbox is emptied, by hop. No checkpoint falls into it, so no page images either."""
    hop_stage.fill(server, "ingest", rows)
    at = int(server.psql("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"))
    hop_stage.drain_rate(server, rows, batch_max)
    return (int(server.psql("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")) - at) / rows
