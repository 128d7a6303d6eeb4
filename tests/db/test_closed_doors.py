"""What PostgreSQL gives to everybody, and no role of ours has: other databases, temporary tables, large objects."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from msgspec.structs import replace

from deploy.local.roles import OWNER, ROLES, prepare_roles
from pipeline.formats.configuration import DatabaseSettings
from tests.servers import TEMPLATE, PostgresServer

pytestmark = pytest.mark.anyio
ENTERED = "SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1"
LARGE_OBJECTS = (
    "SELECT lo_create(0)",
    "SELECT lo_creat(-1)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT lo_import('/etc/hostname')",
    "SELECT lo_put(1, 0, 'x')",
    "SELECT lo_get(1)",
    "SELECT lo_open(1, 262144)",
    "SELECT lo_unlink(1)",
    "SELECT lo_export(1, 'x')",
)
CALLABLE = (
    "SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.proname ~ '^lo(_|read|write)'"
    " AND p.pronamespace = 'pg_catalog'::regnamespace AND has_function_privilege(p.oid, 'EXECUTE')"
)


@asynccontextmanager
async def as_role(database: DatabaseSettings, role: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connection = await asyncpg.connect(
        host=str(database.socket_dir),
        port=database.port,
        database=database.name,
        user=role,
        password=database.password(role),
    )
    try:
        yield connection
    finally:
        await connection.close()


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_enters_the_service_s_database_and_no_other(postgres: PostgresServer, role: str) -> None:
    """`postgres` and `template1` are open to everybody in a cluster that nobody closed."""
    others = [name for name in postgres.psql(ENTERED).split() if not name.startswith("qerds_")]
    assert {"postgres", "template1"} <= set(others)
    for name in others:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for database"):
            async with as_role(replace(postgres.template, name=name), role):
                pass
    async with as_role(postgres.template, role) as connection:
        assert await connection.fetchval("SELECT current_database()") == TEMPLATE


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_makes_nothing_that_nobody_looks_at(postgres: PostgresServer, role: str) -> None:
    """No large object, by whatever function, and no temporary table but the owner's."""
    async with as_role(postgres.template, role) as connection:
        assert await connection.fetch(CALLABLE) == []
        for sql in LARGE_OBJECTS:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(sql)
        if role != OWNER:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("CREATE TEMPORARY TABLE notes (text text)")


def test_the_set_up_may_be_repeated(postgres: PostgresServer) -> None:
    """As every start of an installation does."""
    settings: DatabaseSettings = postgres.template
    prepare_roles(postgres.cluster, settings)
    granted = "SELECT count(*) FROM pg_database WHERE has_database_privilege('qerds_ops', oid, 'CONNECT')"
    assert postgres.psql(f"{granted} AND datname IN ('postgres', 'template1')").strip() == "0"
