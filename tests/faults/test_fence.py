"""Nothing is lost and nothing doubled when the server or its workers die at any instant: kill -9, for real.

Deliveries go through three mailboxes and are counted in the fourth, which has no unique constraint to hide a double.
Every instant comes from a fixed seed; the log of workers and server is shown when a test fails.
"""

import random
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import anyio
import pytest

from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.link import Link
from pipeline.delivery.routes import CHECKED, SUBMITTED, Emission
from pipeline.errors import Transient
from pipeline.formats.configuration import DatabaseSettings
from tests.faults.hop_worker import SINK
from tests.faults.mortal_server import MortalServer
from tests.faults.nursery import Nursery
from tests.servers import short_directory
from tests.waiting import instant, until

pytestmark = pytest.mark.anyio
SEED = 4071
LEASE_SECONDS = 1.0
WORKERS_PER_STAGE = 2
FED = 20  # deliveries a transaction
FEED_SECONDS = 0.05  # between two of them: less than the workers' speed, so that a backlog comes from kills only
SERVER_KILLS = 30
WORKER_KILLS = 200
RACES = 600
RACED = 10  # messages a race
LATE_START_SECONDS = 0.002  # the late one starts within this; its two transactions take some milliseconds
LATE_PAUSE_SECONDS = 0.001
RESCUE_START_SECONDS = 0.009  # the rescue within this: before, in and after the late one's work
FORCED_LOSSES = 12
DRAIN_SECONDS_MAX = 50.0  # a row taken by a statement that outlived its rescue waits for a full sweep (30 s)


# Rows that a killed worker had taken, unless another has rescued them within the moment.
RUNNING_OF = "SELECT count(*) FROM outbox.message m JOIN outbox.process p USING (epoch) WHERE p.pid = {pid}"


@dataclass(slots=True)
class Sent:
    """What the feeder was told."""

    confirmed: list[UUID] = field(default_factory=list)
    unknown: list[list[UUID]] = field(default_factory=list)  # the answer to COMMIT got lost: all of a batch, or none


@dataclass(frozen=True, slots=True)
class World:
    mortal: MortalServer
    database: DatabaseSettings
    home: Path

    def ask(self, sql: str) -> list[str]:
        """Rows, unaligned."""
        return self.mortal.server.psql(sql, self.database.name).split()


@pytest.fixture(scope="module")
def mortal() -> Iterator[tuple[MortalServer, Path]]:
    home = short_directory()
    server = MortalServer(home)
    yield server, home
    server.stop()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def world(mortal: tuple[MortalServer, Path]) -> Iterator[World]:
    server, home = mortal
    database = server.server.clone()
    yield World(server, database, home)
    server.server.drop(database)


def link_as(database: DatabaseSettings, role: str) -> Link:
    return Link(database.dsn(role))


async def feed(world: World, sent: Sent) -> None:
    """Submit without end, as the gateway does."""
    database = Database(world.database.dsn("qerds_gateway"))
    try:
        while True:
            batch = [uuid4() for _ in range(FED)]
            try:
                async with database.transaction() as tx:
                    await tx.emit([Emission(SUBMITTED, delivery) for delivery in batch])
            except Transient:
                sent.unknown.append(batch)
            else:
                sent.confirmed += batch
            await instant(FEED_SECONDS)
    finally:
        with anyio.CancelScope(shield=True):
            await database.close()


@asynccontextmanager
async def load(world: World, lease_seconds: float) -> AsyncIterator[tuple[Nursery, Sent]]:
    """Feeder and workers. Afterwards no more is fed and the workers empty the mailboxes undisturbed."""
    nursery = Nursery(world.database, lease_seconds, WORKERS_PER_STAGE, world.home / "workers.log")
    sent = Sent()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(feed, world, sent)
            yield nursery, sent
            tasks.cancel_scope.cancel()
        start = anyio.current_time()
        await until(lambda: nothing_is_on_the_way(world), DRAIN_SECONDS_MAX)
        print(f"drained in {anyio.current_time() - start:.1f} s")
    finally:
        nursery.close()


def on_the_way(world: World) -> list[str]:
    places = f"SELECT stage, place, count(*) FROM outbox.message WHERE stage <> '{SINK}' GROUP BY 1, 2"
    return world.ask(places)


async def nothing_is_on_the_way(world: World) -> bool:
    return on_the_way(world) == []


async def deliveries_arrive(world: World) -> None:
    """All three hops work: something came out since now."""
    newest = f"SELECT last_value FROM outbox.{SINK}_id_seq"
    before = world.ask(newest)

    async def one_more() -> bool:
        return world.ask(newest) != before

    await until(one_more, 20)


def check(world: World, sent: Sent) -> None:
    """Each confirmed delivery arrived once; of an unknown batch all or none; nothing is anywhere else."""
    arrived = Counter(UUID(line) for line in world.ask(f"SELECT subject FROM outbox.{SINK}"))
    doubled = {delivery: times for delivery, times in arrived.items() if times > 1}
    lost = [delivery for delivery in sent.confirmed if delivery not in arrived]
    torn = [batch for batch in sent.unknown if len({delivery in arrived for delivery in batch}) > 1]
    strangers = set(arrived) - set(sent.confirmed) - {delivery for batch in sent.unknown for delivery in batch}
    assert (lost, doubled, torn, strangers) == ([], {}, [], set()), f"seed {SEED}"
    assert on_the_way(world) == [], f"seed {SEED}: left behind"
    print(f"confirmed {len(sent.confirmed)}, unknown {sum(map(len, sent.unknown))}, arrived {len(arrived)}")


@pytest.mark.timeout(150)
async def test_thirty_crashes_of_the_server_lose_and_double_nothing(world: World) -> None:
    """kill -9 of the postmaster and all backends under load, thirty times; the workers survive each of them."""
    chance, interrupted = random.Random(SEED), 0
    async with load(world, LEASE_SECONDS) as (_, sent):
        for _ in range(SERVER_KILLS):
            await deliveries_arrive(world)
            await instant(chance.uniform(0, 0.5))
            await world.mortal.kill()
            world.mortal.restart()
            interrupted += int(world.ask("SELECT count(*) FROM outbox.message WHERE place = 'running'")[0])
    check(world, sent)
    print(f"rows interrupted {interrupted}")
    assert interrupted > SERVER_KILLS, "the crashes fell on idle workers and prove nothing"


@pytest.mark.timeout(120)
async def test_two_hundred_killed_workers_lose_and_double_nothing(world: World) -> None:
    """kill -9 of any worker at any instant; half are seen dead at once, half only when their lease is out."""
    chance, interrupted = random.Random(SEED), 0
    async with load(world, LEASE_SECONDS) as (nursery, sent):
        await deliveries_arrive(world)
        for _ in range(WORKER_KILLS):
            await instant(chance.uniform(0, 0.15))
            dead = nursery.replace(chance.randrange(nursery.slots), reaped=chance.random() < 0.5)
            interrupted += int(world.ask(RUNNING_OF.format(pid=dead))[0])
    check(world, sent)
    print(f"rows interrupted {interrupted}")
    assert interrupted > WORKER_KILLS, "the kills fell on idle workers and prove nothing"


async def new_epoch(link: Link, stage: str = "ingest") -> int:
    """One more life on this connection."""
    rows = await link.call("begin_epoch", stage, "here", 1, "test", [])
    return int(rows[0]["epoch"])


async def taken(link: Link, epoch: int, limit: int) -> dict[int, UUID]:
    rows = await link.call("take@ingest", [0, 1], [0, 0], [limit, limit], limit, epoch)
    return {row["id"]: row["subject"] for row in rows}


@pytest.mark.timeout(90)
async def test_whoever_is_raced_by_a_rescue_loses_or_wins_whole(world: World) -> None:
    """600 late removes against the rescue of the same rows: each row is removed or rescued, never both or neither."""
    chance = random.Random(SEED)
    late, rescuer, gateway = (link_as(world.database, f"qerds_{kind}") for kind in ("ingest", "ingest", "gateway"))
    for link in (late, rescuer, gateway):
        await link.open()
    sent: set[UUID] = set()
    removed: list[UUID] = []
    splits: Counter[str] = Counter()
    for race in range(RACES):
        where = f"seed {SEED}, race {race}"
        fresh = [uuid4() for _ in range(RACED)]
        columns = [[0] * RACED, [SUBMITTED] * RACED, fresh, [None] * RACED, [0] * RACED, [None] * RACED]
        await gateway.call("emit@ingest", *columns)
        sent |= set(fresh)
        epoch = await new_epoch(late)
        batch = await taken(late, epoch, RACED)
        assert len(batch) == RACED, where
        await rescuer.call("end_epoch", epoch)  # taken for dead, though it lives
        mine, rescued = await one_race(late, rescuer, epoch, batch, chance)
        removed += [batch[m] for m in mine]
        assert len(mine) + rescued == RACED, where
        splits["removed" if not rescued else "rescued" if not mine else "split"] += 1
    for link in (late, rescuer, gateway):
        await link.close()
    waiting = [UUID(line) for line in world.ask("SELECT subject FROM outbox.ingest")]
    arrived = [UUID(line) for line in world.ask("SELECT subject FROM outbox.encrypt")]
    assert Counter(arrived) == Counter(removed)
    assert Counter([*arrived, *waiting]) == Counter(list(sent)), f"seed {SEED}"
    assert world.ask("SELECT count(*) FROM outbox.ingest_running") == ["0"]
    assert min(splits.values()) >= RACES / 20 and len(splits) == 3, f"the races were none: {splits}"
    print(dict(splits))


async def one_race(
    late: Link, rescuer: Link, epoch: int, batch: dict[int, UUID], chance: random.Random
) -> tuple[set[int], int]:
    """What the late one removed, in two halves, and how many rows were rescued; their starts are at random instants."""
    mine: set[int] = set()
    rescued = 0
    late_start, late_pause, rescue_start = (
        chance.uniform(0, most) for most in (LATE_START_SECONDS, LATE_PAUSE_SECONDS, RESCUE_START_SECONDS)
    )

    async def remove_late() -> None:
        ids = sorted(batch)
        await instant(late_start)
        for half in (ids[: RACED // 2], ids[RACED // 2 :]):
            async with late.transaction():
                got = {row["id"] for row in await late.fetch("remove@ingest", epoch, half)}
                columns = [[0] * len(got), [CHECKED] * len(got), [batch[m] for m in sorted(got)]]
                await late.fetch("emit@encrypt", *columns, [None] * len(got), [0] * len(got), [None] * len(got))
                await instant(late_pause)
            mine.update(got)

    async def rescue() -> None:
        nonlocal rescued
        await instant(rescue_start)
        rows = await rescuer.call("rescue@ingest", "ingest", LEASE_SECONDS)
        rescued = rows[0]["rows"]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(remove_late)
        tasks.start_soon(rescue)
    return mine, rescued


@pytest.mark.timeout(90)
async def test_a_take_lost_in_a_crash_is_undone_whole_and_its_epoch_opens_nothing(world: World) -> None:
    """An asynchronous commit that never reached the disk: the row waits again, once; a late remove gets nothing."""
    gateway = link_as(world.database, "qerds_gateway")
    await gateway.open()
    delivery = uuid4()
    await gateway.call("emit@ingest", [0], [SUBMITTED], [delivery], [None], [0], [None])
    await gateway.close()
    epochs = []
    for loss in range(FORCED_LOSSES):
        worker = link_as(world.database, "qerds_ingest")
        await worker.open()
        epoch = await new_epoch(worker)
        world.ask("CHECKPOINT")
        world.mortal.freeze_wal_writer()
        batch = await taken(worker, epoch, 10)
        await world.mortal.kill()
        world.mortal.restart()
        assert list(batch.values()) == [delivery], f"loss {loss}"
        assert world.ask("SELECT count(*) FROM outbox.ingest_running") == ["0"], f"loss {loss}: the take survived"
        await worker.open()
        assert await worker.call("remove@ingest", epoch, list(batch)) == []
        successor = await new_epoch(worker)
        again = await taken(worker, successor, 10)
        assert again == batch, f"loss {loss}: not back where it was"
        assert await worker.call("remove@ingest", epoch, list(batch)) == [], f"loss {loss}: the stale epoch got through"
        await worker.call("end_epoch", successor)
        await worker.call("end_epoch", epoch)
        [rescued] = await worker.call("rescue@ingest", "ingest", LEASE_SECONDS)
        assert (rescued["epochs"], rescued["rows"]) == (2, 1)
        await worker.close()
        epochs += [epoch, successor]
    assert len(set(epochs)) == 2 * FORCED_LOSSES, "an epoch was issued twice"
    assert world.ask("SELECT subject FROM outbox.ingest") == [str(delivery)]


@pytest.mark.timeout(60)
async def test_an_epoch_is_never_issued_twice_not_even_after_a_crash(world: World) -> None:
    """A number that was told is on disk: the fence stands on that, for a lost one would be issued again."""
    told = []
    for _ in range(FORCED_LOSSES):
        worker = link_as(world.database, "qerds_ingest")
        await worker.open()
        world.ask("CHECKPOINT")
        world.mortal.freeze_wal_writer()
        told.append(await new_epoch(worker))
        await world.mortal.kill()
        world.mortal.restart()
        worker.terminate()
    assert world.ask("SELECT epoch FROM outbox.process ORDER BY epoch") == [str(epoch) for epoch in sorted(set(told))]
    assert len(set(told)) == FORCED_LOSSES
