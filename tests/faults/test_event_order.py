"""Who reads events by the cursor misses nothing and sees nothing twice, whatever is killed and whoever commits late."""

import random
from uuid import UUID, uuid4

import anyio
import asyncpg
import pytest

from pipeline.adapters.ids import SystemRandomness
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.feed import PostgresEventStore
from pipeline.feed import sequencer as service
from pipeline.formats.configuration import DatabaseSettings
from pipeline.stores.feed import EventQuestion
from tests.db.events_world import NOTE, EventsWorld, recorder
from tests.servers import PostgresServer
from tests.waiting import instant, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


@pytest.fixture
def world(postgres: PostgresServer, database: DatabaseSettings) -> EventsWorld:
    return EventsWorld(postgres, database)


class Follower:
    """Reads by the cursor, all the time, and writes down what it saw."""

    def __init__(self, world: EventsWorld, sender: UUID) -> None:
        self._database = Database(world.config.dsn("qerds_gateway"))
        self._sender = sender
        self.seen: list[tuple[int, UUID | None]] = []
        self.after = 0

    async def follow(self) -> None:
        store = PostgresEventStore(self._database)
        while True:
            page = await store.events(EventQuestion(self._sender, self.after, (), None, 50))
            self.seen += [(e.sequence, e.subject) for e in page.events]
            self.after = page.read_through
            await anyio.lowlevel.checkpoint()

    async def close(self) -> None:
        await self._database.close()


async def test_a_reader_by_the_cursor_misses_nothing_whoever_is_killed(world: EventsWorld) -> None:
    """Four writers, one of them slow to commit; two sequencers, killed in the middle again and again; one reader."""
    sender, chance = world.add_sender(), random.Random(7)
    follower = Follower(world, sender)
    committed: list[UUID] = []
    stopping = anyio.Event()

    async def write(hold_seconds: float) -> None:
        connection = await world.owner()
        while not stopping.is_set():
            subjects = [uuid4() for _ in range(chance.randint(1, 40))]
            async with connection.transaction():
                await connection.executemany(NOTE, [(sender, s) for s in subjects])
                await instant(hold_seconds * chance.random())
            committed.extend(subjects)
        await connection.close()

    async def kill() -> None:
        killer = await asyncpg.connect(
            host=str(world.config.socket_dir),
            port=world.config.port,
            database=world.config.name,
            user="postgres",
            password=world.server.cluster.superuser_password,
        )
        for _ in range(25):
            await instant(0.12 * chance.random())
            await killer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'qerds_events' "
                "AND datname = current_database() AND (random() < 0.7 OR state = 'active')"
            )
        await killer.close()

    draining = anyio.Event()
    async with anyio.create_task_group() as everything:
        everything.start_soon(follower.follow)
        async with anyio.create_task_group() as sequencers:
            for _ in range(2):
                sequencers.start_soon(service.run, world.log(), draining, SystemRandomness(), recorder())
            async with anyio.create_task_group() as writers:
                for hold_seconds in (0.0, 0.0, 0.01, 0.3):
                    writers.start_soon(write, hold_seconds)
                await kill()
                stopping.set()

            async def all_seen() -> bool:
                return len(follower.seen) >= len(committed)

            await until(all_seen, 20)
            draining.set()
        everything.cancel_scope.cancel()
    assert len(committed) > 500
    assert [place for place, _ in follower.seen] == list(range(1, len(committed) + 1))
    assert {subject for _, subject in follower.seen} == set(committed)
    await follower.close()
