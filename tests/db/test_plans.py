"""The hot statements of a mailbox touch a batch's worth of rows, whatever the backlog and whatever statistics say.

Measured by the server itself: EXPLAIN (ANALYZE, BUFFERS) as the stage's own role, with its own settings, once over a
small and once over a large backlog. Statistics are those of the empty tables or fresh ones: hot mailboxes flip between
the two faster than any analyse follows.
"""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from pipeline.adapters.postgres.queries import queries
from pipeline.config import Database
from tests.servers import PostgresServer

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]
SMALL, LARGE = 2_000, 100_000
BATCH = 100
GROWTH_MAX = (
    1.5  # a tree that is one level deeper costs a block a row; a scan of the backlog would cost fifty times more
)
BLOCKS_MAX = 4_000  # 8 KiB each; of the large backlog's tables some ten thousand are full

FILL = """
INSERT INTO outbox.ingest (lane, kind, delivery)
    SELECT CASE WHEN n % 10 = 0 THEN 0 ELSE 2 END, 'submitted', gen_random_uuid() FROM generate_series(1, {rows}) AS n;
INSERT INTO outbox.process (kind, host, pid, build, seen_at)
    SELECT 'ingest', 'host', n, 'test', CASE WHEN n <= 1 THEN '-infinity' ELSE clock_timestamp() END
    FROM generate_series(1, 20) AS n;
INSERT INTO outbox.ingest_running (epoch, id, lane, kind, delivery)
    SELECT 1, n, 2, 'submitted', gen_random_uuid() FROM generate_series(1, {batch}) AS n;
INSERT INTO outbox.ingest_running (epoch, id, lane, kind, delivery)
    SELECT 2 + n % 19, n, 2, 'submitted', gen_random_uuid() FROM generate_series(1000, {rows} + 1000) AS n;
INSERT INTO outbox.{timer} (stage, due_at, lane, kind, delivery)
    SELECT 'ingest', clock_timestamp() - interval '1 s', 2, 'submitted', gen_random_uuid() FROM generate_series(1, {batch} / 2);
INSERT INTO outbox.{timer} (stage, due_at, lane, kind, delivery)
    SELECT stage, clock_timestamp() + n * interval '1 min', 2, 'submitted', gen_random_uuid()
    FROM generate_series(1, {rows}) AS n, unnest(ARRAY['ingest', 'expire']) AS stage;
"""
TABLES = "outbox.ingest, outbox.ingest_running, outbox.process, outbox.timer, outbox.legal_timer"

# Statement -> its parameters, and what comes back.
IDS = ",".join(str(n) for n in range(1, BATCH + 1))
HOT = {
    "take": ("smallint[], bigint[], integer[], integer, bigint", "'{0,2}', '{0,0}', '{50,100}', 100, 3"),
    "remove": ("bigint, bigint[]", f"1, '{{{IDS}}}'"),
    "rescue": ("text, double precision", "'ingest', 15"),
    "fire_timers": ("", ""),
    "fire_legal_timers": ("", ""),
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What one execution looked at."""

    blocks: int
    rows: int
    scans: frozenset[str]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", []):
        yield from nodes(inner)


def cost_of(explained: str) -> Cost:
    plan = json.loads(explained)[0]["Plan"]
    found = list(nodes(plan))
    scanned = [n for n in found if "Relation Name" in n and "Scan" in n["Node Type"]]
    looked_at = [
        n["Actual Loops"]
        * (n["Actual Rows"] + n.get("Rows Removed by Filter", 0) + n.get("Rows Removed by Index Recheck", 0))
        for n in scanned
    ]
    blocks = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return Cost(blocks, int(sum(looked_at)), frozenset(f"{n['Node Type']} {n['Relation Name']}" for n in scanned))


@pytest.fixture
async def backlog(postgres: PostgresServer, database: Database) -> AsyncIterator["Backlog"]:
    connection = await asyncpg.connect(
        host=str(database.socket_dir),
        port=database.port,
        database=database.name,
        user="qerds_ingest",
        password=database.password("qerds_ingest"),
    )
    yield Backlog(postgres, database, connection)
    await connection.close()


@dataclass(frozen=True, slots=True)
class Backlog:
    """A database with rows waiting, and a session of the stage that has to get through them."""

    server: PostgresServer
    database: Database
    connection: "asyncpg.Connection[asyncpg.Record]"

    def fill(self, rows: int, *, analysed: bool) -> None:
        """Anew. Statistics are taken when empty, or when full."""
        off = "".join(f"ALTER TABLE {t} SET (autovacuum_enabled = false);" for t in TABLES.split(", "))
        fill = FILL.format(rows=rows, batch=BATCH, timer="timer")
        legal = FILL[FILL.index("INSERT INTO outbox.{timer}") :].format(rows=rows, batch=BATCH, timer="legal_timer")
        begin = f"{off} TRUNCATE {TABLES} RESTART IDENTITY; ANALYZE {TABLES};"
        self.server.psql(begin + fill + legal + (f"ANALYZE {TABLES};" if analysed else ""), self.database.name)

    async def cost(self, statement: str) -> Cost:
        """Executed for real, by the plan that the stage gets, and undone."""
        types, values = HOT[statement]
        query = queries()[f"{statement}@ingest"].rstrip(";")
        await self.connection.execute(f"DISCARD PLANS; BEGIN; PREPARE hot{f'({types})' if types else ''} AS {query}")
        try:
            execute = f"EXECUTE hot{f'({values})' if values else ''}"
            return cost_of(await self.connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {execute}"))
        finally:
            await self.connection.execute("ROLLBACK; DEALLOCATE hot")


@pytest.mark.parametrize("analysed", [False, True], ids=["statistics of empty tables", "fresh statistics"])
@pytest.mark.parametrize("statement", HOT)
async def test_a_hot_statement_costs_a_batch_not_a_backlog(backlog: Backlog, statement: str, analysed: bool) -> None:
    """Fifty times the backlog, the same rows looked at, no table scanned."""
    backlog.fill(SMALL, analysed=analysed)
    small = await backlog.cost(statement)
    backlog.fill(LARGE, analysed=analysed)
    large = await backlog.cost(statement)
    assert not [scan for scan in large.scans if scan.startswith(("Seq Scan", "Bitmap"))]
    assert large.rows <= small.rows * GROWTH_MAX, (small, large)
    assert large.blocks <= min(small.blocks * GROWTH_MAX + BATCH, BLOCKS_MAX), (small, large)
