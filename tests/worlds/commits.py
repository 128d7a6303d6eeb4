"""Every way in which a process of ours commits, each with the role that does and the table where it is seen.

Owns     one small commit a door, over the real adapters
Rules    a table has a row more after each; what needs a row before says so (`before`, as the superuser)
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import anyio

from hsm_bridge.publication import Publication
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.sequencer import PostgresEventLog
from pipeline.delivery.routes import RECEIVER, STAGES, SUBMITTED, Emission
from pipeline.formats.configuration import DatabaseSettings
from pipeline.ports.mailbox import Message
from tests.worlds.one_hop import mailbox

EVENT = f"INSERT INTO qerds.event_unsequenced (type, sender) VALUES ('batch.completed', '{uuid4()}')"
BEGAN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ELECTED_SECONDS_MAX = 10


@dataclass(frozen=True, slots=True)
class Door:
    """One way to commit."""

    name: str
    role: str
    table: str
    commit: Callable[[DatabaseSettings], Awaitable[None]]
    before: str = ""


async def gateway_transaction(config: DatabaseSettings) -> None:
    database = Database(config.dsn("qerds_gateway"))
    async with database.transaction() as tx:
        await tx.emit([Emission(SUBMITTED, uuid4())])
    await database.close()


async def gateway_statement(config: DatabaseSettings) -> None:
    database = Database(config.dsn("qerds_gateway"))
    await database.fetch("emit@ingest", [0], [SUBMITTED], [uuid4()], [None], [0], [None])
    await database.close()


async def gateway_copy(config: DatabaseSettings) -> None:
    database = Database(config.dsn("qerds_gateway"))
    await database.copy(("qerds", "batch_line"), ("intake", "line", "body"), [(uuid4(), 1, b"{}")])
    await database.close()


async def operator_statement(config: DatabaseSettings) -> None:
    database = Database(config.dsn("qerds_operate"))
    await database.fetch("operate_pause", "batch", str(uuid4()), "a test")
    await database.close()


async def event_placed(config: DatabaseSettings) -> None:
    log = PostgresEventLog(config.dsn("qerds_events"))
    with anyio.fail_after(ELECTED_SECONDS_MAX):
        while await log.elect() is None:
            await anyio.lowlevel.checkpoint()
    assert await log.sequence(10) == 1
    await log.stop()


async def bridge_publishes(config: DatabaseSettings) -> None:
    publication = Publication(config.dsn("qerds_bridge"))
    await publication.publish([], [(uuid4().hex, 1, b"{}")], b"statement")
    await publication.close()


def stage_turn(stage: str) -> Callable[[DatabaseSettings], Awaitable[None]]:
    """A life of the stage, and the transaction of a batch that comes back later."""

    async def commit(config: DatabaseSettings) -> None:
        box = mailbox(config, stage)
        await box.start()
        message = Message(1, 0, next(k for k, s in RECEIVER.items() if s == stage), uuid4(), None, 0, 0, 0, BEGAN)
        async with box.transaction([message]) as tx:
            await tx.postpone([(message, 600.0)])
        await box.sweep()
        await box.stop()

    return commit


DOORS = (
    Door("a transaction of the gateway", "qerds_gateway", "outbox.ingest", gateway_transaction),
    Door("a statement of the gateway", "qerds_gateway", "outbox.ingest", gateway_statement),
    Door("a COPY of the gateway", "qerds_gateway", "qerds.batch_line", gateway_copy),
    Door("a statement of an operator", "qerds_operate", "outbox.pause", operator_statement),
    Door("a place of an event", "qerds_events", "qerds.event", event_placed, EVENT),
    Door("a key of the bridge", "qerds_bridge", "qerds.published_document", bridge_publishes),
    *(Door(f"a turn of {stage}", f"qerds_{stage}", "outbox.timer", stage_turn(stage)) for stage in STAGES),
)
EACH_KIND = tuple(door for door in DOORS if door.table != "outbox.timer" or door.role == "qerds_seal")
