"""What holds for every session of a role, asked over real connections as the processes open them."""

import asyncpg
import pytest

from pipeline.formats.configuration import DatabaseSettings
from tests.servers import PostgresServer

pytestmark = pytest.mark.anyio
# Plans that do not depend on statistics of a minute ago; nothing hangs for ever; times are told in one zone.
OF_A_PROCESS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "jit": "off",
    "statement_timeout": "10s",
    "idle_in_transaction_session_timeout": "15s",
    "TimeZone": "UTC",
}
# They ask seldom: planned each time. An operator's export may take as long as it does.
OTHERS = {
    "qerds_ops": {"plan_cache_mode": "force_custom_plan", "statement_timeout": "10s", "jit": "off", "TimeZone": "UTC"},
    "qerds_operate": {"plan_cache_mode": "force_custom_plan", "TimeZone": "UTC"},
    "qerds_owner": {},
}


async def test_every_session_of_a_role_has_its_settings(postgres: PostgresServer, database: DatabaseSettings) -> None:
    """A role that is new has those of a process, unless it is named here."""
    roles = postgres.psql("SELECT rolname FROM pg_roles WHERE rolname LIKE 'qerds\\_%' ORDER BY 1").split()
    assert len(roles) > len(OTHERS)
    for role in roles:
        dsn = database.dsn(role)
        connection = await asyncpg.connect(**dsn.arguments(dsn.hosts[0]))
        settings = OTHERS.get(role, OF_A_PROCESS)
        assert {name: await connection.fetchval(f"SHOW {name}") for name in settings} == settings, role
        assert (
            await connection.fetchval(
                "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolbypassrls"
                " FROM pg_roles WHERE rolname = current_user"
            )
            is False
        ), role
        await connection.close()
