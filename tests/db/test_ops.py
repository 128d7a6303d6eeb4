"""The elected measurer over a real database: its statements as its own role, its election, its series."""

import shutil
from pathlib import Path

import anyio
import asyncpg
import pytest

from pipeline.adapters.ids import SystemRandomness
from pipeline.adapters.postgres.watch import PostgresWatch
from pipeline.config import Database as DatabaseConfig
from pipeline.config import load
from pipeline.connect import dsn_of
from pipeline.ops import service
from pipeline.recorder import Recorder
from tests.db import small_ledger
from tests.servers import PostgresServer, short_directory
from tests.waiting import until

pytestmark = pytest.mark.anyio
LEADER = ("qerds_ops_leader", "")


@pytest.fixture
async def ledger(database: DatabaseConfig) -> DatabaseConfig:
    """Letters in several situations."""
    state = short_directory()
    async with small_ledger.installation(database, state) as it:
        await it.submit()
    shutil.rmtree(state)
    return database


def watch(database: DatabaseConfig, tmp_path: Path) -> PostgresWatch:
    path = tmp_path / "qerds.toml"
    path.write_text(small_ledger.toml_of(database, tmp_path))
    return PostgresWatch(dsn_of(load(path), "qerds_ops"))


async def test_one_is_elected_and_the_next_follows_it(
    postgres: PostgresServer, ledger: DatabaseConfig, tmp_path: Path
) -> None:
    """Two candidates: one measures, the other says that it does not, and takes over when the first one goes."""
    recorders = [Recorder("ops", write=lambda _: None) for _ in range(2)]
    ends = [anyio.Event() for _ in range(2)]

    def leading(recorder: Recorder) -> bool:
        return recorder.gauges.get(LEADER) == 1.0

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(service.run, watch(ledger, tmp_path), ends[0], SystemRandomness(), recorders[0])
        await recorders[0].ready.wait()

        async def first() -> bool:
            return leading(recorders[0])

        await until(first, 5)
        tasks.start_soon(service.run, watch(ledger, tmp_path), ends[1], SystemRandomness(), recorders[1])
        await recorders[1].ready.wait()

        async def second_waits() -> bool:
            return recorders[1].gauges == {LEADER: 0.0}

        await until(second_waits, 5)
        ends[0].set()

        async def second() -> bool:
            return leading(recorders[1])

        await until(second, 10)
        ends[1].set()


async def test_every_measure_answers_its_own_role(ledger: DatabaseConfig, tmp_path: Path) -> None:
    """One round tells of every stage, state and duty that there is something to tell about."""
    it = watch(ledger, tmp_path)
    assert await it.elect()
    told = await service.Rounds().measure(it)
    await it.stop()
    assert told[LEADER] == 1.0
    names = {series for series, _ in told}
    assert names >= {
        "qerds_mailbox_ready_rows",
        "qerds_mailbox_oldest_ready_seconds",
        "qerds_mailbox_running_rows",
        "qerds_timers_overdue_seconds",
        "qerds_dead_letter_oldest_seconds",
        "qerds_legal_slack_seconds",
        "qerds_deliveries",
        "qerds_pg_dead_rows",
    }
    assert told["qerds_deliveries", 'state="submitted"'] == 1
    assert 86_000 < told["qerds_legal_slack_seconds", 'duty="deposit_proof"'] <= 86_400


@pytest.mark.parametrize("table", ["qerds.delivery", "outbox.dead", "outbox.pause", "qerds.sender", "outbox.seal"])
async def test_the_measurer_changes_nothing_and_reads_nobodys_name(database: DatabaseConfig, table: str) -> None:
    """SELECT on the columns it counts by, and no more."""
    connection = await asyncpg.connect(
        host=str(database.socket_dir),
        port=database.port,
        database=database.name,
        user="qerds_ops",
        password=database.password("qerds_ops"),
    )
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(f"SELECT * FROM {table}")
        for privilege in ("INSERT", "UPDATE"):
            assert not await connection.fetchval("SELECT has_any_column_privilege($1, $2)", table, privilege)
        assert not await connection.fetchval("SELECT has_table_privilege($1, 'DELETE')", table)
    finally:
        await connection.close()
