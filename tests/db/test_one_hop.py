"""One message, two mailboxes, real PostgreSQL: taken by one actor, handed to the next, exactly once."""

from uuid import uuid4

import anyio
import pytest

from pipeline.actors.contract import Bury, Done, Outcome, Retry
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.link import Link
from pipeline.delivery.routes import SUBMITTED, Emission
from pipeline.errors import LeaseLost, Transient
from pipeline.formats.configuration import DatabaseSettings
from pipeline.ports.mailbox import Message
from tests.servers import PostgresServer
from tests.waiting import until
from tests.worlds.one_hop import mailbox, running, send, stage_of, waiting

pytestmark = pytest.mark.anyio


async def test_a_message_goes_from_one_mailbox_to_the_next_once(
    postgres: PostgresServer, database: DatabaseSettings
) -> None:
    """What was emitted is taken, performed and handed on; nothing is left running, nothing is doubled."""
    async with running(stage_of(lambda m: Done(m, None)), mailbox(database, "ingest")):
        await send(database, 250)
        await waiting(postgres, database, "encrypt", 250)
    assert postgres.psql("SELECT count(DISTINCT subject) FROM outbox.encrypt", database.name).strip() == "250"
    await waiting(postgres, database, "ingest", 0)
    await waiting(postgres, database, "ingest_running", 0)


async def test_the_doorbell_wakes_an_idle_stage(postgres: PostgresServer, database: DatabaseSettings) -> None:
    """A ring after a commit reaches another process's wait well before its poll."""
    box = mailbox(database, "ingest")
    await box.start()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send, database, 1)
        with anyio.fail_after(5):
            await box.doorbell(60)
    assert len(await box.take(10)) == 1
    await box.stop()


async def test_rows_of_a_dead_process_are_rescued_and_its_late_ack_changes_nothing(
    postgres: PostgresServer, database: DatabaseSettings
) -> None:
    """The fence: a process taken for dead that comes back removes nothing."""
    dead, alive = mailbox(database, "ingest"), mailbox(database, "ingest")
    await send(database, 3)
    await dead.start()
    batch = await dead.take(10)
    assert len(batch) == 3
    postgres.psql("UPDATE outbox.process SET seen_at = seen_at - interval '1 min'", database.name)
    await alive.start()
    await alive.sweep()
    again = await alive.take(10)
    assert sorted(m.subject for m in again) == sorted(m.subject for m in batch)
    assert {m.rescues for m in again} == {1}
    async with dead.transaction(batch) as tx:
        assert await tx.remove(batch) == frozenset()
    async with alive.transaction(again) as tx:
        assert await tx.remove(again) == {m.id for m in again}
    await dead.stop()
    await alive.stop()


@pytest.mark.parametrize("lane", [0, 2])
@pytest.mark.parametrize("beside_commit", [False, True])
async def test_who_commits_late_is_taken_all_the_same(
    database: DatabaseSettings, lane: int, *, beside_commit: bool
) -> None:
    """A transaction that drew its number first and commits last is not passed by who has taken higher numbers."""
    gateway, box = Database(database.dsn("qerds_gateway")), mailbox(database, "ingest")
    await box.start()
    late = uuid4()
    async with gateway.transaction() as tx:
        await tx.emit([Emission(SUBMITTED, late, lane=lane)])
        for _ in range(2):  # the first look is at everything
            [early] = await send(database, 1, lane)
            assert [m.subject for m in await box.take(10, beside_commit=beside_commit)] == [early]

    async def taken() -> bool:
        await box.sweep()
        return [m.subject for m in await box.take(10, beside_commit=beside_commit)] == [late]

    await until(taken, 10)  # at once, or by a sweep on a slow machine; not by the look of each half minute
    await box.stop()
    await gateway.close()


async def test_a_refused_heartbeat_ends_the_epoch(postgres: PostgresServer, database: DatabaseSettings) -> None:
    """Whoever was rescued learns it and starts anew."""
    box = mailbox(database, "ingest")
    await box.start()
    postgres.psql("DELETE FROM outbox.process", database.name)
    with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
        await box.heartbeat()
    assert caught.value.subgroup(LeaseLost)
    await box.stop()


async def test_a_life_that_ended_does_not_come_back(database: DatabaseSettings) -> None:
    """Its rows may be in other hands: a beat of it changes nothing, before a rescue and after."""
    link = Link(database.dsn("qerds_ingest"))
    await link.open()
    [begun] = await link.call("begin_epoch", "ingest", "here", 1, "test", [])
    assert await link.call("heartbeat", begun["epoch"])
    await link.call("end_epoch", begun["epoch"])
    assert not await link.call("heartbeat", begun["epoch"])
    assert [dict(row) for row in await link.call("rescue@ingest", "ingest", 15.0)] == [{"epochs": 1, "rows": 0}]
    assert not await link.call("heartbeat", begun["epoch"])
    await link.close()


async def test_a_poison_message_is_found_singly_and_its_batch_mates_go_on(
    postgres: PostgresServer, database: DatabaseSettings
) -> None:
    """An exception nobody expected costs its cause a dead letter and its neighbours nothing."""
    deliveries = await send(database, 20)
    poison = deliveries[7]

    def perform(message: Message) -> Outcome[None]:
        if message.subject == poison:
            raise ValueError("poison")
        return Done(message, None)

    async with running(stage_of(perform), mailbox(database, "ingest")):
        await waiting(postgres, database, "encrypt", 19)
        await waiting(postgres, database, "dead", 1)
    told = postgres.psql("SELECT subject, why FROM outbox.dead", database.name)
    assert told.startswith(f"{poison}|ValueError at test_one_hop.py:")


async def test_attempts_survive_a_handler_that_fails(postgres: PostgresServer, database: DatabaseSettings) -> None:
    """The count of attempts is its own transaction: a failing outside cannot roll it back."""
    [delivery] = await send(database, 1)
    seen: list[int] = []

    def perform(message: Message) -> Outcome[None]:
        seen.append(message.attempts)
        if len(seen) == 1:
            raise Transient("away")
        if len(seen) == 2:
            return Retry(message, "not yet", after_seconds=0.0)
        return Bury(message, "enough")

    async with running(stage_of(perform), mailbox(database, "ingest")):
        await waiting(postgres, database, "dead", 1)
    assert seen == [0, 1, 2]
    assert postgres.psql("SELECT subject, why FROM outbox.dead", database.name).strip() == f"{delivery}|enough"


async def test_an_unknown_kind_waits_for_a_newer_build(postgres: PostgresServer, database: DatabaseSettings) -> None:
    """A kind this build does not know is postponed, uncounted, and nothing is lost."""
    await send(database, 1)
    postgres.psql("UPDATE outbox.ingest SET kind = 'from_the_future'", database.name)
    async with running(stage_of(lambda m: Done(m, None)), mailbox(database, "ingest")):
        await waiting(postgres, database, "timer", 1)
    assert postgres.psql("SELECT attempts, kind FROM outbox.timer", database.name).strip() == "0|from_the_future"


async def test_interactive_messages_are_taken_before_bulk(postgres: PostgresServer, database: DatabaseSettings) -> None:
    """A person waiting is not delayed by a backlog, however old."""
    await send(database, 5, lane=2)
    await send(database, 5, lane=0)
    box = mailbox(database, "ingest")
    await box.start()
    assert [m.lane for m in await box.take(10)] == [0] * 5 + [2] * 5
    await box.stop()
