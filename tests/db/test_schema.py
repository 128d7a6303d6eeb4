"""schemas/schema.sql is what the migrations make, and every table says what a row is and who inserts it."""

import re
from difflib import unified_diff

import asyncpg
import pytest

from deploy.local.roles import OWNER, ROLES
from pipeline.delivery.routes import STAGES
from pipeline.formats.configuration import DatabaseSettings
from tests.schema_sql import COMMAND, FILE, describe
from tests.servers import PostgresServer

pytestmark = pytest.mark.anyio
MAILBOXES = {f"outbox.{table}" for stage in STAGES for table in (stage, f"{stage}_running")}
INSERTS = re.compile(r"Inserts: ([a-z, ]+)[.;]")
COMMENTS = """
SELECT n.nspname || '.' || c.relname, obj_description(c.oid, 'pg_class')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('outbox', 'qerds') AND c.relkind = 'r'
"""
MAY_INSERT = "SELECT has_any_column_privilege($1::name, $2, 'INSERT')"


async def connect(database: DatabaseSettings, role: str = OWNER) -> "asyncpg.Connection[asyncpg.Record]":
    return await asyncpg.connect(
        host=str(database.socket_dir),
        port=database.port,
        database=database.name,
        user=role,
        password=database.password(role),
    )


async def test_the_schema_on_paper_is_the_one_that_the_migrations_make(database: DatabaseSettings) -> None:
    """Who reads schemas/schema.sql reads today's schema and grants, and a change of them is seen in review."""
    made = await describe(database)
    differs = "\n".join(
        unified_diff(FILE.read_text().splitlines(), made.splitlines(), FILE.name, "made", "", "", 2, "")
    )
    assert not differs, f"make it again, and look at what changed: {COMMAND}\n{differs}"


async def test_the_schema_on_paper_tells_a_change(postgres: PostgresServer, database: DatabaseSettings) -> None:
    """A column, check, index, trigger, policy, grant or function more is told, wherever it is."""
    before = (await describe(database)).splitlines()
    for change, told in {
        "ALTER TABLE qerds.sender ADD COLUMN phone text NOT NULL DEFAULT ''": "phone",
        "ALTER TABLE qerds.sender ADD CHECK (phone <> '1') NOT VALID": "NOT VALID",
        "CREATE INDEX sender_by_phone ON qerds.sender (phone)": "sender_by_phone",
        "CREATE TRIGGER t AFTER INSERT ON qerds.sender EXECUTE FUNCTION qerds.note_row('x')": "CREATE TRIGGER t ",
        "CREATE POLICY p ON qerds.evidence FOR INSERT TO qerds_seal WITH CHECK (true)": "TO qerds_seal WITH CHECK",
        "GRANT UPDATE (phone) ON qerds.sender TO qerds_seal": "UPDATE (phone)",
        "GRANT EXECUTE ON FUNCTION qerds.legal_now() TO PUBLIC": "TO PUBLIC",
        "GRANT CREATE ON SCHEMA qerds TO qerds_seal": "CREATE",
        "CREATE FUNCTION qerds.f(a text) RETURNS text LANGUAGE sql AS 'SELECT 1'": "qerds.f(a text)",
        "COMMENT ON TABLE qerds.sender IS 'anything'": "anything",
        "ALTER TABLE qerds.sender SET (fillfactor = 55)": "fillfactor=55",
    }.items():
        postgres.psql(change, database.name)
        after = (await describe(database)).splitlines()
        new = [line for line in after if line not in before]
        assert any(told in line for line in new), f"{change}: {new}"
        before = after


def test_nothing_is_granted_to_everybody() -> None:
    """A function is everybody's as it is made: each migration takes it away (REVOKE ALL .. FROM PUBLIC)."""
    text = FILE.read_text()
    assert "TO qerds_gateway" in text
    assert "PUBLIC" not in text


async def test_each_table_says_truly_who_inserts(database: DatabaseSettings) -> None:
    """The comment of a table names the kinds of process that may insert into it, and no other."""
    connection = await connect(database)
    comments = dict(await connection.fetch(COMMENTS))
    for table, comment in comments.items():
        told = INSERTS.search(comment or "")
        assert table in MAILBOXES or told, f"{table} does not say who inserts: {comment}"
        if table in MAILBOXES or told is None:
            continue  # whoever emits to it: tests/db/test_grants.py
        words = {"every stage": set(STAGES), "nobody": set()}.get(told[1], set(told[1].split(", ")))
        may = {role for role in ROLES if role != OWNER and await connection.fetchval(MAY_INSERT, role, table)}
        assert may == {f"qerds_{word}" for word in words}, table
    await connection.close()


async def test_a_new_stage_takes_four_calls(postgres: PostgresServer, database: DatabaseSettings) -> None:
    """Its role can then do with its mailbox, timers, dead letters and process rows what every stage can."""
    role = "qerds_planted"
    postgres.psql(f"CREATE ROLE {role}")  # of the whole server, so it goes again below
    try:
        owner = await connect(database)
        calls = ("create_mailbox('planted')", "grant_stage('planted')", "create_message_view('{seal,planted}')")
        for call in (*calls, "guard_stage('planted', '{grow}')"):
            await owner.execute(f"SELECT outbox.{call}")
        await owner.close()
        text = await describe(database)
        seals = [line for line in text.splitlines() if re.search(r"outbox\.(seal|seal_running) TO .*qerds_seal", line)]
        assert len(seals) == 2
        for line in seals:
            assert line.replace("seal", "planted") in text
        for table in ("timer", "legal_timer", "process", "dead"):
            assert re.search(rf"ON outbox\.{table} TO [^;]*{role}", text)
        assert re.search(rf"is_paused\(text,text\) TO [^;]*{role}", text)
        assert re.search(r"-- reads [^;]*outbox\.planted_running", text)
    finally:
        postgres.psql(f"DROP OWNED BY {role}", database.name)
        postgres.psql(f"DROP ROLE {role}")
