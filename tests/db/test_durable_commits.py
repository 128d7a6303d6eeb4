"""Nobody is told of a commit that a crash of the server could undo; but for a take, which tells nobody anything.

What a role, a database, a connection, a statement or a transaction may set is all seen at one place: at the COMMIT
itself, by a deferred trigger on every table. That a crash loses nothing: tests/faults/test_durable_commits.py.
"""

import pytest

from pipeline.delivery.routes import STAGES
from pipeline.formats.configuration import DatabaseSettings
from tests.servers import PostgresServer
from tests.worlds.commits import DOORS
from tests.worlds.one_hop import mailbox, send

pytestmark = pytest.mark.anyio

# The server of the tests commits asynchronously; here it is as in an installation, and what is set otherwise is seen.
WATCH = """
CREATE SCHEMA watch;
CREATE TABLE watch.commits (role text, place text, setting text);
CREATE FUNCTION watch.look() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
    INSERT INTO watch.commits
    VALUES (session_user, concat(TG_TABLE_SCHEMA, '.', TG_TABLE_NAME), current_setting('synchronous_commit'));
    RETURN NULL;
END $$;
DO $$ DECLARE place regclass; BEGIN
    FOR place IN SELECT c.oid FROM pg_class c
                 WHERE c.relkind = 'r' AND c.relnamespace IN ('qerds'::regnamespace, 'outbox'::regnamespace) LOOP
        EXECUTE format('CREATE CONSTRAINT TRIGGER watch AFTER INSERT OR UPDATE OR DELETE ON %s '
                       'DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION watch.look()', place);
    END LOOP;
END $$;
"""
# Tables whose rows a crash would empty, or whose pages it may tear; settings below the whole server's.
WEAK_TABLES = "SELECT oid::regclass FROM pg_class WHERE relpersistence <> 'p' AND relkind IN ('r', 'i', 'S')"
WEAK_SETTINGS = """
SELECT coalesce(r.rolname, '-'), s.setting FROM pg_db_role_setting d LEFT JOIN pg_roles r ON r.oid = d.setrole,
       unnest(d.setconfig) s(setting) WHERE d.setdatabase = 0 AND s.setting ~ '^(synchronous_commit|commit_delay)='
"""


class Watched:
    """A database in which every commit is looked at."""

    def __init__(self, server: PostgresServer, config: DatabaseSettings) -> None:
        self.config = config
        self._server = server
        self.psql(f"ALTER DATABASE {config.name} SET synchronous_commit = on")
        self.psql(WATCH)

    def psql(self, sql: str) -> str:
        return self._server.psql(sql, self.config.name).strip()

    def commits(self) -> set[tuple[str, str, str]]:
        """Role, table and setting of what was committed since the last call."""
        rows = self.psql("SELECT DISTINCT role, place, setting FROM watch.commits").splitlines()
        self.psql("DELETE FROM watch.commits")
        return {(role, place, setting) for role, place, setting in (row.split("|") for row in rows)}


@pytest.fixture
def watched(postgres: PostgresServer, database: DatabaseSettings) -> Watched:
    return Watched(postgres, database)


async def test_every_commit_waits_for_the_disk(watched: Watched) -> None:
    """Whoever commits, over whatever connection and by whatever statement: it is on the disk when it is told."""
    for door in DOORS:
        if door.before:
            watched.psql(door.before)
            watched.commits()
        await door.commit(watched.config)
        commits = watched.commits()
        assert {setting for _, _, setting in commits} == {"on"}, (door.name, commits)
        assert (door.role, door.table, "on") in commits, door.name


async def test_a_take_alone_does_not(watched: Watched) -> None:
    """It may be lost, and says so for itself alone: what its connection commits next waits for the disk again."""
    for beside_commit in (False, True):
        await send(watched.config, 1)
        watched.commits()
        box = mailbox(watched.config, "ingest")
        await box.start()
        watched.commits()
        batch = await box.take(10, beside_commit=beside_commit)
        tables = {"outbox.ingest", "outbox.ingest_running"}
        assert watched.commits() == {("qerds_ingest", table, "off") for table in tables}
        async with box.transaction(batch) as tx:
            await tx.remove(batch)
            await tx.postpone([(batch[0], 0.0)])
        assert await box.take(10, beside_commit=beside_commit)
        watched.commits()
        await box.stop()
        assert watched.commits() == {("qerds_ingest", "outbox.process", "on")}


def test_every_role_that_commits_is_tried(watched: Watched) -> None:
    """Whoever gets a role gets a row in the table of doors; two roles ask and write nothing that anybody is told."""
    roles = set(watched.psql("SELECT rolname FROM pg_roles WHERE rolname LIKE 'qerds\\_%'").split())
    assert roles - {door.role for door in DOORS} == {"qerds_owner", "qerds_ops"}
    assert {f"qerds_{stage}" for stage in STAGES} <= {door.role for door in DOORS}


def test_no_role_and_no_table_is_weaker_than_the_server(watched: Watched) -> None:
    """Neither a role's settings nor a table that a crash empties."""
    assert watched.psql(WEAK_TABLES) == ""
    assert watched.psql(WEAK_SETTINGS) == ""


IN_A_ROLE = "ALTER ROLE qerds_gateway IN DATABASE {} SET synchronous_commit = off"
IN_A_TRANSACTION = """
GRANT USAGE ON SCHEMA watch TO PUBLIC;
CREATE FUNCTION watch.hasten() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM set_config('synchronous_commit', 'off', true); RETURN NEW; END $$;
CREATE TRIGGER hasten BEFORE INSERT ON outbox.ingest FOR EACH ROW EXECUTE FUNCTION watch.hasten();
"""


@pytest.mark.parametrize("weakening", [IN_A_ROLE, IN_A_TRANSACTION], ids=["session", "transaction"])
async def test_a_hasty_commit_is_seen(watched: Watched, weakening: str) -> None:
    """Set for a session or for one transaction: the look at the COMMIT sees both."""
    watched.psql(weakening.format(watched.config.name))
    await send(watched.config, 1)
    assert ("qerds_gateway", "outbox.ingest", "off") in watched.commits()
