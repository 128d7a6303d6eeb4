"""A PostgreSQL of the bench's own: as durable as an installation's, on the real disk or with an emulated flush.

Owns     starting it, its migrated database, what it wrote and flushed, and that nothing of it remains
Rules    fsync and synchronous_commit stay on. The emulated flush is a server in memory whose every commit waits one
         millisecond: disks differ and are shared, this one does not and is not, so ratios can be compared
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import asyncpg

from deploy.local import accounts, postgres
from deploy.local.roles import prepare_roles
from pipeline.adapters.postgres.migrate import migrate
from pipeline.formats.configuration import DatabaseSettings
from pipeline.formats.database_address import Dsn

MEMORY = Path("/dev/shm")
DISK = Path("/var/tmp")  # on most machines /tmp may be memory; this one outlives a boot and so is not
PORT = 5432  # names the socket only
NAME = "qerds"
SETTINGS: Mapping[str, str] = {
    "shared_buffers": "256MB",
    "max_wal_size": "8GB",  # no checkpoint falls into a measurement of some seconds
    "min_wal_size": "1GB",
    "checkpoint_timeout": "30min",
}
EMULATED_FLUSH: Mapping[str, str] = {"commit_delay": "1000", "commit_siblings": "0"}  # us; before every flush


@dataclass(frozen=True, slots=True)
class DatabaseServer:
    """A running server with one migrated, empty database."""

    cluster: postgres.Cluster
    database: DatabaseSettings
    home: Path
    pid: int

    def dsn(self, role: str) -> Dsn:
        """As one of our roles."""
        return self.database.dsn(role)

    def psql(self, sql: str, database: str = NAME) -> str:
        """As the superuser."""
        return postgres.psql(self.cluster, sql, database)

    async def connect(self, database: str = NAME) -> "asyncpg.Connection[asyncpg.Record]":
        """As the superuser, by the driver that the service uses."""
        return await asyncpg.connect(
            host=str(self.database.socket_dir),
            port=self.database.port,
            user=postgres.SUPERUSER,
            database=database,
            password=self.cluster.superuser_password,
            server_settings={"jit": "off"},
        )

    def environment(self, database: str = NAME) -> dict[str, str]:
        """For programs that speak libpq."""
        return {
            **os.environ,
            "PGHOST": str(self.database.socket_dir),
            "PGPORT": str(self.database.port),
            "PGUSER": postgres.SUPERUSER,
            "PGDATABASE": database,
            "PGPASSWORD": self.cluster.superuser_password,
        }

    def create(self, name: str) -> None:
        """An empty database for a peer, dropped when it was there."""
        self.psql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE);", "postgres")
        self.psql(f"CREATE DATABASE {name};", "postgres")


def can_emulate() -> bool:
    """Whether this machine has a file system in memory."""
    return MEMORY.is_dir() and os.access(MEMORY, os.W_OK)


@contextmanager
def scratch(in_memory: bool) -> Iterator[Path]:
    """A short directory of our own that goes afterwards."""
    home = Path(tempfile.mkdtemp(prefix="qb-", dir=MEMORY if in_memory else DISK))
    home.chmod(0o711)  # PostgreSQL's account has to get through
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def server(*, emulated_flush: bool, settings: Mapping[str, str] | None = None) -> Iterator[DatabaseServer]:
    """Start, migrate, lend, stop, remove."""
    with scratch(emulated_flush) as home:
        account = accounts.database_account()
        for name in ("s", "d"):
            (home / name).mkdir(mode=0o711)
            accounts.give(account, home / name)
        cluster = postgres.Cluster(
            binaries=postgres.reachable_binaries(postgres.find_binaries(), home, account),
            data_dir=home / "data",
            socket_dir=home / "s",
            port=PORT,
            superuser_password=secrets.token_urlsafe(16),
            account=account,
            settings={**SETTINGS, **(EMULATED_FLUSH if emulated_flush else {}), **(settings or {})},
        )
        postgres.create(cluster, durable=not emulated_flush)
        process = postgres.start(cluster, home / "postgres.log")
        try:
            database = DatabaseSettings(
                socket_dir=cluster.socket_dir, port=PORT, name=NAME, password_dir=home / "passwords"
            )
            prepare_roles(cluster, database)
            anyio.run(lambda: migrate(database, check=False))
            postgres.psql(
                cluster, "INSERT INTO qerds.installation (mode, embedded) VALUES ('non_qualified', true);", NAME
            )
            yield DatabaseServer(cluster, database, home, process.pid)
        finally:
            postgres.stop(process)
