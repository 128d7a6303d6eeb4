"""A world with a portal in it, and a browser."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pipeline.formats.configuration import DatabaseSettings
from tests.portal_world import Browser, World, world


@pytest.fixture
async def portal(database: DatabaseSettings, state_dir: Path) -> AsyncIterator[World]:
    async with world(database, state_dir) as built:
        yield built


@pytest.fixture
async def browser(portal: World) -> AsyncIterator[Browser]:
    async with Browser(portal) as opened:
        yield opened
