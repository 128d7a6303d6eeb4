"""A page of a list, or of an export by date, costs a page: however many letters its sender has, whatever is asked for.

EXPLAIN (ANALYZE, BUFFERS) from the middle of a long list, with the statistics of empty tables and with fresh ones, with
the plan for these values and with the one for any values. And the pages of a shorter list, put together.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from pipeline.adapters.postgres.database import Database as Connections
from pipeline.adapters.postgres.export_facts import SETTLED, PostgresExportFacts
from pipeline.adapters.postgres.link import Link
from pipeline.adapters.postgres.queries import queries
from pipeline.adapters.postgres.senders import PostgresSenderStore
from pipeline.delivery.states import STATES
from pipeline.exports.ports import ExportStanding
from pipeline.formats.configuration import DatabaseSettings, Provider
from pipeline.stores.lists import LOOKED_AT_MAX, Filter, ListPlace, starts
from tests.scale.explain import Cost, cost_of
from tests.servers import PostgresServer

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
LETTERS, FEW = 200_000, 4_000
PAGE = 100
SENDER, OTHER, BATCH = UUID(int=1), UUID(int=2), UUID(int=3)
BLOCKS_OF_A_ROW = 5  # of 8 KiB: at most a walk down an index, and the row
TABLES = "qerds.delivery, qerds.acceptance_window, qerds.batch, qerds.snapshot"
SINCE = datetime(2026, 1, 1, tzinfo=UTC)

# A minute between letters. One in two of the sender's letters is in the batch; every tenth letter is another sender's.
# Rare states are one in two thousand.
FILL = """
SET session_replication_role = replica;
INSERT INTO qerds.sender (id, name, email, identity_level, identity_method, identified_at)
    SELECT ('00000000-0000-0000-0000-00000000000' || n)::uuid, 'S', 's@example.org', 'substantial', 'x', now()
    FROM generate_series(1, 2) AS n;
INSERT INTO qerds.batch (id, sender, name, format, expires_at)
    VALUES ('{batch}', '{sender}', 'B', 'ndjson', 'infinity');
INSERT INTO qerds.delivery (id, number, sender, client_ref, request_sha256, lane, mode, config_version, recipient_kind,
    recipient_email, given_names, birth_name, language, subject, submitted_at, state, batch, settled_at, changed_at)
SELECT lpad(to_hex(n), 32, '0')::uuid, lpad(n::text, 14, '0'),
    CASE WHEN n % 10 = 9 THEN '{other}' ELSE '{sender}' END::uuid, 'r-' || n, '\\x{digest}', 2, 'x', 'x',
    'professional', 'a@example.org', 'A', 'B', 'fr', 'S', l.submitted_at, l.state,
    CASE WHEN n % 10 < 5 THEN '{batch}'::uuid END,
    CASE WHEN l.state <> 'submitted' THEN l.submitted_at + interval '30 s' + n % 100 * interval '7 s' END,
    CASE WHEN l.state <> 'submitted' THEN l.submitted_at + interval '20 min' + n % 1000 * interval '11 s' END
FROM generate_series(1, {letters}) AS n,
    LATERAL (SELECT timestamptz '2026-01-01Z' + n * interval '1 min' AS submitted_at,
        CASE WHEN n % 2000 = 1 THEN 'accepted' WHEN n % 2000 = 2 THEN 'refused' WHEN n % 20 = 3 THEN 'submitted'
             WHEN n % 20 = 4 THEN 'rejected' WHEN n % 3 = 0 THEN 'received' ELSE 'notified' END AS state) l;
INSERT INTO qerds.acceptance_window (delivery, ordinal, last_day, expires_at)
    SELECT id, 1, '2026-02-01', '2026-02-02' FROM qerds.delivery WHERE state NOT IN ('submitted', 'rejected');
INSERT INTO qerds.snapshot (delivery, snapshot, object, bytes, sha256, sequence_through)
    SELECT id, 1, number, 1, '\\x{digest}', 1 FROM qerds.delivery WHERE state <> 'submitted';
"""


def fill(server: PostgresServer, database: DatabaseSettings, letters: int, *, analysed: bool) -> None:
    """Statistics are taken when the tables are empty, or also when they are full."""
    off = "".join(f"ALTER TABLE {t} SET (autovacuum_enabled = false);" for t in TABLES.split(", "))
    rows = FILL.format(letters=letters, sender=SENDER, other=OTHER, batch=BATCH, digest="00" * 32)
    server.psql(f"{off} ANALYZE {TABLES};" + rows + (f"ANALYZE {TABLES};" if analysed else ""), database.name)


@dataclass(frozen=True, slots=True)
class Asked:
    """A page that goes on in the middle of the list."""

    query: str
    values: tuple[object, ...]
    role: str = "qerds_gateway"


def begin(which: Filter, after: ListPlace) -> tuple[object, ...]:
    found = starts(which, after)
    return [s.state for s in found], [s.at for s in found], [s.delivery for s in found], PAGE + 1


MIDDLE = SINCE + timedelta(minutes=LETTERS // 2)
DEPOSITED, UNDEPOSITED = ListPlace(False, MIDDLE, UUID(int=5)), ListPlace(True, MIDDLE, UUID(int=5))
BY_DEPOSIT, BY_BATCH, BY_CHANGE = (f"sender_deliveries_by_{what}" for what in ("deposit", "batch", "change"))
PERIOD = (MIDDLE, UUID(int=0), MIDDLE + timedelta(days=3650))
ASKED = {
    "all": Asked(BY_DEPOSIT, (SENDER, *begin(Filter(), DEPOSITED))),
    "a common state": Asked(BY_DEPOSIT, (SENDER, *begin(Filter(state="notified"), DEPOSITED))),
    "a rare state": Asked(BY_DEPOSIT, (SENDER, *begin(Filter(state="refused"), DEPOSITED))),
    "no such state": Asked(BY_DEPOSIT, (SENDER, *begin(Filter(state="uncollected"), DEPOSITED))),
    "not deposited": Asked(BY_DEPOSIT, (SENDER, *begin(Filter(), UNDEPOSITED))),
    "a batch": Asked(BY_BATCH, (SENDER, *begin(Filter(), DEPOSITED), BATCH)),
    "a batch and a state": Asked(BY_BATCH, (SENDER, *begin(Filter(state="rejected"), UNDEPOSITED), BATCH)),
    "another's batch": Asked(BY_BATCH, (OTHER, *begin(Filter(), DEPOSITED), BATCH)),
    "changes": Asked(BY_CHANGE, (SENDER, MIDDLE, UUID(int=5), PAGE + 1)),
    "some of the changes": Asked(BY_CHANGE, (SENDER, MIDDLE, UUID(int=5), LOOKED_AT_MAX)),
    "a reference": Asked("sender_deliveries_of_ref", (SENDER, f"r-{LETTERS // 2}", LOOKED_AT_MAX)),
    "an export by date": Asked("export_rows_of_sender", (SENDER, SETTLED, *PERIOD, PAGE), "qerds_archive"),
}


@pytest.fixture(scope="module", params=[False, True], ids=["statistics of empty tables", "fresh statistics"])
def sender(
    request: pytest.FixtureRequest, postgres: PostgresServer, make_database: Callable[[], DatabaseSettings]
) -> DatabaseSettings:
    database = make_database()
    fill(postgres, database, LETTERS, analysed=request.param)
    return database


async def cost(database: DatabaseSettings, asked: Asked, plan: str) -> Cost:
    """Of the plan that the role gets."""
    connection = await asyncpg.connect(
        host=str(database.socket_dir),
        port=database.port,
        database=database.name,
        user=asked.role,
        password=database.password(asked.role),
    )
    try:
        await connection.execute(f"SET plan_cache_mode = {plan}")
        await connection.execute(f"PREPARE page AS {queries()[asked.query]}")
        execute = f"EXECUTE page ({', '.join(literal(value) for value in asked.values)})"
        return cost_of(await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {execute}"))
    finally:
        await connection.close()


def literal(value: object) -> str:
    if isinstance(value, list):
        return "'{" + ",".join(f'"{one}"' for one in value) + "}'"
    return str(value) if isinstance(value, int) else f"'{value}'"


@pytest.mark.parametrize("plan", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("what", ASKED)
async def test_a_page_costs_a_page(sender: DatabaseSettings, what: str, plan: str) -> None:
    """Of a list of two hundred thousand letters at most a page of each state is looked at, and only by index."""
    found = await cost(sender, ASKED[what], plan)
    most = (len(STATES) + 3) * (LOOKED_AT_MAX if what == "some of the changes" else PAGE + 1)
    assert not {scan for scan in found.scans if " " in scan}, found
    assert found.rows <= most, found
    assert found.blocks <= BLOCKS_OF_A_ROW * most, found


# ------------------------------------------------------------------ what the pages hold
@pytest.fixture(scope="module")
def small(postgres: PostgresServer, make_database: Callable[[], DatabaseSettings]) -> DatabaseSettings:
    database = make_database()
    fill(postgres, database, FEW, analysed=False)
    return database


IN_TIME = SINCE + timedelta(minutes=FEW // 3)
LISTS = {
    "all": (Filter(), "true"),
    "a state": (Filter(state="rejected"), "state = 'rejected'"),
    "a batch": (Filter(batch=BATCH), f"batch = '{BATCH}'"),
    "a batch and a state": (Filter(batch=BATCH, state="received"), f"batch = '{BATCH}' AND state = 'received'"),
    "changes": (Filter(changed_after=IN_TIME), f"changed > '{IN_TIME}'"),
    "changes of a batch": (Filter(changed_after=IN_TIME, batch=BATCH), f"changed > '{IN_TIME}' AND batch = '{BATCH}'"),
    "changes to a state": (
        Filter(changed_after=IN_TIME, state="refused"),
        f"changed > '{IN_TIME}' AND state = 'refused'",
    ),
}
EXPECTED = """SELECT id FROM (SELECT d.*, coalesce(changed_at, submitted_at) AS changed FROM qerds.delivery d) d
    WHERE sender = '{sender}' AND {condition} ORDER BY {order}"""
BY_TIME_OF_DEPOSIT = "state IN ('submitted', 'rejected'), coalesce(settled_at, submitted_at), id"


def ids(server: PostgresServer, database: DatabaseSettings, condition: str, order: str) -> list[UUID]:
    rows = server.psql(EXPECTED.format(sender=SENDER, condition=condition, order=order), database.name)
    return [UUID(row) for row in rows.split()]


@pytest.mark.parametrize("what", LISTS)
async def test_pages_make_the_whole_list(postgres: PostgresServer, small: DatabaseSettings, what: str) -> None:
    """Each letter once and in order, as one statement without pages says; a page may be short and not be the last."""
    which, condition = LISTS[what]
    order = BY_TIME_OF_DEPOSIT if which.changed_after is None else "changed, id"
    connections = Connections(small.dsn("qerds_gateway"))
    store, seen, after = PostgresSenderStore(connections), list[UUID](), None
    while True:
        page, after = await store.deliveries(SENDER, which, after, 170)
        seen += [d.id for d in page]
        if after is None:
            break
    await connections.close()
    assert seen == ids(postgres, small, condition, order)
    assert seen


async def test_an_export_by_date_reads_its_period(postgres: PostgresServer, small: DatabaseSettings) -> None:
    """What was deposited or rejected in it, page by page: its first instant is in it and its last is not."""
    [bounds] = postgres.psql(
        "SELECT min(settled_at), max(settled_at) FROM (SELECT settled_at FROM qerds.delivery "
        f"WHERE settled_at IS NOT NULL AND sender = '{SENDER}' ORDER BY settled_at LIMIT 1000 OFFSET 500) d",
        small.name,
    ).splitlines()
    first, last = (datetime.fromisoformat(bound) for bound in bounds.split("|"))
    link = Link(small.dsn("qerds_archive"))
    await link.open()
    facts = PostgresExportFacts(link, Provider("Test Delivery", "FR", "2.25.1.1", "2.25.1.2"))
    standing = ExportStanding(UUID(int=9), SENDER, None, first, last, frozenset({"evidence"}), 0, "", is_done=False)
    seen: list[UUID | None] = []
    while rows := await facts.export_rows(standing, 170):
        seen += [row.delivery for row in rows]
        standing = replace(standing, cursor=rows[-1].cursor)
        assert all(row.decided_at is not None and first <= row.decided_at < last for row in rows)
    await link.close()
    period = f"settled_at >= '{first}' AND settled_at < '{last}'"
    assert seen == ids(postgres, small, period, "settled_at, id")
    assert len(seen) > 900
