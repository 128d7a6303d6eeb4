"""schemas/schema.sql is what the migrations make."""

from difflib import unified_diff

import pytest

from pipeline.config import Database
from tests.schema_sql import COMMAND, FILE, describe
from tests.servers import PostgresServer

pytestmark = pytest.mark.anyio


async def test_the_schema_on_paper_is_the_one_that_the_migrations_make(database: Database) -> None:
    """Who reads schemas/schema.sql reads today's schema and grants, and a change of them is seen in review."""
    made = await describe(database)
    differs = "\n".join(
        unified_diff(FILE.read_text().splitlines(), made.splitlines(), FILE.name, "made", "", "", 2, "")
    )
    assert not differs, f"make it again, and look at what changed: {COMMAND}\n{differs}"


async def test_the_schema_on_paper_tells_a_change(postgres: PostgresServer, database: Database) -> None:
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
