"""Rings after commits: merged while they come fast, heard all the same, and their loss is nobody's error."""

from collections import Counter
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import anyio
import asyncpg
import pytest

from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.link import Link
from pipeline.adapters.postgres.ringer import Ringer
from pipeline.delivery.routes import CHECKED, DRAFT, PRESERVE, SUBMITTED, Emission
from pipeline.errors import LeaseLost, Transient
from pipeline.formats.configuration import DatabaseSettings
from tests.servers import PostgresServer
from tests.worlds.one_hop import mailbox

pytestmark = pytest.mark.anyio
COMMITS = 60
HEARD_SECONDS = 5.0


async def emit(database: Database, kind: str = SUBMITTED) -> None:
    async with database.transaction() as tx:
        await tx.emit([Emission(kind, uuid4(), uuid4())])


async def test_rings_of_many_commits_are_merged_and_heard(database: DatabaseSettings) -> None:
    """The last commit is heard too; a commit does not wait for its ring."""
    heard: Counter[str] = Counter()
    ear = Link(database.dsn("qerds_ingest"))
    await ear.open()
    heard_last = anyio.Event()

    def listen(_connection: Any, _pid: int, _channel: str, payload: str) -> None:
        heard[payload] += 1
        if payload == "seal":
            heard_last.set()

    await ear.listen("doorbell", listen)
    writers = Database(database.dsn("qerds_gateway"))
    async with writers.ringing():
        for _ in range(COMMITS):
            await emit(writers)
        await emit(writers, DRAFT)
        with anyio.fail_after(HEARD_SECONDS):
            await heard_last.wait()
    assert 1 < heard["ingest"] < COMMITS, heard
    await writers.close()
    await ear.close()


async def test_without_a_ringer_each_commit_rings_by_itself(database: DatabaseSettings) -> None:
    """What a verb of an operator does: no task is left behind."""
    heard: list[str] = []
    ear = Link(database.dsn("qerds_ingest"))
    await ear.open()
    done = anyio.Event()

    def listen(_connection: Any, _pid: int, _channel: str, payload: str) -> None:
        heard.append(payload)
        done.set()

    await ear.listen("doorbell", listen)
    writer = Database(database.dsn("qerds_gateway"))
    await emit(writer)
    with anyio.fail_after(HEARD_SECONDS):
        await done.wait()
    assert heard == ["ingest"]
    await writer.close()
    await ear.close()


# Every COMMIT that added a row here is refused, after everything else has gone well.
REFUSED_AT_COMMIT = """
CREATE FUNCTION outbox.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON outbox.{} DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION outbox.refuse();
"""


@pytest.mark.parametrize("sender", ["gateway", "gateway, merged", "stage"])
async def test_what_is_not_committed_rings_for_nobody(
    postgres: PostgresServer, database: DatabaseSettings, sender: str
) -> None:
    """Whoever is rung finds what it was rung for: the ring comes after the COMMIT, and only when that was done."""
    heard: list[str] = []
    ear, done = Link(database.dsn("qerds_ingest")), anyio.Event()
    await ear.open()

    def listen(_connection: Any, _pid: int, _channel: str, payload: str) -> None:
        heard.append(payload)
        if payload == "seal":
            done.set()

    await ear.listen("doorbell", listen)
    gateway, box = Database(database.dsn("qerds_gateway")), mailbox(database, "ingest")
    if sender == "stage":
        await box.start()
    refused = "encrypt" if sender == "stage" else "archive"
    postgres.psql(REFUSED_AT_COMMIT.format(refused), database.name)
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(anyio.create_task_group())
        if sender == "stage":
            tasks.start_soon(box.heartbeat)  # rings, too
        if sender == "gateway, merged":
            await stack.enter_async_context(gateway.ringing())
        with pytest.raises(asyncpg.RaiseError):
            async with box.transaction(()) if sender == "stage" else gateway.transaction() as tx:
                await tx.emit([Emission(CHECKED if sender == "stage" else PRESERVE, uuid4())])
        async with box.transaction(()) if sender == "stage" else gateway.transaction() as tx:
            await tx.emit([Emission(DRAFT, uuid4(), uuid4())])
        with anyio.fail_after(HEARD_SECONDS):
            await done.wait()
        tasks.cancel_scope.cancel()
    assert refused not in heard, heard
    if sender == "stage":
        await box.stop()
    await gateway.close()
    await ear.close()


@pytest.mark.parametrize("error", [Transient("away"), asyncpg.ProgramLimitExceededError("queue full")])
async def test_a_ring_that_is_lost_stops_nothing(error: Exception) -> None:
    """The next one is made."""
    told: list[list[str]] = []
    second = anyio.Event()

    async def ring(stages: list[str]) -> None:
        told.append(stages)
        if len(told) == 1:
            ringer.ask({"seal"})
            raise error
        second.set()

    ringer = Ringer(ring)
    ringer.ask(())
    ringer.ask({"encrypt", "ingest"})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ringer.run)
        with anyio.fail_after(HEARD_SECONDS):
            await second.wait()
        tasks.cancel_scope.cancel()
    assert told == [["encrypt", "ingest"], ["seal"]]


async def test_a_life_that_is_over_ends_the_ringer() -> None:
    """A stage's ringer shares the connection that beats: the end of its lease is the loop's to know."""

    async def ring(_stages: list[str]) -> None:
        raise LeaseLost("over")

    ringer = Ringer(ring)
    ringer.ask({"seal"})
    with pytest.raises(LeaseLost):
        await ringer.run()
