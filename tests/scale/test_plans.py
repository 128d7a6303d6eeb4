"""The hot statements of a mailbox touch a batch's worth of rows, whatever the backlog and whatever statistics say; and
whoever asks how deep a mailbox is pays for what is counted, not for what is there.

Measured over a small and over a large backlog, by sessions that planned while the tables were empty, by sessions that
came after it, with the statistics of the empty tables, and with fresh ones: hot mailboxes flip between empty and full
faster than any analyse follows.
"""

from collections.abc import Callable, Mapping

import pytest

from gateway.sender.backlog import WAITING_MAX
from pipeline.delivery.routes import STAGES as ALL_STAGES
from pipeline.formats.configuration import DatabaseSettings
from pipeline.measures.series import QUESTIONS
from pipeline.operate.top import EXACT_MAX
from tests.scale.explain import Cost, Statement, sessions
from tests.servers import PostgresServer

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
SMALL, LARGE = 2_000, 100_000
WAITING = {SMALL: 2_000, LARGE: 1_000_000}  # messages; the other tables have `rows`
BATCH = 100
GROWTH_MAX = 1.5  # a tree one level deeper costs a block a row; a scan of the backlog would cost fifty times more
BLOCKS_MAX = 4_000  # of the large backlog's tables some twenty thousand are full
STATISTICS = ("planned while empty", "statistics of empty tables", "fresh statistics")

FILL = """
INSERT INTO outbox.ingest (lane, kind, subject)
    SELECT CASE WHEN n % 10 = 0 THEN 0 ELSE 2 END, 'submitted', gen_random_uuid()
    FROM generate_series(1, {waiting}) AS n;
INSERT INTO outbox.process (kind, host, pid, build, seen_at)
    SELECT 'ingest', 'host', n, 'test', CASE WHEN n <= 1 THEN '-infinity' ELSE 'infinity' END::timestamptz
    FROM generate_series(1, 20) AS n;
INSERT INTO outbox.ingest_running (epoch, id, lane, kind, subject)
    SELECT 1, n, 2, 'submitted', gen_random_uuid() FROM generate_series(1, {batch}) AS n;
INSERT INTO outbox.ingest_running (epoch, id, lane, kind, subject)
    SELECT 2 + n % 19, n, 2, 'submitted', gen_random_uuid() FROM generate_series(1000, {rows} + 1000) AS n;
INSERT INTO outbox.dead (stage, why, lane, kind, subject, ordinal, attempts, rescues, enqueued_at)
    SELECT 'ingest', 'spent 3 attempts', 2, 'submitted', gen_random_uuid(), 0, 3, 0, clock_timestamp()
    FROM generate_series(1, {rows}) AS n;
"""
FILL_TIMER = """
INSERT INTO outbox.{timer} (stage, due_at, lane, kind, subject)
    SELECT 'ingest', clock_timestamp() - interval '1 s', 2, 'submitted', gen_random_uuid()
    FROM generate_series(1, {batch} / 2);
INSERT INTO outbox.{timer} (stage, due_at, lane, kind, subject)
    SELECT stage, clock_timestamp() + n * interval '1 min', 2, 'submitted', gen_random_uuid()
    FROM generate_series(1, {rows}) AS n, unnest(ARRAY['ingest', 'expire']) AS stage;
"""
TABLES = "outbox.ingest, outbox.ingest_running, outbox.process, outbox.timer, outbox.legal_timer, outbox.dead"

IDS = ",".join(str(n) for n in range(1, BATCH + 1))
HOT = {
    "take": Statement(
        "qerds_ingest",
        "take@ingest",
        "smallint[], bigint[], integer[], integer, bigint",
        "'{0,2}', '{0,0}', '{50,100}', 100, 3",
    ),
    "remove": Statement("qerds_ingest", "remove@ingest", "bigint, bigint[]", f"1, '{{{IDS}}}'"),
    "rescue": Statement("qerds_ingest", "rescue@ingest", "text, double precision", "'ingest', 15"),
    "fire_timers": Statement("qerds_ingest", "fire_timers@ingest"),
    "fire_legal_timers": Statement("qerds_ingest", "fire_legal_timers@ingest"),
}
# How a large backlog may be read.
BY_KEY = frozenset(f"{table}_pkey" for table in ("ingest", "ingest_running", "process", "timer", "legal_timer"))
BY_ADDRESS = {f"Tid Scan {table}" for table in ("ingest", "timer", "legal_timer")}

STAGES = f"'{{{','.join(ALL_STAGES)}}}'"
[DEAD_MAX] = next(m.arguments for m in QUESTIONS if m.query == "ops_dead_letters")
DEPTHS = {
    "ops: depths": Statement("qerds_ops", "ops_depths", "text[], integer", f"{STAGES}, {EXACT_MAX}"),
    "ops: running": Statement("qerds_ops", "ops_running", "text[], integer", f"{STAGES}, {EXACT_MAX}"),
    "ops: timers": Statement("qerds_ops", "ops_timers", "text[]", STAGES),
    "ops: dead letters": Statement("qerds_ops", "ops_dead_letters", "integer", f"{DEAD_MAX}"),
    "top": Statement("qerds_operate", "operate_top", "text[], integer", f"{STAGES}, {EXACT_MAX}"),
    "gateway: a letter": Statement(
        "qerds_gateway", "backlog", "text[], smallint[], integer", f"{STAGES}, '{{0,1}}', {WAITING_MAX}"
    ),
    "gateway: a batch": Statement(
        "qerds_gateway", "backlog", "text[], smallint[], integer", f"'{{ingest}}', '{{0,1,2,3}}', {WAITING_MAX}"
    ),
    "ingest: a draw": Statement(
        "qerds_ingest", "backlog", "text[], smallint[], integer", f"{STAGES}, '{{0,1,2,3}}', {WAITING_MAX}"
    ),
}
Costs = Mapping[tuple[str, str], Cost]


@pytest.fixture(scope="module")
async def small(postgres: PostgresServer, make_database: Callable[[], DatabaseSettings]) -> Costs:
    return await measured(postgres, make_database(), SMALL)


@pytest.fixture(scope="module")
async def large(postgres: PostgresServer, make_database: Callable[[], DatabaseSettings]) -> Costs:
    return await measured(postgres, make_database(), LARGE)


async def measured(server: PostgresServer, database: DatabaseSettings, rows: int) -> Costs:
    """Every statement, by (statistics, name). Nobody but this function analyses."""
    statements = {**HOT, **DEPTHS}
    off = "".join(f"ALTER TABLE {t} SET (autovacuum_enabled = false);" for t in TABLES.split(", "))
    server.psql(f"{off} ANALYZE {TABLES}", database.name)
    found: dict[tuple[str, str], Cost] = {}
    async with sessions(database, statements) as early:
        fill = FILL.format(waiting=WAITING[rows], rows=rows, batch=BATCH)
        timers = [FILL_TIMER.format(timer=timer, rows=rows, batch=BATCH) for timer in ("timer", "legal_timer")]
        server.psql("".join([fill, *timers]), database.name)
        found |= {(STATISTICS[0], name): await early.cost(name) for name in statements}
    for statistics in STATISTICS[1:]:
        async with sessions(database, statements) as late:
            found |= {(statistics, name): await late.cost(name) for name in statements}
        server.psql(f"ANALYZE {TABLES}", database.name)
    return found


@pytest.mark.parametrize("statement", HOT)
@pytest.mark.parametrize("statistics", STATISTICS)
async def test_a_hot_statement_costs_a_batch_not_a_backlog(
    small: Costs, large: Costs, statistics: str, statement: str
) -> None:
    """A million messages, the same rows looked at as with two thousand, by primary key or address."""
    few, many = small[statistics, statement], large[statistics, statement]
    assert many.scans <= BY_KEY | BY_ADDRESS
    assert many.rows <= few.rows * GROWTH_MAX, (few, many)
    assert many.blocks <= min(few.blocks * GROWTH_MAX + BATCH, BLOCKS_MAX), (few, many)


@pytest.mark.parametrize("statement", DEPTHS)
@pytest.mark.parametrize("statistics", STATISTICS)
async def test_asking_for_a_depth_costs_what_is_counted(large: Costs, statistics: str, statement: str) -> None:
    """At most ten thousand of a lane are counted, however many there are."""
    assert large[statistics, statement].blocks <= BLOCKS_MAX, large[statistics, statement]
