"""Bring the database's schema forward: schemas/migrations/NNNN_what.sql, each once, in order, for ever.

Owns     the table public.schema_migration (name, digest, time)
Rules    one transaction per file, holding the file and its record: a crash leaves a file wholly applied or not at all.
         An advisory lock lets one runner work at a time. An applied file never changes again: its digest is compared.
         lock_timeout ends a migration that would stop traffic behind a long reader; run it again later.
Elsewhere: going back (docs/adr/0001-forward-only-migrations.md), roles (schemas/roles.sql, run by the set-up)
"""

import argparse
import hashlib
import re
import sys
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import anyio
import asyncpg

from pipeline.adapters.postgres.link import REFUSALS
from pipeline.errors import QerdsError
from pipeline.formats.checked_table import ConfigInvalid
from pipeline.formats.configuration import DatabaseSettings, load_from_environment
from pipeline.process.first_host import HOST_SECONDS, NoHost, connect_first

ROLE = "qerds_owner"
FOLDER = Path(__file__).resolve().parents[3] / "schemas" / "migrations"
FILE_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
ADVISORY_LOCK = 0x7165726473  # "qerds"; any constant, the same in every build
LOCK_SECONDS, STATEMENT_SECONDS = 5, 600
TABLE = """CREATE TABLE IF NOT EXISTS public.schema_migration
    (name text PRIMARY KEY, sha256 bytea NOT NULL, applied_at timestamptz NOT NULL DEFAULT clock_timestamp())"""
OTHERS = "the database has {} where this build has {}: it was made by other migrations; see docs/operate.md, Upgrade"
RECORD = "INSERT INTO public.schema_migration (name, sha256) VALUES ($1, $2)"


class MigrationRefused(QerdsError):
    """The folder and the database disagree; nothing was applied by this call beyond what the text says."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file."""

    name: str
    sql: str
    sha256: bytes

    @property
    def head(self) -> str:
        """The comment it begins with: what it gives and locks, and whether old processes may run."""
        return "\n".join(takewhile(lambda line: line.startswith("--"), self.sql.splitlines()))


def read_folder(folder: Path = FOLDER) -> list[Migration]:
    """Every migration, in order; numbers run from 1 without a gap, so that a merge of two branches is noticed."""
    migrations = []
    for number, path in enumerate(sorted(folder.glob("*.sql")), start=1):
        named = FILE_NAME.fullmatch(path.name)
        if named is None or int(named[1]) != number:
            raise MigrationRefused(f"{path.name}: expected the name {number:04d}_what.sql")
        content = path.read_bytes()
        migrations.append(Migration(path.name, content.decode("utf-8"), hashlib.sha256(content).digest()))
    return migrations


async def pending(connection: asyncpg.Connection, migrations: list[Migration]) -> list[Migration]:
    """Those not applied yet; raises MigrationRefused when what was applied is not the beginning of what is here."""
    if await connection.fetchval("SELECT to_regclass('public.schema_migration')") is None:
        return migrations
    rows = await connection.fetch("SELECT name, sha256 FROM public.schema_migration ORDER BY name")
    for row, migration in zip(rows, migrations, strict=False):
        if row["name"] != migration.name:
            raise MigrationRefused(OTHERS.format(row["name"], migration.name))
        if row["sha256"] != migration.sha256:
            raise MigrationRefused(f"{row['name']} was applied with other content; migrations are never edited")
    if len(rows) > len(migrations):
        raise MigrationRefused(f"the database is newer than this build: it has {rows[-1]['name']}")
    return migrations[len(rows) :]


async def apply(connection: asyncpg.Connection, migrations: list[Migration]) -> list[Migration]:
    """Applies what is pending and returns it. May be called by several runners at once."""
    await connection.execute(f"SET statement_timeout = '{STATEMENT_SECONDS}s'")
    await connection.execute("SELECT pg_advisory_lock($1)", ADVISORY_LOCK)  # freed when the connection ends
    await connection.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
    await connection.execute(TABLE)
    applied = []
    for migration in await pending(connection, migrations):
        try:
            async with connection.transaction():
                await connection.execute(migration.sql)
                if not connection.is_in_transaction():
                    raise MigrationRefused(f"{migration.name} ended its own transaction; leave COMMIT to the runner")
                await connection.execute(RECORD, migration.name, migration.sha256)
        except asyncpg.PostgresError as error:
            raise MigrationRefused(f"{migration.name}: {type(error).__name__} {error.sqlstate}") from error
        applied.append(migration)
    return applied


async def migrate(database: DatabaseSettings, *, check: bool) -> list[Migration]:
    """Connects as the owner; what it applied, or with `check` what is pending. Raises MigrationRefused or NoHost."""
    connection = await connect_first(database.dsn(ROLE), asyncpg.connect, REFUSALS)
    try:
        migrations = read_folder()
        return await (pending if check else apply)(connection, migrations)
    finally:
        await connection.close(timeout=HOST_SECONDS)


def main() -> int:
    """qerds migrate [--check | --apply]: exit 0 done or nothing to do, 1 pending (--check), refused or no database."""
    parser = argparse.ArgumentParser(prog="qerds migrate", description="Bring the database's schema forward.")
    parser.add_argument("--check", action="store_true", help="only say what is pending, and its head; exit 1 if any is")
    parser.add_argument("--apply", action="store_false", dest="check", help="apply it (the default)")
    check = parser.parse_args().check
    try:
        migrations = anyio.run(lambda: migrate(load_from_environment().database, check=check))
    except (MigrationRefused, NoHost, ConfigInvalid) as error:
        print(f"migrate: {error}", file=sys.stderr)
        return 1
    for migration in migrations:
        print(f"pending {migration.name}\n{migration.head}" if check else f"applied {migration.name}")
    return int(check and bool(migrations))


if __name__ == "__main__":
    sys.exit(main())
