"""A page of a batch's results costs a page: from the middle of a long batch, whatever the statistics say of its tables.

EXPLAIN (ANALYZE, BUFFERS) with the statistics of empty tables and with fresh ones, with the plan for these values and
with the one for any values; and what the pages hold.
"""

from collections.abc import Callable
from uuid import UUID

import asyncpg
import pytest

from pipeline.adapters.postgres.queries import queries
from pipeline.formats.configuration import DatabaseSettings
from tests.scale.explain import cost_of
from tests.servers import PostgresServer

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
LINES, PART_LINES, PAGE = 200_000, 10_000, 1_000
BATCH, SENDER = UUID(int=3), UUID(int=1)
BLOCKS_OF_A_LINE = 20  # of 8 KiB: four walks down an index, and their rows
TABLES = "qerds.delivery, qerds.batch, qerds.batch_part, qerds.batch_result, qerds.evidence, qerds.snapshot"
FILL = """
SET session_replication_role = replica;
ALTER TABLE qerds.evidence DROP CONSTRAINT evidence_is_named_by_its_fact, DROP CONSTRAINT evidence_bytes_say_its_name;
INSERT INTO qerds.sender (id, name, email, identity_level, identity_method, identified_at)
    VALUES ('{sender}', 'S', 's@example.org', 'substantial', 'x', now());
INSERT INTO qerds.batch (id, sender, name, format, expires_at)
    VALUES ('{batch}', '{sender}', 'B', 'ndjson', 'infinity');
INSERT INTO qerds.batch_part (batch, part, intake, sha256, bytes, lines, first_line)
    SELECT '{batch}', n, gen_random_uuid(), '\\x{digest}', 1, {part_lines}, (n - 1) * {part_lines}
    FROM generate_series(1, {lines} / {part_lines}) AS n;
INSERT INTO qerds.delivery (id, number, sender, client_ref, request_sha256, lane, mode, config_version, recipient_kind,
    recipient_email, given_names, birth_name, language, subject, submitted_at, state, batch, stamped_through)
SELECT lpad(to_hex(n), 32, '0')::uuid, lpad(n::text, 14, '0'), '{sender}', 'r-' || n, '\\x{digest}', 2, 'x', 'x',
    'professional', 'a@example.org', 'A', 'B', 'fr', 'S', now(),
    CASE WHEN n % 100 = 7 THEN 'rejected' ELSE 'notified' END, '{batch}', 2
FROM generate_series(1, {lines}) AS n;
INSERT INTO qerds.evidence (evidence, delivery, event, ordinal, sequence, event_time, canonical, sha256, seal_key_id)
SELECT gen_random_uuid(), d.id, e.event, 1, e.sequence, now(), 'x', sha256('x'), 'k'
FROM qerds.delivery d
JOIN (VALUES ('A.1', 1, 'notified'), ('C.1', 2, 'notified'), ('A.2', 1, 'rejected')) AS e(event, sequence, state)
    USING (state);
INSERT INTO qerds.batch_result (batch, part, line, client_ref, delivery)
SELECT '{batch}', (n - 1) / {part_lines} + 1, (n - 1) % {part_lines} + 1, 'r-' || n, lpad(to_hex(n), 32, '0')::uuid
FROM generate_series(1, {lines}) AS n;
INSERT INTO qerds.snapshot (delivery, snapshot, object, bytes, sha256, sequence_through)
    SELECT id, 1, number, 1, '\\x{digest}', 1 FROM qerds.delivery;
"""
PAGES = {
    "batch_results": "qerds_gateway",
    "batch_proof_lines": "qerds_archive",
    "export_rows_of_batch": "qerds_archive",
}
MIDDLE = LINES // PART_LINES // 2, PART_LINES // 3


@pytest.fixture(scope="module", params=[False, True], ids=["statistics of empty tables", "fresh statistics"])
def batch(
    request: pytest.FixtureRequest, postgres: PostgresServer, make_database: Callable[[], DatabaseSettings]
) -> DatabaseSettings:
    database = make_database()
    off = "".join(f"ALTER TABLE {t} SET (autovacuum_enabled = false);" for t in TABLES.split(", "))
    rows = FILL.format(lines=LINES, part_lines=PART_LINES, sender=SENDER, batch=BATCH, digest="00" * 32)
    fresh = f"ANALYZE {TABLES};" if request.param else ""
    postgres.psql(f"{off} ANALYZE {TABLES};{rows}{fresh}", database.name)
    return database


async def opened(database: DatabaseSettings, role: str) -> "asyncpg.Connection[asyncpg.Record]":
    return await asyncpg.connect(
        host=str(database.socket_dir),
        port=database.port,
        database=database.name,
        user=role,
        password=database.password(role),
    )


@pytest.mark.parametrize("plan", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("query", PAGES)
async def test_a_page_of_results_costs_a_page(batch: DatabaseSettings, query: str, plan: str) -> None:
    """By index only, and no line before or after the page is looked at."""
    connection = await opened(batch, PAGES[query])
    try:
        await connection.execute(f"SET plan_cache_mode = {plan}")
        await connection.execute(f"PREPARE page AS {queries()[query]}")
        part, line = MIDDLE
        execute = f"EXECUTE page ('{BATCH}', {part}, {line}, {PAGE})"
        found = cost_of(await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {execute}"))
    finally:
        await connection.close()
    assert found.rows <= PAGE * 5, found
    assert found.blocks <= PAGE * BLOCKS_OF_A_LINE, found


async def test_pages_of_results_make_the_whole_batch(batch: DatabaseSettings) -> None:
    """Each line once, in order, under its number; a rejected letter with its evidence."""
    connection = await opened(batch, "qerds_gateway")
    try:
        after, numbers, rejected = (0, 0), list[int](), 0
        while page := await connection.fetch(queries()["batch_results"], BATCH, *after, PAGE):
            numbers += [row["number"] for row in page]
            rejected += sum(row["rejection"] is not None for row in page)
            after = page[-1]["part"], page[-1]["line"]
    finally:
        await connection.close()
    assert numbers == list(range(1, LINES + 1))
    assert rejected == LINES // 100
