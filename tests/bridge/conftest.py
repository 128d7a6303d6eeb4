"""A real bridge over SoftHSM and PostgreSQL for the tests of this folder; one per module: starting costs a second."""

import shutil
from collections.abc import Callable, Iterator

import pytest

from deploy.local.softhsm import SoftToken
from pipeline.formats.configuration import DatabaseSettings
from tests.bridge_process import BridgeHome, stop
from tests.servers import short_directory


@pytest.fixture(scope="module")
def make_home(
    make_softhsm: Callable[[], SoftToken], make_database: Callable[[], DatabaseSettings]
) -> Iterator[Callable[[], BridgeHome]]:
    """Homes with keys, not started."""
    made: list[BridgeHome] = []

    def make() -> BridgeHome:
        home = BridgeHome(short_directory(), make_softhsm(), make_database())
        home.write()
        home.ceremony()
        made.append(home)
        return home

    yield make
    for home in made:
        shutil.rmtree(home.home, ignore_errors=True)


@pytest.fixture(scope="module")
def bridge(make_home: Callable[[], BridgeHome]) -> Iterator[BridgeHome]:
    """A running bridge, shared by a module."""
    home = make_home()
    process = home.start()
    try:
        yield home
    finally:
        assert stop(process) == 0, (home.home / "bridge.log").read_text()
