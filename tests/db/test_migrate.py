"""The migration runner, against a real server."""

from pathlib import Path

import anyio
import asyncpg
import pytest

from pipeline.adapters.postgres.migrate import MigrationRefused, apply, migrate, pending, read_folder
from pipeline.formats.configuration import DatabaseSettings

pytestmark = pytest.mark.anyio


async def connect(database: DatabaseSettings) -> asyncpg.Connection:
    return await asyncpg.connect(
        host=str(database.socket_dir),
        port=database.port,
        database=database.name,
        user="qerds_owner",
        password=database.password("qerds_owner"),
    )


def folder_with(path: Path, *statements: str) -> Path:
    for number, statement in enumerate(statements, start=1):
        (path / f"{number:04d}_step.sql").write_text(statement)
    return path


async def test_a_migrated_database_has_nothing_pending(database: DatabaseSettings) -> None:
    """Running the migrations again does nothing."""
    assert await migrate(database, check=True) == []
    assert await migrate(database, check=False) == []


async def test_an_edited_migration_is_refused(database: DatabaseSettings) -> None:
    """What was applied may never change: the digest of the file is compared with the recorded one."""
    connection = await connect(database)
    await connection.execute("UPDATE public.schema_migration SET sha256 = 'x' WHERE name LIKE '0001%'")
    with pytest.raises(MigrationRefused, match="0001_"):
        await pending(connection, read_folder())
    await connection.close()


async def test_an_older_build_is_refused(database: DatabaseSettings) -> None:
    """A build that does not know the newest applied migration does not touch the database."""
    connection = await connect(database)
    with pytest.raises(MigrationRefused, match="newer than this build"):
        await apply(connection, read_folder()[:-1])
    await connection.close()


async def test_a_database_of_other_migrations_is_refused(database: DatabaseSettings, tmp_path: Path) -> None:
    """One from before the migrations were written anew is told apart by its names, and is not touched."""
    connection = await connect(database)
    await connection.execute("DROP TABLE public.schema_migration")
    others = read_folder(folder_with(tmp_path, *["SELECT 1"] * (len(read_folder()) + 5)))
    await apply(connection, others)
    before = await connection.fetch("SELECT * FROM public.schema_migration")
    with pytest.raises(
        MigrationRefused, match=r"has 0001_step\.sql where this build has 0001_[a-z]+\.sql: it was made by other"
    ):
        await apply(connection, read_folder())
    assert await connection.fetch("SELECT * FROM public.schema_migration") == before
    await connection.close()


async def test_what_is_pending_comes_with_its_head(database: DatabaseSettings, tmp_path: Path) -> None:
    """An operator reads before the upgrade what each file gives and locks, and whether old processes may run."""
    connection = await connect(database)
    await connection.execute("DROP TABLE public.schema_migration")
    migrations = read_folder(folder_with(tmp_path, "-- First.\n--\n-- Locks  nothing\n\n-- not this\nSELECT 1"))
    assert [migration.head for migration in await pending(connection, migrations)] == [
        "-- First.\n--\n-- Locks  nothing"
    ]
    await connection.close()


async def test_a_failing_file_leaves_nothing_behind(database: DatabaseSettings, tmp_path: Path) -> None:
    """A file is applied whole or not at all, and those before it stay applied."""
    connection = await connect(database)
    await connection.execute("DROP TABLE public.schema_migration")
    folder = folder_with(tmp_path, "CREATE TABLE first (a int)", "CREATE TABLE second (a int); SELECT 1 / 0")
    with pytest.raises(MigrationRefused, match=r"0002_step\.sql: DivisionByZeroError 22012$"):
        await apply(connection, read_folder(folder))
    assert await connection.fetchval("SELECT to_regclass('second')") is None
    assert await connection.fetchval("SELECT string_agg(name, ',') FROM schema_migration") == "0001_step.sql"
    await connection.close()


async def test_a_file_that_commits_is_refused(database: DatabaseSettings, tmp_path: Path) -> None:
    """A migration cannot end the runner's transaction and so escape from its record unnoticed."""
    connection = await connect(database)
    await connection.execute("DROP TABLE public.schema_migration")
    with pytest.raises(MigrationRefused, match="ended its own transaction"):
        await apply(connection, read_folder(folder_with(tmp_path, "CREATE TABLE first (a int); COMMIT")))
    await connection.close()


async def test_two_runners_apply_each_file_once(database: DatabaseSettings, tmp_path: Path) -> None:
    """Runners on several hosts may start together: one applies, the other finds nothing to do."""
    one, two = await connect(database), await connect(database)
    await one.execute("DROP TABLE public.schema_migration")
    migrations = read_folder(folder_with(tmp_path, "CREATE TABLE first (a int); SELECT pg_sleep(0.05)"))
    answers: list[list[str]] = []

    async def run(connection: asyncpg.Connection) -> None:
        answers.append([migration.name for migration in await apply(connection, migrations)])
        await connection.close()  # the lock lasts as long as the connection

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, one)
        tasks.start_soon(run, two)
    assert sorted(answers) == [[], ["0001_step.sql"]]


def test_a_gap_in_the_numbers_is_refused(tmp_path: Path) -> None:
    """Two branches that added the same number, or a lost file, are noticed before anything runs."""
    folder_with(tmp_path, "SELECT 1", "SELECT 2")
    (tmp_path / "0001_step.sql").unlink()
    with pytest.raises(MigrationRefused, match="expected the name 0001_what"):
        read_folder(tmp_path)
