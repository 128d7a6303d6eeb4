"""Every named query is prepared by the real server, as a role that may use it."""

import asyncpg
import pytest

from pipeline.adapters.postgres.queries import queries
from pipeline.formats.configuration import DatabaseSettings

pytestmark = pytest.mark.anyio


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
