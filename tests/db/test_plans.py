"""The hot statements of a mailbox touch a batch's worth of rows, whatever the backlog and whatever statistics say.

Measured by the server itself: EXPLAIN (ANALYZE, BUFFERS) as the stage's own role, with its own settings, once over a
small and once over a large backlog. Statistics are those of the empty tables or fresh ones: hot mailboxes flip between
the two faster than any analyse follows.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from pipeline.adapters.postgres.queries import queries
from pipeline.config import Database
from tests.servers import PostgresServer

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]
SMALL, LARGE = 2_000, 100_000
WAITING = {SMALL: 2_000, LARGE: 1_000_000}  # messages; the other tables have `rows`
BATCH = 100
GROWTH_MAX = 1.5  # a tree one level deeper costs a block a row; a scan of the backlog would cost fifty times more
BLOCKS_MAX = 4_000  # 8 KiB each; of the large backlog's tables some ten thousand are full

FILL = """
INSERT INTO outbox.ingest (lane, kind, delivery)
    SELECT CASE WHEN n % 10 = 0 THEN 0 ELSE 2 END, 'submitted', gen_random_uuid()
    FROM generate_series(1, {waiting}) AS n;
INSERT INTO outbox.process (kind, host, pid, build, seen_at)
    SELECT 'ingest', 'host', n, 'test', CASE WHEN n <= 1 THEN '-infinity' ELSE clock_timestamp() END
    FROM generate_series(1, 20) AS n;
INSERT INTO outbox.ingest_running (epoch, id, lane, kind, delivery)
    SELECT 1, n, 2, 'submitted', gen_random_uuid() FROM generate_series(1, {batch}) AS n;
INSERT INTO outbox.ingest_running (epoch, id, lane, kind, delivery)
    SELECT 2 + n % 19, n, 2, 'submitted', gen_random_uuid() FROM generate_series(1000, {rows} + 1000) AS n;
INSERT INTO outbox.{timer} (stage, due_at, lane, kind, delivery)
    SELECT 'ingest', clock_timestamp() - interval '1 s', 2, 'submitted', gen_random_uuid()
    FROM generate_series(1, {batch} / 2);
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
# How a large backlog may be read.
BY_KEY = frozenset(f"{table}_pkey" for table in ("ingest", "ingest_running", "process", "timer", "legal_timer"))
BY_ADDRESS = {"Tid Scan ingest"}


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
    return Cost(
        blocks,
        int(sum(looked_at)),
        frozenset(n.get("Index Name", f"{n['Node Type']} {n['Relation Name']}") for n in scanned),
    )


def filled(server: PostgresServer, database: Database, rows: int, *, analysed: bool) -> Database:
    """Statistics are taken when the tables are empty, or also when they are full."""
    off = "".join(f"ALTER TABLE {t} SET (autovacuum_enabled = false);" for t in TABLES.split(", "))
    fill = FILL.format(waiting=WAITING[rows], rows=rows, batch=BATCH, timer="timer")
    legal = FILL[FILL.index("INSERT INTO outbox.{timer}") :].format(rows=rows, batch=BATCH, timer="legal_timer")
    server.psql(f"{off} ANALYZE {TABLES};" + fill + legal + (f"ANALYZE {TABLES};" if analysed else ""), database.name)
    return database


@pytest.fixture(scope="module", params=[False, True], ids=["statistics of empty tables", "fresh statistics"])
def backlogs(
    request: pytest.FixtureRequest, postgres: PostgresServer, make_database: Callable[[], Database]
) -> tuple[Database, Database]:
    """The small one and the large one; what a statement does to them is undone."""
    small, large = (filled(postgres, make_database(), rows, analysed=request.param) for rows in (SMALL, LARGE))
    return small, large


async def cost(database: Database, statement: str) -> Cost:
    """Executed for real, by the plan that the stage gets; the session ends without a commit."""
    types, values = HOT[statement]
    query = queries()[f"{statement}@ingest"].rstrip(";")
    connection = await asyncpg.connect(
        host=str(database.socket_dir),
        port=database.port,
        database=database.name,
        user="qerds_ingest",
        password=database.password("qerds_ingest"),
    )
    try:
        await connection.execute(f"BEGIN; PREPARE hot{f'({types})' if types else ''} AS {query}")
        execute = f"EXECUTE hot{f'({values})' if values else ''}"
        return cost_of(await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {execute}"))
    finally:
        await connection.close()


@pytest.mark.parametrize("statement", HOT)
async def test_a_hot_statement_costs_a_batch_not_a_backlog(backlogs: tuple[Database, Database], statement: str) -> None:
    """A million messages, the same rows looked at as with two thousand, by primary key or address."""
    small, large = [await cost(database, statement) for database in backlogs]
    assert large.scans <= BY_KEY | BY_ADDRESS
    assert large.rows <= small.rows * GROWTH_MAX, (small, large)
    assert large.blocks <= min(small.blocks * GROWTH_MAX + BATCH, BLOCKS_MAX), (small, large)
