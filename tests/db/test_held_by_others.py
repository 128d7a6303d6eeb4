"""Whoever takes, rescues or fires leaves to others what they hold, and waits for none of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import anyio
import asyncpg
import pytest

from pipeline.adapters.postgres.mailbox import TIMERS_AT_ONCE
from pipeline.formats.configuration import DatabaseSettings
from tests.db.events_world import NOTE, EventsWorld
from tests.servers import PostgresServer
from tests.worlds.one_hop import mailbox, send

pytestmark = pytest.mark.anyio
IN_TIME_SECONDS = 5.0  # far below what a statement that waits for a lock is given
TIMERS = """
INSERT INTO outbox.{table} (stage, due_at, lane, kind, subject)
SELECT 'ingest', now() - interval '1 min', 0, 'submitted', gen_random_uuid() FROM generate_series(1, {count})
"""
WEBHOOKS = """
INSERT INTO qerds.webhook (id, sender, url, signature, read_through)
SELECT gen_random_uuid(), '{sender}', 'https://example.org/', 'v1a', 0 FROM generate_series(1, 3)
"""
RETRIES = """
INSERT INTO qerds.webhook
    (id, sender, url, signature, read_through, failures, under_way, paused_until, enabled, disabled_reason)
SELECT lpad(w.n::text, 32, '0')::uuid, '{sender}', 'https://example.org/', 'v1a', 0, 9, w.under_way, w.paused_until,
       w.reason IS NULL, w.reason
FROM (VALUES
    (1, false, NULL,                      NULL),
    (2, false, NULL,                      NULL),
    (3, true,  NULL,                      NULL),
    (4, false, now() + interval '1 hour', NULL),
    (5, false, now() - interval '1 hour', NULL),
    (6, false, NULL,                      'by_sender')) w(n, under_way, paused_until, reason);
INSERT INTO qerds.webhook_retry (webhook, sequence, tries, due_at)
SELECT w.id, 1, 1, now() + CASE WHEN w.id::text LIKE '%2' THEN interval '1 hour' ELSE interval '-1 s' END
FROM qerds.webhook w
"""


@asynccontextmanager
async def held(config: DatabaseSettings, table: str) -> AsyncIterator[None]:
    """Another process has the first row of a table in its transaction."""
    connection = await asyncpg.connect(
        host=str(config.socket_dir),
        port=config.port,
        database=config.name,
        user="qerds_owner",
        password=config.password("qerds_owner"),
    )
    async with connection.transaction():
        await connection.execute("SET LOCAL row_security = off")
        assert await connection.fetchval(f"SELECT true FROM {table} ORDER BY ctid LIMIT 1 FOR UPDATE")
        yield
    await connection.close()


def count(server: PostgresServer, config: DatabaseSettings, table: str) -> int:
    return int(server.psql(f"SELECT count(*) FROM {table}", config.name))


async def test_a_take_passes_by_what_others_are_taking(database: DatabaseSettings) -> None:
    """Two processes of a stage take side by side."""
    await send(database, 3)
    box = mailbox(database, "ingest")
    await box.start()
    async with held(database, "outbox.ingest"):
        with anyio.fail_after(IN_TIME_SECONDS):
            assert len(await box.take(10)) == 2
    assert len(await box.take(10)) == 1
    await box.stop()


async def test_a_rescue_passes_by_what_others_are_rescuing(
    postgres: PostgresServer, database: DatabaseSettings
) -> None:
    """Two sweeps see the same dead process; one of them frees its rows, and neither waits."""
    await send(database, 1)
    dead, alive = mailbox(database, "ingest"), mailbox(database, "ingest")
    await dead.start()
    assert await dead.take(1)
    postgres.psql("UPDATE outbox.process SET seen_at = '-infinity'", database.name)
    await alive.start()
    async with held(database, "outbox.process"):
        with anyio.fail_after(IN_TIME_SECONDS):
            await alive.sweep()
        assert count(postgres, database, "outbox.ingest_running") == 1
    await dead.stop()
    await alive.stop()


@pytest.mark.parametrize("table", ["timer", "legal_timer"])
async def test_timers_that_others_fire_are_left_to_them(
    postgres: PostgresServer, database: DatabaseSettings, table: str
) -> None:
    """Two sweeps at the same midnight."""
    box = mailbox(database, "ingest")
    await box.start()
    postgres.psql(TIMERS.format(table=table, count=3), database.name)
    async with held(database, f"outbox.{table}"):
        with anyio.fail_after(IN_TIME_SECONDS):
            await box.sweep()
        assert count(postgres, database, "outbox.ingest") == 2
    await box.stop()


@pytest.mark.parametrize("table", ["timer", "legal_timer"])
async def test_all_timers_of_one_instant_are_fired_without_a_pause(
    postgres: PostgresServer, database: DatabaseSettings, table: str
) -> None:
    """The deadlines of a whole batch are one midnight: as long as more are due, the next sweep is due at once."""
    box = mailbox(database, "ingest")
    await box.start()
    postgres.psql(TIMERS.format(table=table, count=2 * TIMERS_AT_ONCE + 1), database.name)
    for fired in (TIMERS_AT_ONCE, 2 * TIMERS_AT_ONCE, 2 * TIMERS_AT_ONCE + 1):
        await box.sweep()
        assert count(postgres, database, "outbox.ingest") == fired
    await box.stop()


async def test_webhooks_that_others_change_are_woken_later(
    postgres: PostgresServer, database: DatabaseSettings
) -> None:
    """A sender who is changing a webhook holds up the events of nobody else."""
    world = EventsWorld(postgres, database)
    sender, writer, log = world.add_sender(), await world.owner(), world.log()
    world.psql(WEBHOOKS.format(sender=sender))
    await writer.execute(NOTE, sender, uuid4())
    await writer.close()
    assert await log.elect()
    assert await log.sequence(10) == 1
    async with held(database, "qerds.webhook"):
        with anyio.fail_after(IN_TIME_SECONDS):
            assert await log.wake() == 2
    assert await log.wake() == 1
    assert await log.wake() == 0  # each has its one message, whatever more it will find to send
    await log.stop()


async def test_a_try_that_is_due_wakes_its_webhook(postgres: PostgresServer, database: DatabaseSettings) -> None:
    """Also when the circuit is open: it is the probe. Not before its time, nor while the webhook has its message, is
    asked to wait, or is off."""
    world = EventsWorld(postgres, database)
    world.psql(RETRIES.format(sender=world.add_sender()))
    log = world.log()
    assert await log.elect()
    assert await log.wake() == 2
    assert [line[-1] for line in world.psql("SELECT subject FROM outbox.webhook ORDER BY 1").split()] == ["1", "5"]
    await log.stop()
