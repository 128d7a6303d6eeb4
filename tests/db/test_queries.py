"""Every named query is prepared by the real server, as a role that may use it."""

import re

import asyncpg
import pytest

from pipeline.adapters.postgres.queries import queries
from pipeline.delivery.routes import STAGES
from pipeline.formats.configuration import DatabaseSettings
from tests.servers import PostgresServer

pytestmark = pytest.mark.anyio


def test_every_stage_has_its_mailbox_in_the_database(postgres: PostgresServer, database: DatabaseSettings) -> None:
    """No mailbox is missing in the tables or in the view over all of them, and none waits for a stage that is gone."""
    tables = postgres.psql("SELECT tablename FROM pg_tables WHERE schemaname = 'outbox'", database.name).split()
    assert {name.removesuffix("_running") for name in tables if name.endswith("_running")} == set(STAGES)
    assert set(STAGES) <= set(tables)
    view = postgres.psql("SELECT pg_get_viewdef('outbox.message'::regclass)", database.name)
    assert set(re.findall(r"'([a-z]+)'::text AS stage", view)) == set(STAGES)


async def test_every_query_prepares_against_the_migrated_schema(database: DatabaseSettings) -> None:
    """No query names a table, column or type that the migrations do not make."""
    connection = await asyncpg.connect(
        host=str(database.socket_dir),
        port=database.port,
        database=database.name,
        user="qerds_owner",
        password=database.password("qerds_owner"),
    )
    try:
        for name, query in queries().items():
            try:
                await connection.prepare(query)
            except asyncpg.PostgresError as error:
                pytest.fail(f"{name}: {error}")
    finally:
        await connection.close()
