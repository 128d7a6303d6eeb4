"""One hop over real PostgreSQL: letters sent, a stage that hands them on, what waits where."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import anyio

from pipeline.actors import loop
from pipeline.actors.contract import Done, Outcome, Stage, Work
from pipeline.adapters.ids import SystemRandomness
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.link import Link
from pipeline.adapters.postgres.mailbox import PostgresMailbox
from pipeline.delivery.routes import CHECKED, SUBMITTED, Emission
from pipeline.errors import LeaseLost
from pipeline.formats.configuration import DatabaseSettings
from pipeline.ports.mailbox import Message, Tx
from pipeline.process.recorder import Recorder
from tests.servers import PostgresServer

LEASE_SECONDS = 1.0


def mailbox(config: DatabaseSettings, stage: str, lines: list[str] | None = None) -> PostgresMailbox:
    role = config.dsn(f"qerds_{stage}")
    recorder = Recorder(stage, (lines if lines is not None else []).append)
    return PostgresMailbox(role, Link(role, LeaseLost), stage, "test", SystemRandomness(), recorder, LEASE_SECONDS)


async def send(config: DatabaseSettings, count: int, lane: int = 0) -> list[UUID]:
    deliveries = [uuid4() for _ in range(count)]
    database = Database(config.dsn("qerds_gateway"))
    async with database.transaction() as tx:
        await tx.emit([Emission(SUBMITTED, d, lane=lane) for d in deliveries])
    await database.close()
    return deliveries


async def hand_on(tx: Tx, done: Sequence[Done[None]]) -> list[Emission]:
    return [Emission(CHECKED, d.message.subject) for d in done]


def stage_of(perform: Callable[[Message], Outcome[None]]) -> Stage[object, None, Tx]:
    async def perform_all(batch: Sequence[Message], _ports: object) -> list[Outcome[None]]:
        return [perform(m) for m in batch]

    return Stage("ingest", Work(frozenset({SUBMITTED}), perform_all, hand_on))


@asynccontextmanager
async def running(
    stage: Stage[object, None, Tx], box: PostgresMailbox, lines: list[str] | None = None
) -> AsyncIterator[Recorder]:
    recorder = Recorder(stage.name, (lines if lines is not None else []).append)
    draining = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(loop.run, stage, box, None, draining, SystemRandomness(), recorder)
        yield recorder
        draining.set()


async def waiting(postgres: PostgresServer, config: DatabaseSettings, table: str, count: int) -> None:
    question = f"SELECT count(*) FROM outbox.{table}"
    with anyio.fail_after(10):  # asked in a thread: psql would stop the loop that the stage runs on
        while int((await anyio.to_thread.run_sync(postgres.psql, question, config.name)).strip()) != count:
            await anyio.lowlevel.checkpoint()
