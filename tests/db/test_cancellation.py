"""Cancellation at any instant: whoever is told "cancelled" knows that nothing was committed, and the session lives on.

The instants come from a fixed seed and are spread over what one run takes here; a failure names its run.
"""

import random
import statistics
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID

import anyio
import asyncpg
import pytest

from pipeline.adapters.postgres.link import GUARD_SECONDS, Link
from pipeline.delivery.routes import SUBMITTED
from pipeline.errors import Transient
from pipeline.formats.configuration import DatabaseSettings
from tests.servers import PostgresServer

pytestmark = pytest.mark.anyio
SEED = 20261
RUNS = 400
WARM_RUNS = 20  # before the 400: statements get prepared, and one run's duration is measured
SPREAD = 1.3  # instants go that much beyond one run's duration, so that some come too late
Work = Callable[[UUID], Awaitable[None]]


def emitted(delivery: UUID) -> list[list[object]]:
    """The arguments of `emit` for one message."""
    return [[0], [SUBMITTED], [delivery], [None], [0], [None]]


@pytest.fixture
async def link(database: DatabaseSettings) -> AsyncIterator[Link]:
    it = Link(database.dsn("qerds_gateway"))
    await it.open()
    yield it
    await it.close()


async def owner(database: DatabaseSettings) -> "asyncpg.Connection[asyncpg.Record]":
    """A session that holds locks."""
    return await asyncpg.connect(
        host=str(database.socket_dir),
        port=database.port,
        database=database.name,
        user="qerds_owner",
        password=database.password("qerds_owner"),
    )


def connection_of(link: Link) -> "asyncpg.Connection[asyncpg.Record]":
    """The driver's own view; nothing of ours tells whether a transaction is open."""
    assert link._connection is not None
    return link._connection


async def typical_seconds(work: Work) -> float:
    spent = []
    for run in range(WARM_RUNS):
        start = anyio.current_time()
        await work(UUID(int=10**6 + run))
        spent.append(anyio.current_time() - start)
    return statistics.median(spent)


async def told_after(work: Work, delivery: UUID, seconds: float) -> str:
    """What the caller of `work` is told when a cancellation comes after so many seconds."""
    with anyio.move_on_after(seconds):
        await work(delivery)
        return "done"
    return "cancelled"


async def cancel_often(link: Link, work: Work) -> dict[UUID, str]:
    """What the caller of each run was told. After every run the session is outside a transaction, and usable."""
    chance = random.Random(SEED)
    seconds_max = SPREAD * await typical_seconds(work)
    told = {}
    for run in range(1, RUNS + 1):
        delivery, where = UUID(int=run), f"seed {SEED}, run {run} of {work.__name__}"
        told[delivery] = await told_after(work, delivery, chance.uniform(0, seconds_max))
        assert link.is_open, f"{where}: the session was given up"
        assert not connection_of(link).is_in_transaction(), f"{where}: left in a transaction"
        rows = await link.call("ring", ["nobody"])
        assert len(rows) == 1, f"{where}: the session answers something else"
    return told


def committed(postgres: PostgresServer, database: DatabaseSettings) -> Counter[UUID]:
    lines = postgres.psql("SELECT subject FROM outbox.ingest", database.name).split()
    return Counter(UUID(line) for line in lines if UUID(line).int <= RUNS)


async def test_a_cancelled_transaction_is_never_committed_behind_its_callers_back(
    postgres: PostgresServer, database: DatabaseSettings, link: Link
) -> None:
    """400 cancellations: committed exactly when the block finished, and never a transaction left open."""

    async def two_statements(delivery: UUID) -> None:
        async with link.transaction():
            await link.fetch("lock_deliveries", [delivery])
            await link.fetch("emit@ingest", *emitted(delivery))

    told = await cancel_often(link, two_statements)
    assert committed(postgres, database) == Counter(d for d, word in told.items() if word == "done")
    assert len(set(told.values())) == 2, f"all instants fell on one side: {Counter(told.values())}"


async def test_a_single_statement_that_commits_is_always_told(
    postgres: PostgresServer, database: DatabaseSettings, link: Link
) -> None:
    """400 cancellations of `call`: each is committed and its caller knows it; no take is orphaned, no ring unsent."""

    async def one_statement(delivery: UUID) -> None:
        await link.call("emit@ingest", *emitted(delivery))

    told = await cancel_often(link, one_statement)
    assert set(told.values()) == {"done"}
    assert committed(postgres, database) == Counter(list(told))


async def test_a_body_that_waits_for_a_lock_is_ended_by_its_deadline(
    postgres: PostgresServer, database: DatabaseSettings
) -> None:
    """Whoever holds the lock, a statement in a transaction is an outside that is away, and its work is undone."""
    link, blocker = Link(database.dsn("qerds_gateway"), guard_seconds=0.3), await owner(database)
    await link.open()
    await blocker.execute("BEGIN; LOCK TABLE outbox.archive IN ACCESS EXCLUSIVE MODE")
    try:
        with anyio.fail_after(GUARD_SECONDS / 2), pytest.raises(Transient):
            async with link.transaction():
                await link.fetch("emit@ingest", *emitted(UUID(int=1)))
                await link.fetch("emit@archive", *emitted(UUID(int=1)))
    finally:
        await blocker.close(timeout=5)
        await link.close()
    assert committed(postgres, database) == Counter()


async def test_a_body_that_waits_for_a_lock_leaves_when_it_is_cancelled(
    postgres: PostgresServer, database: DatabaseSettings, link: Link
) -> None:
    """Only BEGIN, COMMIT and ROLLBACK are shielded: a waiting body leaves at once, its work undone."""
    blocker = await owner(database)
    try:
        await blocker.execute("BEGIN; LOCK TABLE outbox.archive IN ACCESS EXCLUSIVE MODE")

        async def blocked(delivery: UUID) -> None:
            async with link.transaction():
                await link.fetch("emit@ingest", *emitted(delivery))
                await link.fetch("emit@archive", *emitted(delivery))

        with anyio.fail_after(GUARD_SECONDS / 2):
            assert await told_after(blocked, UUID(int=1), 0.2) == "cancelled"
    finally:
        await blocker.close(timeout=5)
    assert not connection_of(link).is_in_transaction()
    assert committed(postgres, database) == Counter()
