"""Real servers for tests: one PostgreSQL per session, and databases and tokens copied from a template.

Owns     making and dropping them; a test gets a copy of its own, so that nothing one test leaves can please another
Elsewhere: the fixtures themselves (conftest.py)
"""

import atexit
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio
from msgspec.structs import replace

from deploy.local import accounts, postgres
from deploy.local.roles import prepare_roles
from deploy.local.softhsm import SoftToken, prepare_token
from pipeline.adapters.postgres.migrate import migrate
from pipeline.formats.configuration import DatabaseSettings

SHARED_MEMORY = Path("/dev/shm")
TEMPLATE = "qerds_template"
PORT = 5432  # names the socket only
# A password is hashed 4096 times over at each login, by either side: that would be most of what a short psql costs.
QUICK: Mapping[str, str] = {**postgres.FOR_TESTS, "scram_iterations": "1"}


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """The session's own server; `template` is a migrated, empty installation."""

    cluster: postgres.Cluster
    template: DatabaseSettings
    process: "subprocess.Popen[bytes]"

    def psql(self, sql: str, database: str = "postgres") -> str:
        """As the superuser: for planting what no role of ours may write, and for looking at it."""
        return postgres.psql(self.cluster, sql, database)

    def clone(self) -> DatabaseSettings:
        """A fresh migrated database (some 30 ms)."""
        name = f"qerds_test_{secrets.token_hex(6)}"
        self.psql(f"CREATE DATABASE {name} OWNER qerds_owner TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
        return replace(self.template, name=name)

    def drop(self, database: DatabaseSettings) -> None:
        """Ends whoever is still connected, and drops it."""
        self.psql(f"DROP DATABASE IF EXISTS {database.name} WITH (FORCE)")


def short_directory() -> Path:
    """A directory whose path leaves room for socket names (107 bytes in all), in memory where there is any.

    It goes when the test process ends, if the test has not removed it before.
    """
    parent = SHARED_MEMORY if SHARED_MEMORY.is_dir() else Path(tempfile.gettempdir())
    path = Path(tempfile.mkdtemp(prefix="qt-", dir=parent))
    path.chmod(0o711)
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def start_server(home: Path, settings: Mapping[str, str] = QUICK, port: int = PORT) -> PostgresServer:
    """initdb, start, roles, template. Without `settings` the server is as durable as in an installation."""
    account = accounts.database_account()
    socket_dir = home / "s"
    socket_dir.mkdir(mode=0o711)
    accounts.give(account, socket_dir)
    password = secrets.token_urlsafe(16)
    binaries = postgres.reachable_binaries(postgres.find_binaries(), home, account)
    cluster = postgres.Cluster(binaries, home / "data", socket_dir, port, password, account, settings=settings)
    postgres.create(cluster, durable=False)
    process = postgres.start(cluster, home / "postgres.log")
    postgres.psql(cluster, f"ALTER ROLE {postgres.SUPERUSER} PASSWORD '{password}'")  # initdb knows no such setting
    database = DatabaseSettings(socket_dir=socket_dir, port=port, name=TEMPLATE, password_dir=home / "passwords")
    prepare_roles(cluster, database)
    anyio.run(lambda: migrate(database, check=False))
    postgres.psql(cluster, "INSERT INTO qerds.installation (mode, embedded) VALUES ('non_qualified', true)", TEMPLATE)
    return PostgresServer(cluster, database, process)


class TokenTemplate:
    """One initialised, empty SoftHSM token, copied for whoever asks."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._token = prepare_token(self._made("template"), self._made("template"))
        self._copies = 0

    def copy(self) -> SoftToken:
        """A token of one's own; its configuration names its own folder."""
        self._copies += 1
        home = self._made(f"token-{self._copies}")
        shutil.copytree(self._token.token_dir, home / "token")
        shutil.copy2(self._token.pin_file, home / "token-pin")
        (home / "token-made").touch()
        return prepare_token(home, home)

    def _made(self, name: str) -> Path:
        path = self._home / name
        path.mkdir(mode=0o700, exist_ok=True)
        return path
