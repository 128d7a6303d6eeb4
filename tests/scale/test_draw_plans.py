"""A draw costs its lines, not its batch: from a million lines that have just come by COPY, before anybody analysed.

A sender tries ten lines and then sends a million. The plans that `ingest` and the gateway made for the ten, over tables
that were empty a moment ago, are the plans that the million meets.
"""

from collections.abc import Callable, Mapping
from uuid import uuid4

import pytest

from pipeline.formats.configuration import DatabaseSettings
from tests.scale.explain import Cost, Statement, sessions
from tests.servers import PostgresServer

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
LINES, PARTS, LETTERS = 1_000_000, 20, 100_000
DRAWN = 60_000  # lines of the second part whose dead rows are still there
AT_ONCE = 200
ROWS_MAX = 3 * AT_ONCE  # lines, and the part and the batch that each is of
BLOCKS_MAX = 5 * AT_ONCE  # a tree of a million is three deep, and then there is the row
STATISTICS = ("planned while empty", "statistics of empty tables", "fresh statistics")
TABLES = "qerds.batch, qerds.batch_part, qerds.batch_line, qerds.delivery"

SENDER, FIRST, SECOND = uuid4(), uuid4(), uuid4()  # one batch at its beginning, one behind many lines that are gone
FILL = f"""
SET session_replication_role = replica;
INSERT INTO qerds.sender (id, name, email, identity_level, identity_method, identified_at)
    VALUES ('{SENDER}', 'S', 's@example.org', 'high', 'video', now());
INSERT INTO qerds.batch (id, sender, name, format, expires_at, state, parts, lines, drawn_part, drawn_line)
    VALUES ('{FIRST}', '{SENDER}', 'b', 'ndjson', now(), 'submitted', {PARTS}, {LINES}, 0, 0),
           ('{SECOND}', '{SENDER}', 'b', 'ndjson', now(), 'processing', 1, 2 * {DRAWN}, 1, {DRAWN});
INSERT INTO qerds.batch_part (batch, part, intake, sha256, bytes, lines)
    SELECT '{FIRST}'::uuid, n, gen_random_uuid(), sha256(''), 1, {LINES // PARTS} FROM generate_series(1, {PARTS}) n
    UNION ALL SELECT '{SECOND}', 1, gen_random_uuid(), sha256(''), 1, 2 * {DRAWN};
INSERT INTO qerds.batch_line (intake, line, body)
    SELECT p.intake, n, '{{"client_ref": "2026-11/4711", "recipient": {{"email": "a.person@recipient.example"}}}}'
    FROM qerds.batch_part p, generate_series(1, p.lines) n ORDER BY p.batch, p.part, n;
DELETE FROM qerds.batch_line l USING qerds.batch_part p
    WHERE l.intake = p.intake AND p.batch = '{SECOND}' AND l.line <= {DRAWN};
INSERT INTO qerds.delivery (id, number, sender, client_ref, request_sha256, lane, mode, config_version, recipient_kind,
    recipient_email, given_names, birth_name, language, subject, submitted_at)
    SELECT gen_random_uuid(), lpad(n::text, 14, '0'), '{SENDER}', 'ref-' || n, sha256('x'), 2, 'non_qualified', '1',
           'professional', 'r@example.org', 'A', 'B', 'fr', 'S', now()
    FROM generate_series(1, {LETTERS}) n;
"""
REFS = ",".join(f"ref-{400 * n}" for n in range(1, AT_ONCE + 1))
DRAW = {
    "draw_lines": Statement("qerds_ingest", "draw_lines", "uuid[], integer", f"'{{{FIRST},{SECOND}}}', {AT_ONCE // 2}"),
    "taken_client_refs": Statement(
        "qerds_ingest",
        "taken_client_refs",
        "uuid[], text[]",
        f"'{{{','.join([str(SENDER)] * AT_ONCE)}}}', '{{{REFS}}}'",
    ),
    "remove_drawn_lines": Statement(
        "qerds_ingest",
        "remove_drawn_lines",
        "uuid[], integer[], integer[], integer[]",
        f"'{{{FIRST},{SECOND}}}', '{{1,1}}', '{{0,{DRAWN}}}', '{{{AT_ONCE // 2},{DRAWN + AT_ONCE // 2}}}'",
    ),
    "validate": Statement(
        "qerds_gateway", "waiting_lines", "uuid, integer, integer, integer", f"'{FIRST}', 7, 4000, {AT_ONCE}"
    ),
}
BY_KEY = {"batch_pkey", "batch_by_sender", "batch_part_pkey", "batch_line_pkey", "delivery_client_ref"}
BY_ADDRESS = {"Tid Scan batch_line"}


@pytest.fixture(scope="module")
async def costs(
    postgres: PostgresServer, make_database: Callable[[], DatabaseSettings]
) -> Mapping[tuple[str, str], Cost]:
    """Every statement, by (statistics, name). Nobody but this function analyses."""
    database = make_database()
    off = "".join(f"ALTER TABLE {t} SET (autovacuum_enabled = false);" for t in TABLES.split(", "))
    postgres.psql(f"{off} ANALYZE {TABLES}", database.name)
    found: dict[tuple[str, str], Cost] = {}
    async with sessions(database, DRAW) as early:
        postgres.psql(FILL, database.name)
        found |= {(STATISTICS[0], name): await early.cost(name) for name in DRAW}
    for statistics in STATISTICS[1:]:
        async with sessions(database, DRAW) as late:
            found |= {(statistics, name): await late.cost(name) for name in DRAW}
        postgres.psql(f"ANALYZE {TABLES}", database.name)
    return found


@pytest.mark.parametrize("statement", DRAW)
@pytest.mark.parametrize("statistics", STATISTICS)
async def test_a_draw_costs_its_lines_not_the_batch(
    costs: Mapping[tuple[str, str], Cost], statistics: str, statement: str
) -> None:
    """Two hundred lines of a million, the same whoever planned when, by key or address."""
    cost = costs[statistics, statement]
    assert cost.scans <= BY_KEY | BY_ADDRESS, cost
    assert AT_ONCE <= cost.rows <= ROWS_MAX, cost
    assert cost.blocks <= BLOCKS_MAX, cost
