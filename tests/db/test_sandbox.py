"""The one door to the demo clock, and the event of a mismatch: what the database lets through, and for whom."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from deploy.local.roles import OWNER, ROLES
from pipeline.formats.configuration import DatabaseSettings
from tests.db.events_world import EventsWorld
from tests.servers import PostgresServer

pytestmark = pytest.mark.anyio
ADVANCE = "SELECT qerds.advance_legal_clock($1)"
AHEAD = "SELECT coalesce((SELECT ahead FROM qerds.legal_clock), interval '0')"
MAY = "SELECT has_function_privilege('qerds.advance_legal_clock(double precision)', 'EXECUTE')"
AROUND = (
    "INSERT INTO qerds.legal_clock (ahead) VALUES (interval '1 day')",
    "UPDATE qerds.legal_clock SET ahead = ahead + interval '1 day'",
    "DELETE FROM qerds.legal_clock",
    "UPDATE qerds.installation SET embedded = true",
    "INSERT INTO qerds.installation (mode, embedded) VALUES ('non_qualified', true)",
)
DAY_SECONDS = 86_400.0


@asynccontextmanager
async def connected(database: DatabaseSettings, role: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
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


async def test_in_a_sandbox_the_gateway_moves_the_clock_by_the_one_door(database: DatabaseSettings) -> None:
    """Forward and bounded; two calls add up. Around the door, nothing: no role but the owner writes the row."""
    async with connected(database, "qerds_gateway") as gateway:
        for _ in range(2):
            assert await gateway.fetchval(ADVANCE, 8 * DAY_SECONDS) is not None
        for wrong in (0.0, -1.0, None):
            with pytest.raises(asyncpg.RaiseError, match="only moves forward"):
                await gateway.fetchval(ADVANCE, wrong)
        for far in (3635 * DAY_SECONDS, 3651 * DAY_SECONDS, float("inf"), float("nan")):
            assert await gateway.fetchval(ADVANCE, far) is None
        assert await gateway.fetchval(AHEAD) == timedelta(days=16)
    for role in set(ROLES) - {OWNER}:
        async with connected(database, role) as connection:
            for sql in AROUND:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(sql)
            assert await connection.fetchval(MAY) is (role in ("qerds_gateway", "qerds_operate")), role


async def test_elsewhere_nobody_moves_the_clock(postgres: PostgresServer, database: DatabaseSettings) -> None:
    """A gateway of a real installation that was taken over is refused, as is everybody else."""
    postgres.psql("UPDATE qerds.installation SET embedded = false", database.name)
    for role in ("qerds_gateway", "qerds_operate", OWNER):
        async with connected(database, role) as connection:
            with pytest.raises(asyncpg.RaiseError, match="embedded installation only"):
                await connection.fetchval(ADVANCE, 1.0)
            assert await connection.fetchval("SELECT count(*) FROM qerds.legal_clock") == 0
            assert await connection.fetchval("SELECT qerds.legal_now() <= clock_timestamp()") is True


def identify(world: EventsWorld, delivery: UUID, outcome: str, person: str = "x") -> None:
    """As the gateway records it."""
    world.psql(
        "INSERT INTO qerds.identification"
        " (id, delivery, provider, outcome, level, person_sha256, proof, authenticated_at)"
        f" VALUES ('{uuid4()}', '{delivery}', 'embedded', '{outcome}', 'substantial', sha256('{person}'), 'p', now())"
    )


async def test_a_mismatch_is_an_event_and_a_match_is_none(postgres: PostgresServer, database: DatabaseSettings) -> None:
    """One for each identification that is not the addressee, at its place among the others, with no evidence."""
    world = EventsWorld(postgres, database)
    sender, other = world.add_sender(), world.add_sender()
    letters = world.add_letters(sender, 2)
    world.move(letters, "deposited")
    world.move(letters, "notified")
    identify(world, letters[0], "no")
    identify(world, letters[0], "match")
    identify(world, letters[1], "near")
    identify(world, letters[1], "near")
    identify(world, letters[1], "no", "y")
    await world.sequence()
    events = (await world.events(sender))[4:]
    assert [(e.sequence, e.type, e.delivery, e.state) for e in events] == [
        (5, "delivery.identity_mismatch", letters[0], "notified"),
        *((n, "delivery.identity_mismatch", letters[1], "notified") for n in (6, 7, 8)),
    ]
    assert [(e.evidence, e.identifications, e.persons, e.persons_near) for e in events] == [
        *((None, 1, 1, 0), (None, 1, 1, 1), (None, 2, 1, 1), (None, 3, 2, 1))
    ]
    assert events[0].number
    assert await world.events(other) == []
