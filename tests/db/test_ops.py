"""The elected measurer over a real database: its statements as its own role, its election, its series."""

import shutil
from pathlib import Path

import anyio
import asyncpg
import pytest

from pipeline.adapters.ids import SystemRandomness
from pipeline.adapters.postgres.watch import PostgresWatch
from pipeline.adapters.volumes import LocalVolumes
from pipeline.formats.configuration import DatabaseSettings, load
from pipeline.measures import measurer as service
from pipeline.measures import series as measures
from pipeline.process.measures import DELIVERIES, LEGAL_SLACK, OPS_LEADER, WEBHOOK_LAG
from pipeline.process.recorder import Recorder
from tests.db import small_ledger
from tests.db.events_world import EventsWorld
from tests.servers import PostgresServer, short_directory
from tests.waiting import until

pytestmark = pytest.mark.anyio
LEADER = OPS_LEADER.of()


@pytest.fixture
async def ledger(database: DatabaseSettings) -> DatabaseSettings:
    """Letters in several situations."""
    state = short_directory()
    async with small_ledger.installation(database, state) as it:
        await it.submit()
    shutil.rmtree(state)
    return database


def watch(database: DatabaseSettings, tmp_path: Path) -> PostgresWatch:
    path = tmp_path / "qerds.toml"
    path.write_text(small_ledger.toml_of(database, tmp_path))
    return PostgresWatch(load(path).database.dsn("qerds_ops"))


async def test_one_is_elected_and_the_next_follows_it(
    postgres: PostgresServer, ledger: DatabaseSettings, tmp_path: Path
) -> None:
    """Two candidates: one measures, the other says that it does not, and takes over when the first one goes."""
    recorders = [Recorder("ops", write=lambda _: None) for _ in range(2)]
    ends = [anyio.Event() for _ in range(2)]

    def leading(recorder: Recorder) -> bool:
        return recorder.told().get(LEADER) == 1.0

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(
            service.run, watch(ledger, tmp_path), LocalVolumes({}), ends[0], SystemRandomness(), recorders[0]
        )
        await recorders[0].ready.wait()

        async def first() -> bool:
            return leading(recorders[0])

        await until(first, 5)
        tasks.start_soon(
            service.run, watch(ledger, tmp_path), LocalVolumes({}), ends[1], SystemRandomness(), recorders[1]
        )
        await recorders[1].ready.wait()

        async def second_waits() -> bool:
            return recorders[1].told() == {LEADER: 0.0}

        await until(second_waits, 5)
        ends[0].set()

        async def second() -> bool:
            return leading(recorders[1])

        await until(second, 10)
        ends[1].set()


async def test_every_measure_answers_its_own_role(ledger: DatabaseSettings, tmp_path: Path) -> None:
    """One round tells of every stage, state and duty that there is something to tell about."""
    it = watch(ledger, tmp_path)
    assert await it.elect()
    told = await service.Rounds().measure(it)
    await it.stop()
    assert told[LEADER] == 1.0
    names = {gauge.name for gauge, _ in told}
    assert names >= {
        "qerds_mailbox_ready_rows",
        "qerds_mailbox_oldest_ready_seconds",
        "qerds_mailbox_running_rows",
        "qerds_timers_overdue_seconds",
        "qerds_dead_letter_oldest_seconds",
        "qerds_legal_slack_seconds",
        "qerds_deliveries",
        "qerds_pg_dead_rows",
        "qerds_pg_horizon_seconds",
        "qerds_webhook_lag_seconds",
    }
    assert told[DELIVERIES.of("submitted")] == 1
    assert 86_000 < told[LEGAL_SLACK.of("deposit_proof")] <= 86_400


async def test_the_horizon_is_as_old_as_the_oldest_snapshot(
    postgres: PostgresServer, database: DatabaseSettings, tmp_path: Path
) -> None:
    """Also that of another role, of whose session the measurer sees this one number."""
    it, held = watch(database, tmp_path), await EventsWorld(postgres, database).owner()
    assert await it.elect()
    async with held.transaction(isolation="repeatable_read"):
        await held.execute("SELECT 1 FROM qerds.sender")
        least = await held.fetchval("SELECT extract(epoch FROM clock_timestamp() - now())::float8")
        [row] = await it.ask("ops_horizon")
        assert row["seconds"] >= least > 0
    [row] = await it.ask("ops_horizon")
    assert 0 <= row["seconds"] < 60
    await held.close()
    await it.stop()


async def test_webhook_lag_is_that_of_the_event_that_waits_longest(
    postgres: PostgresServer, database: DatabaseSettings, tmp_path: Path
) -> None:
    """A webhook behind by an hour, one that fails for two, one that is disabled, and one that is not behind."""
    world, it = EventsWorld(postgres, database), watch(database, tmp_path)
    sender = world.add_sender()
    world.move(world.add_letters(sender, 2), "deposited")
    await world.sequence()
    world.psql("UPDATE qerds.event SET sequenced_at = now() - interval '1 hour' * (3 - sequence)")
    for read_through, rest in (
        (1, "0, true, NULL"),
        (0, "3, true, NULL"),
        (0, "0, false, 'gone'"),
        (2, "0, true, NULL"),
    ):
        world.psql(
            "INSERT INTO qerds.webhook (id, sender, url, signature, read_through, failures, enabled, disabled_reason)"
            f" VALUES (gen_random_uuid(), '{sender}', 'https://e.example', 'v1a', {read_through}, {rest})"
        )
    assert await it.elect()
    found = measures.webhook_lag(await it.ask("ops_webhook_lag"))
    await it.stop()
    assert 3600 <= found[WEBHOOK_LAG.of("answers")] < 3700
    assert 7200 <= found[WEBHOOK_LAG.of("fails")] < 7300


async def test_how_long_a_letter_takes_to_its_proof_of_deposit(
    postgres: PostgresServer, database: DatabaseSettings, tmp_path: Path
) -> None:
    """By lane, over letters deposited just now; from the submission to the time in the token."""
    state = short_directory()
    async with small_ledger.installation(database, state) as ledger:
        await ledger.deposit()
    shutil.rmtree(state)
    world, it = EventsWorld(postgres, database), watch(database, tmp_path)
    await world.sequence()
    took = float(
        world.psql(
            "SELECT extract(epoch FROM t.gen_time - d.submitted_at) FROM qerds.delivery d JOIN qerds.evidence e"
            " ON e.delivery = d.id AND e.event = 'A.1' JOIN qerds.evidence_token t USING (evidence)"
        )
    )
    assert await it.elect()
    found = measures.deposits(await it.ask("ops_deposits", 1000))
    await it.stop()
    assert {labels: pytest.approx(took) for labels in ("0.5", "0.95", "1")} == {
        quantile: seconds for (_, (_, quantile)), seconds in found.items()
    }


@pytest.mark.parametrize(
    "table",
    ["qerds.delivery", "outbox.dead", "outbox.pause", "qerds.sender", "outbox.seal", "qerds.event", "qerds.webhook"],
)
async def test_the_measurer_changes_nothing_and_reads_nobodys_name(database: DatabaseSettings, table: str) -> None:
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
