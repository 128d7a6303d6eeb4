"""What was told is there after a crash of the server: each way to commit, the server as an installation has it."""

import shutil
from collections.abc import Iterator

import pytest

from pipeline.formats.configuration import DatabaseSettings
from tests.faults.mortal_server import MortalServer
from tests.servers import short_directory
from tests.worlds.commits import EACH_KIND, Door

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def mortal() -> Iterator[MortalServer]:
    home = short_directory()
    server = MortalServer(home, settings={})
    yield server
    server.stop()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def config(mortal: MortalServer) -> Iterator[DatabaseSettings]:
    database = mortal.server.clone()
    yield database
    mortal.server.drop(database)


@pytest.mark.parametrize("door", EACH_KIND, ids=lambda door: door.name)
async def test_what_was_committed_is_there_after_a_crash(
    mortal: MortalServer, config: DatabaseSettings, door: Door
) -> None:
    """kill -9 of the whole server straight after the answer, with nobody who would have written it meanwhile."""
    if door.before:
        mortal.server.psql(door.before, config.name)
    count = f"SELECT count(*) FROM {door.table}"
    before = int(mortal.server.psql(count, config.name))
    mortal.server.psql("CHECKPOINT")
    mortal.freeze_wal_writer()
    await door.commit(config)
    await mortal.kill()
    mortal.restart()
    assert int(mortal.server.psql(count, config.name)) == before + 1
