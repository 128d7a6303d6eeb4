"""Of many candidates one acts, whichever is killed: real processes, real sessions, kill -9 and backends terminated.

Every act is a row with its term, its process and the interval that the server saw, in a table that is only added to.
"""

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.children import child_environment, die_with_parent
from pipeline.formats.configuration import DatabaseSettings
from tests.faults.elected_worker import ROLE
from tests.servers import PostgresServer
from tests.waiting import instant, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]
ROOT = Path(__file__).resolve().parents[2]
SEED = 1913
CANDIDATES = 3
KILLS = 50  # by turns of the process and of its backend
ACTING_SECONDS = 0.2  # a kill falls within so much of the first act of a term
ELECTED_SECONDS_MAX = 30
SILENT_SECONDS = 1.0
END_SECONDS_MAX = 10.0
TABLE = f"""
CREATE SCHEMA test;
CREATE TABLE test.act (
    id bigint GENERATED ALWAYS AS IDENTITY, term bigint NOT NULL, process integer NOT NULL,
    began timestamptz NOT NULL DEFAULT clock_timestamp(), ended timestamptz NOT NULL
);
CREATE FUNCTION test.take_time() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep(0.003); NEW.ended := clock_timestamp(); RETURN NEW; END $$;
CREATE TRIGGER takes_time BEFORE INSERT ON test.act FOR EACH ROW EXECUTE FUNCTION test.take_time();
GRANT USAGE ON SCHEMA test TO {ROLE};
GRANT INSERT ON test.act TO {ROLE};
"""
# A term that began an act before the last act of the term before it had ended; a term of two processes.
ACROSS = """
SELECT count(*) FROM (
    SELECT term, min(began) AS began, lag(max(ended)) OVER (ORDER BY term) AS before_ended FROM test.act GROUP BY term
) t WHERE began < before_ended
"""
SHARED = "SELECT count(*) FROM (SELECT FROM test.act GROUP BY term HAVING count(DISTINCT process) > 1) t"
BACKEND = f"""
SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity a USING (pid)
WHERE locktype = 'advisory' AND granted AND usename = '{ROLE}' AND datname = current_database()
"""


class World:
    """One election, its table, and the nursery of its candidates."""

    def __init__(self, server: PostgresServer, database: DatabaseSettings, log: Path) -> None:
        self._server, self._database = server, database
        where = [database.socket_dir, database.port, database.name, database.password_dir, SILENT_SECONDS]
        with log.open("ab") as errors:
            self._nursery = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.elected_worker", *map(str, where)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
                env=child_environment({}),
                preexec_fn=die_with_parent(signal.SIGKILL),
            )

    def psql(self, sql: str) -> str:
        return self._server.psql(sql, self._database.name).strip()

    def ask(self, request: str) -> int:
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        self._nursery.stdin.write(request + "\n")
        self._nursery.stdin.flush()
        return int(self._nursery.stdout.readline())

    def newest(self) -> tuple[int, int]:
        """Term and process of the last act."""
        term, process = (self.psql("SELECT term, process FROM test.act ORDER BY id DESC LIMIT 1") or "0|0").split("|")
        return int(term), int(process)

    async def acts_after(self, term: int) -> tuple[int, int]:
        """The first act seen of a later term."""

        async def is_later() -> bool:
            return self.newest()[0] > term

        await until(is_later, ELECTED_SECONDS_MAX)
        return self.newest()

    def close(self) -> None:
        """The candidates die with the nursery."""
        self._nursery.communicate(timeout=END_SECONDS_MAX)


@pytest.fixture
def world(postgres: PostgresServer, database: DatabaseSettings, tmp_path: Path) -> Iterator[World]:
    it = World(postgres, database, tmp_path / "candidates.log")
    it.psql(TABLE)
    yield it
    it.close()


async def test_no_two_act_at_once_whoever_is_killed(world: World) -> None:
    """Fifty elected ones killed in the middle of an act: each act of a term has ended before the next term's first."""
    chance, term = random.Random(SEED), 0
    for _ in range(CANDIDATES):
        world.ask("start")
    for number in range(KILLS):
        term, process = await world.acts_after(term)
        await instant(ACTING_SECONDS * chance.random())
        if number % 2:
            assert world.psql(BACKEND) == "t"
        else:
            world.ask(f"kill {process}")
            world.ask("start")
    await world.acts_after(term)
    assert (world.psql(ACROSS), world.psql(SHARED)) == ("0", "0")
    assert int(world.psql("SELECT count(DISTINCT term) FROM test.act")) == KILLS + 1


def test_the_table_shows_who_acts_at_once(world: World) -> None:
    """A later term that began before the earlier one had ended, and a term of two processes, are seen."""
    for term, process, seconds in ((1, 10, 4), (2, 11, 2), (2, 12, 1)):
        began = f"clock_timestamp() - interval '{seconds} s'"
        world.psql(f"INSERT INTO test.act (term, process, began) VALUES ({term}, {process}, {began})")
    assert (world.psql(ACROSS), world.psql(SHARED)) == ("1", "1")


async def test_who_falls_silent_loses_the_term(world: World) -> None:
    """A process that is stopped still has its session; PostgreSQL ends it, another acts, and who wakes up does not."""
    world.ask("start")
    first, process = await world.acts_after(0)
    world.ask("start")
    world.ask(f"stop {process}")
    second, other = await world.acts_after(first)
    assert other != process
    world.ask(f"go {process}")
    world.ask(f"kill {other}")
    third, last = await world.acts_after(second)
    assert (last, third > second) == (process, True)
    assert (world.psql(ACROSS), world.psql(SHARED)) == ("0", "0")
