"""What somebody found who tried to break the runtime: each test is one way in which a message was lost, doubled,
buried in silence or made unprovable. Real PostgreSQL."""

import socket
from collections.abc import Sequence

import anyio
import pytest

from pipeline.actors import loop
from pipeline.actors.contract import RESCUES_MAX, Bury, Done, Outcome, Stage, Work
from pipeline.adapters.ids import SystemRandomness
from pipeline.adapters.postgres.database import Database
from pipeline.delivery.routes import SUBMITTED
from pipeline.errors import Invariant, Transient
from pipeline.formats.configuration import DatabaseSettings
from pipeline.ports.mailbox import Message
from pipeline.process.measures import STAGE_MESSAGES
from pipeline.process.recorder import Recorder
from tests.servers import PostgresServer
from tests.worlds.one_hop import hand_on, mailbox, running, send, stage_of, waiting

pytestmark = pytest.mark.anyio
UNWRITABLE = "caf\udce9 \x00"  # a byte that is no UTF-8, and one that no text in PostgreSQL has


async def test_a_dead_letter_whose_reason_cannot_be_stored_is_buried_all_the_same(
    postgres: PostgresServer, database: DatabaseSettings
) -> None:
    """Whatever a reason holds, it does not end the process instead of the message."""
    _, fatal = await send(database, 2)
    postgres.psql(f"UPDATE outbox.ingest SET rescues = {RESCUES_MAX - 1}, lane = 1", database.name)

    def perform(message: Message) -> Outcome[None]:
        if message.subject == fatal:
            raise ValueError(UNWRITABLE)
        return Bury(message, UNWRITABLE)

    async with running(stage_of(perform), mailbox(database, "ingest")):
        await waiting(postgres, database, "dead", 2)
    told, named = postgres.psql("SELECT why FROM outbox.dead ORDER BY length(why)", database.name).split("\n")[:2]
    assert told == "caf\\udce9 \\x00"
    assert named.startswith("ValueError at test_adversary.py:")


async def test_nothing_is_buried_in_silence(postgres: PostgresServer, database: DatabaseSettings) -> None:
    """By an outcome, by its last attempt, by what it does to its process: a line and a counter say which message."""
    deliveries = await send(database, 3)
    postgres.psql(
        f"UPDATE outbox.ingest SET attempts = 499 WHERE subject = '{deliveries[1]}';"
        f"UPDATE outbox.ingest SET rescues = {RESCUES_MAX - 1} WHERE subject = '{deliveries[2]}';"
        "UPDATE outbox.ingest SET lane = 1",
        database.name,
    )

    def perform(message: Message) -> Outcome[None]:
        if message.subject == deliveries[1]:
            raise Transient("away")
        if message.subject == deliveries[2]:
            raise ValueError("unexpected")
        return Bury(message, "never")

    lines: list[str] = []
    async with running(stage_of(perform), mailbox(database, "ingest"), lines) as recorder:
        await waiting(postgres, database, "dead", 3)
        with anyio.fail_after(5):
            while recorder.counts.get(STAGE_MESSAGES.of("bury")) != 3:
                await anyio.lowlevel.checkpoint()
    told = [line for line in lines if '"buried"' in line]
    assert [sum(str(d) in line for line in told) for d in deliveries] == [1, 1, 1]


async def test_a_dead_letter_does_not_quote_what_a_library_was_given(
    postgres: PostgresServer, database: DatabaseSettings
) -> None:
    """The driver's errors repeat the arguments of a statement, names and mails too; operators read dead letters."""
    await send(database, 1)
    postgres.psql(f"UPDATE outbox.ingest SET rescues = {RESCUES_MAX - 1}, lane = 1", database.name)
    box = mailbox(database, "ingest")

    async def refused(_batch: Sequence[Message], _ports: object) -> list[Outcome[None]]:
        await box._link.call("read_dossiers", ["Jeanne Martin"])
        return []

    async with running(Stage("ingest", Work(frozenset({SUBMITTED}), refused, hand_on)), box):
        await waiting(postgres, database, "dead", 1)
    why = postgres.psql("SELECT why FROM outbox.dead", database.name)
    assert "DataError" in why
    assert "Martin" not in why


async def test_a_message_that_breaks_an_invariant_stops_its_process_five_times_and_nobody_else(
    postgres: PostgresServer, database: DatabaseSettings
) -> None:
    """A person has to look, at a dead letter; the other messages do not wait for that."""
    deliveries = await send(database, 12)

    def perform(message: Message) -> Outcome[None]:
        if message.subject == deliveries[5]:
            raise Invariant("something that must hold does not")
        return Done(message, None)

    deaths, draining = 0, anyio.Event()

    async def life() -> None:
        nonlocal deaths
        box = mailbox(database, "ingest")
        try:
            await loop.run(stage_of(perform), box, None, draining, SystemRandomness(), Recorder("x", str))
        except* Invariant:
            deaths += 1
            box._link.terminate()
            box._ahead.terminate()
            box._bell.terminate()
            postgres.psql("UPDATE outbox.process SET seen_at = '-infinity'", database.name)  # as its successor does

    async def lives() -> None:
        while not draining.is_set():
            await life()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lives)
        await waiting(postgres, database, "encrypt", 11)
        await waiting(postgres, database, "dead", 1)
        draining.set()
    assert deaths == RESCUES_MAX
    assert postgres.psql("SELECT subject FROM outbox.dead", database.name).strip() == str(deliveries[5])


@pytest.mark.parametrize("table", ["timer", "legal_timer"])
async def test_timers_due_at_one_instant_do_not_take_turns_by_the_second(
    postgres: PostgresServer, database: DatabaseSettings, table: str
) -> None:
    """All windows that close at one midnight end in one go: a hundred at a time, without a pause between."""
    postgres.psql(
        f"INSERT INTO outbox.{table} (stage, due_at, lane, kind, subject)"
        " SELECT 'expire', now() - interval '1 min', 2, 'expire', gen_random_uuid() FROM generate_series(1, 450)",
        database.name,
    )
    box = mailbox(database, "expire")
    await box.start()
    for _ in range(5):
        await box.sweep()
    assert postgres.psql("SELECT count(*) FROM outbox.expire", database.name).strip() == "450"
    await box.stop()


async def test_a_draft_names_a_key_that_may_seal_it(postgres: PostgresServer, database: DatabaseSettings) -> None:
    """A key published before it begins, or over by the time of the law, would make evidence that nobody can seal."""
    postgres.psql(
        "INSERT INTO qerds.published_key (key_id, use, spki, not_before, until) VALUES"
        " ('now', 'seal', '\\x00', now() - interval '1 day', now() + interval '30 days'),"
        " ('next', 'seal', '\\x01', now() + interval '20 days', now() + interval '400 days');"
        "INSERT INTO qerds.installation (mode, embedded) VALUES ('non_qualified', true) ON CONFLICT DO NOTHING",
        database.name,
    )
    asking = Database(database.dsn("qerds_expire"))
    assert [row["key_id"] for row in await asking.fetch("active_keys", "seal", 1)] == ["now"]
    postgres.psql("INSERT INTO qerds.legal_clock (ahead) VALUES (interval '31 days')", database.name)
    assert await asking.fetch("active_keys", "seal", 1) == []
    await asking.close()


async def test_a_neighbour_container_of_the_same_name_is_not_taken_for_dead(
    postgres: PostgresServer, database: DatabaseSettings
) -> None:
    """Two containers with one host name see none of each other's processes: they must not end each other's lives."""
    postgres.psql(
        "INSERT INTO outbox.process (kind, host, pid, build)"
        f" VALUES ('ingest', '{socket.gethostname()}', 4194305, 'x'),"  # above the kernel's largest pid: never here
        f" ('ingest', '{socket.gethostname()}/1', 4194305, 'x')",
        database.name,
    )
    box = mailbox(database, "ingest")
    await box.start()
    await box.sweep()
    assert postgres.psql("SELECT count(*) FROM outbox.process", database.name).strip() == "3"
    await box.stop()
