"""The order of events: given after commit, without holes, doubles or misses (tests/faults: whatever is killed)."""

from itertools import pairwise
from uuid import uuid4

import anyio
import pytest

from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.feed import PostgresEventStore
from pipeline.errors import Transient
from pipeline.evidence.facts import EvidenceSeal, EvidenceToken
from pipeline.feed.types import PROOF_OF_STATE, TYPE_OF_STATE, TYPES
from pipeline.formats.configuration import DatabaseSettings
from pipeline.stores.feed import EventQuestion
from tests.contract.mailbox_worlds import PostgresWorld
from tests.db.events_world import NOTE, EventsWorld
from tests.servers import PostgresServer
from tests.waiting import until
from tests.worlds.bare_evidence import bare_draft

pytestmark = pytest.mark.anyio
SEQUENCE = "SELECT sequenced FROM qerds.sequence_events($1, $2)"


@pytest.fixture
def world(postgres: PostgresServer, database: DatabaseSettings) -> EventsWorld:
    return EventsWorld(postgres, database)


def test_the_database_knows_exactly_the_types_of_the_code(world: EventsWorld) -> None:
    """A state has one name and one proof, in both."""
    lines = world.psql("SELECT type, state, proof FROM qerds.event_type").splitlines()
    rows = [tuple(line.split("|")) for line in lines]
    assert {row[0] for row in rows} == TYPES
    assert {(t, s, p) for t, s, p in rows if s} == {(TYPE_OF_STATE[s], s, p) for s, p in PROOF_OF_STATE.items()}


async def test_each_change_of_a_state_is_one_event(world: EventsWorld) -> None:
    """A batch of letters is a batch of events; an update that changes no state is none; other senders see none."""
    sender, other = world.add_sender(), world.add_sender()
    letters = world.add_letters(sender, 3)
    world.move(letters, "deposited")
    world.move(letters, "deposited")
    world.move(letters[:1], "notified")
    assert await world.sequence() == 4
    events = await world.events(sender)
    assert [e.sequence for e in events] == [1, 2, 3, 4]
    assert [e.type for e in events] == ["delivery.deposited"] * 3 + ["delivery.notified"]
    assert (events[3].delivery, events[3].state, events[3].client_ref) == (letters[0], "notified", "ref-0")
    assert len({e.id for e in events}) == 4
    assert await world.events(other) == []
    assert world.psql("SELECT count(*) FROM qerds.event_unsequenced") == "0"


async def test_a_change_that_is_rolled_back_is_no_event(world: EventsWorld) -> None:
    """The row is the fact's own: it goes with it."""
    sender = world.add_sender()
    letters = world.add_letters(sender, 1)
    world.psql(f"BEGIN; UPDATE qerds.delivery SET state = 'deposited' WHERE id = '{letters[0]}'; ROLLBACK")
    assert await world.sequence() == 0


async def test_who_commits_late_gets_a_late_place(world: EventsWorld) -> None:
    """A transaction that drew its number first and commits last is not passed by a reader that was already further."""
    sender, slow = world.add_sender(), await world.owner()
    transaction = slow.transaction()
    await transaction.start()
    first = uuid4()
    await slow.execute(NOTE, sender, first)
    quick = await world.owner()
    others = [uuid4() for _ in range(5)]
    for subject in others:
        await quick.execute(NOTE, sender, subject)
    await world.sequence()
    seen = await world.events(sender)
    assert [e.subject for e in seen] == others
    await transaction.commit()
    await world.sequence()
    assert [(e.subject, e.sequence) for e in await world.events(sender, after=seen[-1].sequence)] == [(first, 6)]
    await slow.close()
    await quick.close()


async def test_who_commits_late_is_placed_by_the_same_sequencer(world: EventsWorld) -> None:
    """Once it has looked at all, it still looks back: what drew a lower number and commits now is placed next."""
    sender, log = world.add_sender(), world.log()
    assert await log.elect()
    assert await log.sequence(10) == 0
    slow, quick = await world.owner(), await world.owner()
    for late in (uuid4(), uuid4()):
        transaction = slow.transaction()
        await transaction.start()
        await slow.execute(NOTE, sender, late)
        early = uuid4()
        await quick.execute(NOTE, sender, early)
        assert await log.sequence(10) == 1
        await transaction.commit()
        assert await log.sequence(10) == 1
        assert [e.subject for e in await world.events(sender)][-2:] == [early, late]
    for connection in (slow, quick):
        await connection.close()
    await log.stop()


async def test_places_are_given_under_the_lock_of_the_head(world: EventsWorld) -> None:
    """Who comes while another has not committed waits for it, and goes on after its last place: no place twice."""
    sender, first, second = world.add_sender(), await world.owner(), await world.owner()
    subjects = [uuid4() for _ in range(7)]
    await first.executemany(NOTE, [(sender, s) for s in subjects])
    ids = [int(line) for line in world.psql("SELECT id FROM qerds.event_unsequenced ORDER BY id").split()]
    transaction = first.transaction()
    await transaction.start()
    assert await first.fetchval(SEQUENCE, 0, 4) == 4
    counts: list[int] = []

    async def place_the_rest() -> None:
        counts.append(await second.fetchval(SEQUENCE, ids[4], 10))

    async def waits() -> bool:
        return world.psql(f"SELECT wait_event_type FROM pg_stat_activity WHERE pid = {pid}") == "Lock"

    pid = await second.fetchval("SELECT pg_backend_pid()")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(place_the_rest)
        await until(waits, 5)
        await transaction.commit()
    assert counts == [3]
    assert [(e.sequence, e.subject) for e in await world.events(sender)] == list(enumerate(subjects, start=1))
    assert world.psql("SELECT sequence FROM qerds.event_head") == "7"
    for connection in (first, second):
        await connection.close()


async def test_one_is_elected_and_the_other_takes_over_when_its_session_dies(world: EventsWorld) -> None:
    """Two candidates, one lock; a killed session loses the election and can do nothing more."""
    one, two = world.log(), world.log()
    assert await one.elect()
    assert not await two.elect()
    world.psql(
        "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid) "
        "WHERE locktype = 'advisory' AND granted AND usename = 'qerds_events'"
    )
    with pytest.raises(Transient):
        await one.sequence(10)

    async def elected() -> bool:
        return await two.elect() is not None

    await until(elected, 5)
    assert not await one.elect()
    await one.stop()
    await two.stop()


async def test_two_that_both_believe_to_be_elected_leave_neither_hole_nor_double(world: EventsWorld) -> None:
    """The lock of the head is enough: the election saves work, it is not what the order stands on."""
    sender, writer = world.add_sender(), await world.owner()
    subjects = [uuid4() for _ in range(2000)]
    await writer.executemany(NOTE, [(sender, s) for s in subjects])
    logs = [world.log(), world.log()]
    for log in logs:
        await log.elect()  # the answer is ignored

    async def go(index: int) -> None:
        while await logs[index].sequence(37):
            pass

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(go, 0)
        tasks.start_soon(go, 1)
    events = await world.events(sender)
    assert [e.sequence for e in events] == list(range(1, 2001))
    assert sorted(e.subject.hex for e in events if e.subject) == sorted(s.hex for s in subjects)
    for log in logs:
        await log.stop()
    await writer.close()


async def test_a_new_state_rings_for_the_sequencer(postgres: PostgresServer, database: DatabaseSettings) -> None:
    """Whoever waits for events hears of one at once, and need not wait for a poll."""
    world = PostgresWorld(postgres, database)
    delivery = world.delivery()
    deposit = bare_draft(delivery, "A.1", 1)
    for stage, fact in (("encrypt", deposit), ("seal", EvidenceSeal(deposit.evidence, bytes(64), "seal-1"))):
        box = world.mailbox(stage)
        await box.start()
        async with box.transaction(()) as tx:
            await tx.add([fact])
        await box.stop()
    log, box = EventsWorld(postgres, database).log(), world.mailbox("timestamp")
    assert await log.elect()
    await box.start()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(box.heartbeat)  # rings, too
        async with box.transaction(()) as tx:
            await tx.lock([delivery])
            await tx.add([EvidenceToken(deposit.evidence, b"token", deposit.event_time)])
            assert [a.state for a in await tx.advance([delivery])] == ["deposited"]
        with anyio.fail_after(5):
            await log.doorbell(60)
        tasks.cancel_scope.cancel()
    assert await log.sequence(10) == 1
    await box.stop()
    await log.stop()


async def test_a_filter_that_nothing_meets_still_moves_the_cursor(world: EventsWorld) -> None:
    """The next page begins after what was looked at; of one delivery, only its own."""
    sender = world.add_sender()
    letters = world.add_letters(sender, 4)
    world.move(letters, "deposited")
    await world.sequence()
    database = Database(world.config.dsn("qerds_gateway"))
    store = PostgresEventStore(database)
    none = await store.events(EventQuestion(sender, 0, ("batch.completed",), None, 10))
    assert (none.events, none.read_through, none.has_more) == ((), 4, False)
    some = await store.events(EventQuestion(sender, 0, ("delivery.deposited",), None, 3))
    assert ([e.sequence for e in some.events], some.read_through, some.has_more) == ([1, 2, 3], 3, True)
    own = await store.events(EventQuestion(sender, 0, (), letters[2], 10))
    assert [e.delivery for e in own.events] == [letters[2]]
    stranger = world.add_sender()
    for delivery in (None, letters[2]):
        assert (await store.events(EventQuestion(stranger, 0, (), delivery, 10))).events == ()
    await database.close()


async def test_old_events_are_forgotten_from_the_low_end(world: EventsWorld) -> None:
    """400 days; what is younger stays, and places go on where they were."""
    sender = world.add_sender()
    letters = world.add_letters(sender, 6)
    world.move(letters, "deposited")
    await world.sequence()
    world.psql("UPDATE qerds.event SET sequenced_at = now() - interval '401 days' WHERE sequence <= 4")
    log = world.log()
    assert await log.elect()
    assert [await log.forget(3), await log.forget(3), await log.forget(3)] == [3, 1, 0]
    await log.stop()
    world.move(letters[:1], "notified")
    await world.sequence()
    assert [e.sequence for e in await world.events(sender)] == [5, 6, 7]


async def test_nobody_writes_events_by_hand(world: EventsWorld) -> None:
    """No process has INSERT, UPDATE or DELETE on events or on the rows that become events: nothing can be forged."""
    for table in ("event", "event_unsequenced", "event_head"):
        may = world.psql(
            "SELECT count(*) FROM pg_roles r WHERE r.rolname LIKE 'qerds\\_%' AND r.rolname <> 'qerds_owner' AND "
            f"(has_any_column_privilege(r.rolname, 'qerds.{table}', 'INSERT, UPDATE') "
            f"OR has_table_privilege(r.rolname, 'qerds.{table}', 'DELETE, TRUNCATE'))"
        )
        assert may == "0", table


async def test_a_thousand_events_are_placed_by_one_statement_in_their_order(world: EventsWorld) -> None:
    """The drain gives all their places, in the order of insertion among those that are visible."""
    sender, writer = world.add_sender(), await world.owner()
    subjects = [uuid4() for _ in range(2500)]
    await writer.executemany(NOTE, [(sender, s) for s in subjects])
    log = world.log()
    assert await log.elect()
    assert [await log.sequence(1000) for _ in range(4)] == [1000, 1000, 500, 0]
    events = await world.events(sender)
    assert [e.subject for e in events] == subjects
    assert all(b.sequence == a.sequence + 1 for a, b in pairwise(events))
    await log.stop()
    await writer.close()
