"""The promises of DrawFacts and BatchTx, over PostgreSQL and over memory: the simulation stands on the same ground."""

from uuid import UUID, uuid4

import pytest

from pipeline.formats.configuration import DatabaseSettings
from pipeline.stores.batches import (
    BEGINNING,
    CANCELLED,
    PROCESSING,
    SUBMITTED,
    DrawRecord,
    KnownDelivery,
    LineCursor,
    LineResult,
)
from tests.contract.draws_worlds import REF, SENDER, UPLOAD, MemoryWorld, PostgresWorld, World, body, order
from tests.servers import PostgresServer

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "postgres"])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "memory":
        return MemoryWorld()
    server: PostgresServer = request.getfixturevalue("postgres")
    config: DatabaseSettings = request.getfixturevalue("database")
    return PostgresWorld(server, config)


def rejected(part: int, line: int) -> LineResult:
    return LineResult(part, line, None, None, False, {"code": "field_invalid", "detail": "d", "errors": []})


async def test_lines_come_in_order_part_by_part(world: World) -> None:
    """No draw reaches over the end of a part, none has more lines than asked for, none repeats what was recorded."""
    batch = await world.submit([body(1), body(2), body(3)], [body(4)])
    seen: list[tuple[int, int, bytes]] = []
    cursor = BEGINNING
    for expected in (2, 1, 1, 0):
        async with world.draws() as draws:
            drawn = (await draws.draws([batch, uuid4()], 2))[batch]
        assert (drawn.cursor, len(drawn.stored), drawn.drawn) == (cursor, expected, len(seen))
        assert (drawn.batch, drawn.sender, drawn.lines, drawn.defaults) == (batch, SENDER, 4, {})
        seen += [(line.part, line.line, line.body) for line in drawn.stored]
        if drawn.stored:
            results = tuple(rejected(line.part, line.line) for line in drawn.stored)
            cursor = LineCursor(results[-1].part, results[-1].line)
            async with world.tx() as tx:
                await tx.lock_batches([batch])
                await tx.record_draws([DrawRecord(batch, drawn.cursor, results)])
    assert seen == [(1, 1, body(1)), (1, 2, body(2)), (1, 3, body(3)), (2, 1, body(4))]


async def test_a_draw_moves_state_and_cursor(world: World) -> None:
    """What the next one finds under the lock."""
    batch = await world.submit([body(1), body(2)])
    async with world.tx() as tx:
        assert await tx.lock_batches([batch, uuid4()]) == {batch: (SUBMITTED, BEGINNING)}
        await tx.record_draws([DrawRecord(batch, BEGINNING, (rejected(1, 1),))])
    async with world.tx() as tx:
        assert await tx.lock_batches([batch]) == {batch: (PROCESSING, LineCursor(1, 1))}


async def test_what_is_rolled_back_leaves_nothing(world: World) -> None:
    """Deliveries, results and cursor come together or not at all."""
    batch = await world.submit([body(1)])
    with pytest.raises(KeyError):
        async with world.tx() as tx:
            await tx.lock_batches([batch])
            assert await tx.add_orders([(batch, order(uuid4(), "r-1", 1))])
            await tx.record_draws([DrawRecord(batch, BEGINNING, (rejected(1, 1),))])
            raise KeyError
    async with world.draws() as draws:
        assert (await draws.draws([batch], 9))[batch].cursor == BEGINNING
        assert (await draws.references(SENDER, [], [], ["r-1"])).deliveries == {}


async def test_a_client_ref_is_one_letter_s(world: World) -> None:
    """Free ones are inserted, taken ones are not, and it is said whose they are; a rejected letter has none."""
    batch = await world.submit([body(1)])
    first, second, third, anonymous = (uuid4() for _ in range(4))
    async with world.tx() as tx:
        both = [(batch, order(first, "r-1", 1)), (batch, order(anonymous, None, 2))]
        assert await tx.add_orders(both) == {first, anonymous}
    async with world.tx() as tx:
        some = [(batch, order(second, "r-1", 3, "other")), (batch, order(third, "r-2", 4))]
        assert await tx.add_orders(some) == {third}
        known = KnownDelivery(first, b"s".ljust(32, b"."))
        assert await tx.taken_refs([(SENDER, "r-1"), (SENDER, "r-9"), (uuid4(), "r-1")]) == {(SENDER, "r-1"): known}
    world.set_delivery(first, "rejected")
    async with world.tx() as tx:
        assert await tx.taken_refs([(SENDER, "r-1")]) == {}
        assert await tx.add_orders([(batch, order(second, "r-1", 5))]) == {second}


async def test_references_are_the_sender_s(world: World) -> None:
    """Uploads, consents and letters of this sender; what is not there, or another's, is not in the answer."""
    batch = await world.submit([body(1)])
    delivery = uuid4()
    async with world.tx() as tx:
        await tx.add_orders([(batch, order(delivery, "r-1", 1))])
    async with world.draws() as draws:
        found = await draws.references(SENDER, [UPLOAD, uuid4()], [REF, "none"], ["r-1", "r-2"])
        nobody = await draws.references(uuid4(), [UPLOAD], [REF], ["r-1"])
    assert (set(found.uploads), set(found.consents), set(found.deliveries)) == ({UPLOAD}, {REF}, {"r-1"})
    assert (found.consents[REF].withdrawn_at, found.uploads[UPLOAD].expired) == (None, False)
    assert found.deliveries["r-1"].delivery == delivery
    assert (dict(nobody.uploads), dict(nobody.consents), dict(nobody.deliveries)) == ({}, {}, {})


async def test_a_batch_is_settled_when_its_letters_are_decided(world: World) -> None:
    """Undecided while one letter is submitted; an error is a line that is none, or a letter that was rejected."""
    batch = await world.submit([body(1)])
    delivery = uuid4()
    async with world.tx() as tx:
        await tx.lock_batches([batch])
        await tx.add_orders([(batch, order(delivery, "r-1", 1))])
        await tx.record_draws([DrawRecord(batch, BEGINNING, (LineResult(1, 1, "r-1", delivery, False, None),))])
    assert await settled(world, batch) == (PROCESSING, True, False)
    world.set_delivery(delivery, "deposited")
    assert await settled(world, batch) == (PROCESSING, False, False)
    async with world.tx() as tx:
        await tx.close_batches({batch: "completed"})
    async with world.tx() as tx:
        await tx.close_batches({batch: "completed_with_errors"})
    assert (await settled(world, batch))[0] == "completed"


async def settled(world: World, batch: UUID) -> tuple[str, bool, bool]:
    async with world.draws() as draws:
        s = (await draws.settlements([batch, uuid4()]))[batch]
    return s.state, s.undecided, s.has_errors


async def test_a_cancelled_batch_is_not_closed(world: World) -> None:
    """Cancelled stays cancelled; its rejected lines are still told."""
    batch = await world.submit([body(1)])
    async with world.tx() as tx:
        await tx.lock_batches([batch])
        await tx.record_draws([DrawRecord(batch, BEGINNING, (rejected(1, 1),))])
    world.set_state(batch, CANCELLED)
    async with world.tx() as tx:
        await tx.close_batches({batch: "completed"})
    assert await settled(world, batch) == (CANCELLED, False, True)


async def test_the_backlog_is_counted_up_to_a_limit(world: World) -> None:
    """All lanes of the stages after `ingest`, and no other stage."""
    async with world.draws() as draws:
        assert await draws.backlog(100) == 0
        for stage, count in (("encrypt", 5), ("notify", 6), ("archive", 50), ("ingest", 50)):
            world.wait(stage, count)
        assert await draws.backlog(100) == 11
        assert await draws.backlog(7) == 7
