"""Fixtures that every test may use.

postgres        the session's own server (PostgresServer: psql, clone, drop)
database        a fresh migrated database, as DatabaseSettings (socket_dir, port); passwords are .password(role)
make_database   the same for wider scopes: a function that returns a new one, dropped when the session ends
softhsm         an initialised, empty token (SoftToken: module, conf, token_dir, pin_file, label)
make_softhsm    the same for wider scopes
state_dir       an empty 0700 directory with a short path (sockets fit), gone afterwards
anyio_backend   asyncio; override it in a test module or by parametrisation for trio
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local import postgres as launcher
from deploy.local.softhsm import SoftToken
from pipeline.formats.configuration import DatabaseSettings
from tests.servers import PostgresServer, TokenTemplate, short_directory, start_server


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    home = short_directory()
    server = start_server(home)
    try:
        yield server
    finally:
        launcher.stop(server.process)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def make_database(postgres: PostgresServer) -> Iterator[Callable[[], DatabaseSettings]]:
    made: list[DatabaseSettings] = []

    def make() -> DatabaseSettings:
        made.append(postgres.clone())
        return made[-1]

    yield make
    for database in made:
        postgres.drop(database)


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[DatabaseSettings]:
    fresh = postgres.clone()
    yield fresh
    postgres.drop(fresh)


@pytest.fixture(scope="session")
def make_softhsm() -> Iterator[Callable[[], SoftToken]]:
    home = short_directory()
    home.chmod(0o700)
    yield TokenTemplate(home).copy
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def softhsm(make_softhsm: Callable[[], SoftToken]) -> SoftToken:
    return make_softhsm()


@pytest.fixture
def state_dir() -> Iterator[Path]:
    path = short_directory()
    path.chmod(0o700)
    yield path
    shutil.rmtree(path, ignore_errors=True)
