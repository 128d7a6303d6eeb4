"""What every mailbox promises: the same suite over PostgreSQL and over the memory that the simulation trusts."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import anyio
import pytest

from pipeline.delivery.facts import AcceptanceWindow, ContentWrap, DecisionIntent, Notice, NoticeResult, Snapshot
from pipeline.delivery.routes import CHECKED, DRAFT, EXPIRE, PREPARE, PRESERVE, SEALED, SUBMITTED, Emission
from pipeline.errors import ClockBehind, LeaseLost
from pipeline.evidence.facts import EvidenceDraft, EvidenceSeal, EvidenceToken
from pipeline.evidence.form.xml import opening
from pipeline.formats.evidence_head import evidence_id
from pipeline.ports.mailbox import Mailbox, MailboxTx, Message
from tests.contract.mailbox_worlds import REFUSED, MemoryWorld, PostgresWorld, World

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory on asyncio", "memory on trio", "PostgreSQL"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def anyio_backend(kind: str) -> str:
    return "trio" if kind.endswith("trio") else "asyncio"


@pytest.fixture
def world(kind: str, request: pytest.FixtureRequest) -> World:
    if kind == "PostgreSQL":
        return PostgresWorld(request.getfixturevalue("postgres"), request.getfixturevalue("database"))
    return MemoryWorld()


async def send(world: World, count: int, lane: int = 0) -> list[UUID]:
    deliveries = [uuid4() for _ in range(count)]
    async with world.gateway() as tx:
        await tx.emit([Emission(SUBMITTED, d, lane=lane) for d in deliveries])
    return deliveries


async def started(world: World, stage: str) -> Mailbox[MailboxTx]:
    box = world.mailbox(stage)
    await box.start()
    return box


async def removed(box: Mailbox[MailboxTx], batch: Sequence[Message]) -> frozenset[int]:
    async with box.transaction(batch) as tx:
        return await tx.remove(batch)


def draft(delivery: UUID, event: str, sequence: int, ordinal: int = 0) -> EvidenceDraft:
    evidence = evidence_id(delivery, event, ordinal)
    canonical = f"{opening(evidence)}{sequence}</erds:Evidence>".encode()
    moment = datetime(2026, 3, 2, 10, 0, sequence, tzinfo=UTC)
    digest = hashlib.sha256(canonical).digest()
    return EvidenceDraft(evidence, delivery, event, ordinal, sequence, moment, canonical, digest, "seal-1", None)


def decision(delivery: UUID, sequence: int, at: datetime) -> tuple[DecisionIntent, EvidenceDraft, EvidenceDraft]:
    """An acceptance at that time: its intent, C.3 and D.1."""
    acts = [draft(delivery, event, place) for place, event in enumerate(("C.3", "D.1"), start=sequence)]
    accepted, consigned = (replace(act, event_time=at, receipt=b"receipt") for act in acts)
    return DecisionIntent(uuid4(), delivery, "accept", at), accepted, consigned


async def test_nothing_is_drafted_before_what_happened_last(world: World) -> None:
    """A clock that was set back is waited for; the very same millisecond is none too early."""
    delivery = world.delivery()
    first = replace(draft(delivery, "A.1", 1), event_time=datetime(2026, 6, 1, tzinfo=UTC))
    await add(world, "encrypt", first)
    box = await started(world, "notify")
    for early in (timedelta(milliseconds=1), timedelta(hours=1), timedelta(days=400)):
        with pytest.raises(ClockBehind):
            async with box.transaction(()) as tx:
                await tx.lock([delivery])
                await tx.add([replace(draft(delivery, "C.1", 2, 1), event_time=first.event_time - early)])
    async with box.transaction(()) as tx:
        await tx.lock([delivery])
        await tx.add([replace(draft(delivery, "C.1", 2, 1), event_time=first.event_time)])
    await box.stop()


async def test_a_decision_is_drafted_while_its_intent_lives(world: World) -> None:
    """Without an intent, with one of another act, letter or time: refused, whatever receipt there is."""
    delivery, other = world.delivery(), world.delivery()
    async with world.gateway() as tx:
        now = (await tx.lock([delivery]))[delivery].legal_time
    intent, accepted, _ = decision(delivery, 1, now)
    wrong = (
        (),
        (replace(intent, act="refuse"),),
        (replace(intent, delivery=other),),
        (replace(intent, decided_at=now - timedelta(seconds=1)),),
    )
    for intents in wrong:
        with pytest.raises(REFUSED):
            async with world.gateway() as tx:
                await tx.add([*intents, accepted])
    for away in (timedelta(days=-1), timedelta(seconds=90)):
        with pytest.raises(REFUSED):
            async with world.gateway() as tx:
                await tx.add([replace(intent, decided_at=now + away), replace(accepted, event_time=now + away)])
    async with world.gateway() as tx:
        await tx.add([intent, accepted])


def notice(delivery: UUID, ordinal: int) -> Notice:
    day = datetime(2026, 3, 2, tzinfo=UTC)
    token = uuid4().bytes + uuid4().bytes
    name = f"<{token.hex()}@example.org>"
    return Notice(delivery, ordinal, day.date(), day.date(), "fr", name, token, token, b"mail", day)


async def add(world: World, stage: str, *facts: object) -> None:
    box = await started(world, stage)
    try:
        async with box.transaction(()) as tx:
            await tx.add(facts)
    finally:
        await box.stop()


# ------------------------------------------------------------------ the fence and rescue
async def test_a_message_is_removed_once(world: World) -> None:
    """What was removed is gone for good: a second removal gets nothing."""
    await send(world, 3)
    box = await started(world, "ingest")
    batch = await box.take(10)
    assert len(batch) == world.running("ingest") == 3
    assert await removed(box, batch) == {m.id for m in batch}
    assert await removed(box, batch) == frozenset()
    assert (world.waiting("ingest"), world.running("ingest")) == (0, 0)
    await box.stop()


async def test_two_processes_never_take_the_same_message(world: World) -> None:
    """A row is taken by one; its neighbour gets others."""
    await send(world, 4)
    one, two = await started(world, "ingest"), await started(world, "ingest")
    first, second = await one.take(2), await two.take(10)
    assert len({m.subject for m in [*first, *second]}) == 4
    for box, batch in ((two, first), (one, second)):  # nor removes what the other holds, whoever began later
        assert await removed(box, batch) == frozenset()
    await one.stop()
    await two.stop()


async def test_rows_of_a_stale_epoch_are_rescued_and_its_late_removal_is_fenced(world: World) -> None:
    """A process taken for dead removes nothing when it comes back, and its heartbeat says so."""
    await send(world, 3)
    dead, alive = await started(world, "ingest"), world.mailbox("ingest")
    batch = await dead.take(10)
    world.make_stale()
    await alive.start()
    await alive.sweep()
    again = await alive.take(10)
    assert sorted(m.subject for m in again) == sorted(m.subject for m in batch)
    assert {(m.rescues, m.lane, m.attempts) for m in again} == {(1, 0, 0)}
    assert not {m.id for m in again} & {m.id for m in batch}
    assert await removed(dead, batch) == frozenset()
    assert await removed(alive, again) == {m.id for m in again}
    with pytest.raises(ExceptionGroup if world.__class__ is PostgresWorld else LeaseLost):
        await dead.heartbeat()
    await dead.stop()
    await alive.stop()


async def test_a_living_process_keeps_what_it_holds(world: World) -> None:
    """Whoever sweeps beside it, as often as it likes: within its lease nobody takes it for dead."""
    await send(world, 2)
    holder, other = await started(world, "ingest"), await started(world, "ingest")
    batch = await holder.take(10)
    with anyio.move_on_after(0.2):
        await other.doorbell(60)  # some of the lease has passed
    await other.sweep()
    assert list(await other.take(10)) == []
    assert await removed(holder, batch) == {m.id for m in batch}
    await holder.stop()
    await other.stop()


async def test_what_a_stale_process_takes_afterwards_is_rescued_too(world: World) -> None:
    """A life that took once more before it knew of its end leaves nothing running for ever."""
    dead, alive = await started(world, "ingest"), world.mailbox("ingest")
    world.make_stale()
    await alive.start()
    await alive.sweep()
    await send(world, 1)
    assert len(await dead.take(1)) == 1
    fresh = await started(world, "ingest")
    await fresh.sweep()
    assert [m.rescues for m in await fresh.take(1)] == [1]
    for box in (dead, alive, fresh):
        await box.stop()


async def test_from_the_second_rescue_a_message_is_taken_alone(world: World) -> None:
    """Whatever kills processes kills them without company."""
    await send(world, 3)
    for rescues in (0, 1):
        dead = await started(world, "ingest")
        assert {m.rescues for m in await dead.take(10)} == {rescues}
        world.make_stale()
        sweeper = await started(world, "ingest")
        await sweeper.sweep()
        await sweeper.stop()
        await dead.stop()
    box = await started(world, "ingest")
    for _ in range(3):
        assert [(m.lane, m.rescues) for m in await box.take(10)] == [(1, 2)]
    assert list(await box.take(10)) == []
    await box.stop()


async def test_a_process_that_stops_in_good_order_is_rescued_at_once(world: World) -> None:
    """A restart costs a sweep, not a lease."""
    await send(world, 1)
    before = await started(world, "ingest")
    await before.take(1)
    await before.stop()
    after = await started(world, "ingest")
    await after.sweep()
    assert len(await after.take(1)) == 1
    await after.stop()


async def test_a_new_epoch_gives_up_the_rows_of_the_one_before(world: World) -> None:
    """A reconnect does not remember what it had taken: its own rows come back to anyone."""
    await send(world, 1)
    box = await started(world, "ingest")
    batch = await box.take(1)
    await box.start()
    assert await removed(box, batch) == frozenset()
    await box.sweep()
    assert [m.subject for m in await box.take(1)] == [batch[0].subject]
    await box.stop()


# ------------------------------------------------------------------ order
async def test_interactive_comes_before_bulk_in_order_of_arrival(world: World) -> None:
    """A person waiting is not delayed by a backlog; within a lane nobody overtakes."""
    bulk = await send(world, 3, lane=2)
    interactive = await send(world, 3, lane=0)
    box = await started(world, "ingest")
    assert [m.subject for m in await box.take(6)] == [*interactive, *bulk]
    await box.stop()


async def test_a_stream_of_interactive_messages_does_not_hold_bulk_back(world: World) -> None:
    """Half of each take is bulk's, however many people wait; only a take of one serves people first."""
    bulk = await send(world, 4, lane=2)
    interactive = await send(world, 40, lane=0)
    box = await started(world, "ingest")
    assert [m.subject for m in await box.take(8)] == [*interactive[:4], *bulk]
    assert [m.subject for m in await box.take(1)] == [interactive[4]]
    await box.stop()


async def test_people_may_be_taken_alone(world: World) -> None:
    """As many as the take holds, and nothing of bulk, not even when nobody waits."""
    bulk = await send(world, 4, lane=2)
    interactive = await send(world, 5, lane=0)
    box = await started(world, "ingest")
    assert [m.subject for m in await box.take(4, interactive_only=True)] == interactive[:4]
    assert [m.subject for m in await box.take(4, interactive_only=True)] == interactive[4:]
    assert list(await box.take(4, interactive_only=True)) == []
    assert [m.subject for m in await box.take(4)] == bulk
    await box.stop()


async def test_a_take_may_run_beside_a_transaction(world: World) -> None:
    """Neither waits for the other, and both are of one epoch."""
    deliveries = await send(world, 4, lane=2)
    box = await started(world, "ingest")
    first = await box.take(2)
    async with box.transaction(first) as tx:
        assert await tx.remove(first) == {m.id for m in first}
        with anyio.fail_after(5):
            second = await box.take(10, beside_commit=True)
        assert world.running("ingest") == 4
    assert [m.subject for m in second] == deliveries[2:]
    assert await removed(box, second) == {m.id for m in second}
    assert (world.waiting("ingest"), world.running("ingest")) == (0, 0)
    await box.stop()


async def test_what_was_taken_beside_a_transaction_is_fenced_and_rescued_like_any_batch(world: World) -> None:
    """A process taken for dead removes nothing of it."""
    await send(world, 4)
    box, other = await started(world, "ingest"), world.mailbox("ingest")
    async with box.transaction(()):
        held = await box.take(2, beside_commit=True)
    world.make_stale()
    await other.start()
    await other.sweep()
    assert len(await other.take(10)) == 4
    assert await removed(box, held) == frozenset()
    await other.stop()
    await box.stop()


async def test_suspects_are_taken_singly_and_not_forgotten(world: World) -> None:
    """A message alone comes when nothing else waits, and at least every tenth take."""
    [suspect, other] = await send(world, 2, lane=1)
    await send(world, 20, lane=0)
    box = await started(world, "ingest")
    taken = [await box.take(1) for _ in range(10)]
    assert [m.subject for batch in taken for m in batch if m.lane == 1] == [suspect]
    assert len(await box.take(50)) == 11
    assert [m.subject for m in await box.take(50)] == [other]
    await box.stop()


async def test_emissions_inherit_the_trace_of_their_cause(world: World) -> None:
    """What a sender calls its request travels on from stage to stage; one given wins."""
    one, other = uuid4(), uuid4()
    async with world.gateway() as tx:
        await tx.emit([Emission(SUBMITTED, d, traceparent=f"00-{d.hex}-1111111111111111-01") for d in (one, other)])
    box = await started(world, "ingest")
    async with box.transaction(batch := await box.take(10)) as tx:
        await tx.remove(batch)
        await tx.emit(
            [Emission(CHECKED, one), Emission(CHECKED, other, traceparent="given"), Emission(CHECKED, uuid4())]
        )
    await box.stop()
    encrypt = await started(world, "encrypt")
    found = {m.subject: m.traceparent for m in await encrypt.take(10)}
    assert (found.pop(one), found.pop(other)) == (f"00-{one.hex}-1111111111111111-01", "given")
    assert list(found.values()) == [None]
    await encrypt.stop()


async def test_emissions_inherit_the_lane_of_their_cause(world: World) -> None:
    """Priority travels with a delivery, the suspicion against one message does not; a lane given wins."""
    [one] = await send(world, 1, lane=3)
    box = await started(world, "ingest")
    batch = await box.take(1)
    assert [m.lane for m in batch] == [3]
    async with box.transaction(batch) as tx:
        await tx.remove(batch)
        await tx.emit([Emission(CHECKED, one), Emission(CHECKED, one, lane=0), Emission(CHECKED, uuid4())])
    await box.stop()
    after = await started(world, "encrypt")
    taken = await after.take(10)
    assert sorted(m.lane for m in taken if m.subject == one) == [0, 2]
    assert [m.lane for m in taken if m.subject != one] == [0]
    assert {(m.attempts, m.rescues, m.evidence, m.ordinal) for m in taken} == {(0, 0, None, 0)}
    await after.stop()


# ------------------------------------------------------------------ ways back
async def test_a_postponed_message_comes_back_with_its_history(world: World) -> None:
    """Attempts, rescues and age survive the wait, and nothing comes early."""
    await send(world, 2)
    box = await started(world, "ingest")
    batch = await box.take(10)
    async with box.transaction(batch) as tx:
        await tx.remove(batch)
        await tx.postpone([(replace(batch[0], attempts=4, rescues=1), 0.0), (replace(batch[1], attempts=7), 600.0)])
    [now] = await box.take(10)
    assert (now.subject, now.attempts, now.rescues) == (batch[0].subject, 4, 1)
    assert now.enqueued_at == batch[0].enqueued_at
    await box.sweep()
    assert (list(await box.take(10)), world.timers()) == ([], 1)
    world.make_due()
    fresh = await started(world, "ingest")
    await fresh.sweep()
    [later] = await fresh.take(10)
    assert (later.subject, later.attempts, world.timers()) == (batch[1].subject, 7, 0)
    await box.stop()
    await fresh.stop()


async def test_a_buried_message_is_a_dead_letter_with_its_reason(world: World) -> None:
    """Nothing is dropped: what cannot be finished waits for a person."""
    await send(world, 1)
    box = await started(world, "ingest")
    batch = await box.take(1)
    async with box.transaction(batch) as tx:
        await tx.remove(batch)
        await tx.bury([(batch[0], "no such delivery")])
    assert world.dead() == ["no such delivery"]
    assert (world.waiting("ingest"), world.running("ingest")) == (0, 0)
    await box.stop()


async def test_a_legal_timer_follows_the_clock_of_the_law(world: World) -> None:
    """A deadline of the law is due when the law's clock says so, and not before."""
    delivery = world.delivery()
    box = await started(world, "expire")
    async with box.transaction(()) as tx:
        at = (await tx.lock([delivery]))[delivery].legal_time + timedelta(days=15)
        await tx.emit([Emission(EXPIRE, delivery, at=at, lane=2)])
    await box.sweep()
    assert (list(await box.take(1)), world.legal_timers(), world.waiting("expire")) == ([], 1, 0)
    world.jump(timedelta(days=16))
    fresh = await started(world, "expire")
    await fresh.sweep()
    assert [(m.subject, m.kind, m.lane) for m in await fresh.take(1)] == [(delivery, EXPIRE, 2)]
    await box.stop()
    await fresh.stop()


async def test_a_ring_ends_another_process_s_wait(world: World) -> None:
    """The doorbell is a hint across processes; a wake is for oneself."""
    waiter, ringer = await started(world, "encrypt"), await started(world, "ingest")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ringer.heartbeat)
        with anyio.fail_after(10):
            ringer.ring(frozenset({"encrypt"}))
            await waiter.doorbell(60)
            waiter.wake()
            await waiter.doorbell(60)
        tasks.cancel_scope.cancel()
    await waiter.stop()
    await ringer.stop()


# ------------------------------------------------------------------ transactions
class Interrupted(Exception):
    """Stands for whatever ends a transaction."""


async def test_a_transaction_that_fails_leaves_nothing(world: World) -> None:
    """Removal, facts, emissions and dead letters happen together or not at all."""
    delivery = world.delivery()
    before = await started(world, "ingest")
    async with before.transaction(()) as tx:
        await tx.emit([Emission(CHECKED, delivery)])
    await before.stop()
    box = await started(world, "encrypt")
    batch = await box.take(1)
    with pytest.raises(Interrupted):
        async with box.transaction(batch) as tx:
            assert await tx.remove(batch) == {batch[0].id}
            await tx.lock([delivery])
            await tx.add([draft(delivery, "A.1", 1)])
            await tx.emit([Emission(DRAFT, delivery, uuid4())])
            await tx.postpone([(batch[0], 5.0)])
            await tx.bury([(batch[0], "never")])
            raise Interrupted
    assert (world.waiting("seal"), world.timers(), world.running("encrypt")) == (0, 0, 1)
    async with box.transaction(batch) as tx:
        assert (await tx.lock([delivery]))[delivery].drafted == frozenset()
        assert await tx.remove(batch) == {batch[0].id}
    await box.stop()


async def test_a_cancelled_transaction_leaves_nothing(world: World) -> None:
    """A process that is ended in the middle leaves its rows running, for the rescue."""
    await send(world, 1)
    box = await started(world, "ingest")
    batch = await box.take(1)
    with anyio.CancelScope() as scope:
        async with box.transaction(batch) as tx:
            await tx.remove(batch)
            await tx.emit([Emission(CHECKED, batch[0].subject)])
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    assert (world.waiting("encrypt"), world.running("ingest")) == (0, 1)
    await box.stop()


async def test_transactions_on_one_delivery_come_one_after_the_other(world: World) -> None:
    """What the second reads under the lock was written by the first: no two drafts on the same head."""
    delivery = world.delivery()
    first, second = await started(world, "encrypt"), await started(world, "expire")
    asked = anyio.Event()
    seen: list[frozenset[str]] = []

    async def follow() -> None:
        async with second.transaction(()) as tx:
            asked.set()
            seen.append((await tx.lock([delivery]))[delivery].drafted)

    async with anyio.create_task_group() as tasks, first.transaction(()) as tx:
        await tx.lock([delivery])
        tasks.start_soon(follow)
        await asked.wait()
        await tx.add([draft(delivery, "A.1", 1)])
    assert seen == [{"A.1"}]
    await first.stop()
    await second.stop()


async def test_the_lock_tells_what_a_draft_needs(world: World) -> None:
    """Head, state, window and a living intent, read after the lock; unknown deliveries are left out."""
    delivery = world.delivery()
    first = draft(delivery, "A.1", 1)
    await add(world, "encrypt", first)
    closes = datetime(2026, 3, 18, tzinfo=UTC)
    await add(world, "notify", notice(delivery, 1))
    await add(world, "timestamp", AcceptanceWindow(delivery, 1, closes.date(), closes))
    box = await started(world, "expire")
    async with box.transaction(()) as tx:
        known = await tx.lock([delivery, uuid4()])
    assert list(known) == [delivery]
    locked = known[delivery]
    assert (locked.head.next_sequence, locked.head.predecessor_sha256) == (2, first.sha256)
    assert (locked.state, locked.stamped_through, set(locked.drafted), set(locked.stamped)) == (
        "submitted",
        0,
        {"A.1"},
        set(),
    )
    assert (locked.expires_at, locked.intent_alive) == (closes, False)
    assert locked.legal_time.microsecond % 1000 == 0
    async with world.gateway() as tx:
        await tx.add([DecisionIntent(uuid4(), delivery, "accept", locked.legal_time)])
    async with box.transaction(()) as tx:
        assert (await tx.lock([delivery]))[delivery].intent_alive
    await box.stop()


async def test_the_state_follows_the_contiguous_stamped_prefix(world: World) -> None:
    """A token before its predecessor's moves nothing; the gap closed, both count, in order."""
    delivery = world.delivery()
    yesterday = datetime(2026, 3, 1, tzinfo=UTC)
    deposit, sent = (
        replace(made, event_time=yesterday) for made in (draft(delivery, "A.1", 1), draft(delivery, "C.1", 2, 1))
    )
    await add(world, "encrypt", deposit)
    await add(world, "notify", sent)
    async with world.gateway() as tx:
        intent, accepted, consigned = decision(delivery, 3, (await tx.lock([delivery]))[delivery].legal_time)
        await tx.add([intent, accepted, consigned])
    evidences = [deposit, sent, accepted, consigned]
    await add(world, "seal", *[EvidenceSeal(e.evidence, bytes(64), "seal-1") for e in evidences])
    box = await started(world, "timestamp")
    told = []
    for evidence in (deposit, sent, consigned, accepted):
        async with box.transaction(()) as tx:
            await tx.lock([delivery])
            await tx.add([EvidenceToken(evidence.evidence, b"token", evidence.event_time)])
            told.append([(a.state, *[s.event for s in a.reached]) for a in await tx.advance([delivery])])
    assert told == [[("deposited", "A.1")], [("notified", "C.1")], [], [("accepted", "C.3", "D.1")]]
    assert world.state(delivery) == ("accepted", 4)
    async with box.transaction(()) as tx:
        assert list(await tx.advance([delivery])) == []
    await box.stop()


# ------------------------------------------------------------------ unique facts
async def test_the_first_seal_wins_silently(world: World) -> None:
    """Two seals over the same bytes say the same; the one that others may rely on already stays."""
    first = draft(world.delivery(), "A.1", 1)
    await add(world, "encrypt", first)
    for signature in (b"\x01" * 64, b"\x02" * 64):
        await add(world, "seal", EvidenceSeal(first.evidence, signature, "seal-1"))
    assert world.signature(first.evidence) == b"\x01" * 64


async def test_a_second_wrap_and_a_second_token_change_nothing(world: World) -> None:
    """What a repeated step brings again is dropped without an error."""
    delivery = world.delivery()
    first = draft(delivery, "A.1", 1)
    await add(world, "encrypt", ContentWrap(delivery, "k", b"c", b"w"), first)
    await add(world, "encrypt", ContentWrap(delivery, "k", b"c", b"other"))
    await add(world, "seal", EvidenceSeal(first.evidence, bytes(64), "seal-1"))
    for token in (b"one", b"two"):
        await add(world, "timestamp", EvidenceToken(first.evidence, token, first.event_time))


REPEATED = {
    "one event and ordinal": ("notify", ("C.1", 1, 1), ("C.1", 2, 1)),
    "one sequence": ("notify", ("C.1", 1, 1), ("C.2", 1, 1)),
    "one deposit or rejection": ("encrypt", ("A.1", 1, 0), ("A.2", 2, 0)),
}


@pytest.mark.parametrize("case", REPEATED)
async def test_a_second_evidence_of_its_kind_is_refused(world: World, case: str) -> None:
    """The indexes hold even where a guard was wrong."""
    stage, one, two = REPEATED[case]
    delivery = world.delivery()
    await add(world, stage, draft(delivery, *one))
    with pytest.raises(REFUSED):
        await add(world, stage, draft(delivery, *two))


async def test_expiry_is_refused_twice_even_under_another_ordinal(world: World) -> None:
    """At most one of acceptance, refusal and expiry."""
    delivery = world.delivery()
    await add(world, "expire", draft(delivery, "C.5", 1))
    with pytest.raises(REFUSED):
        await add(world, "expire", draft(delivery, "C.5", 2, ordinal=1))
    await add(world, "expire", draft(delivery, "E.2", 2))
    with pytest.raises(REFUSED):
        await add(world, "expire", draft(delivery, "E.2", 3, ordinal=1))


async def test_notices_windows_and_results_are_unique(world: World) -> None:
    """One notice per ordinal, one result per notice, one window per delivery; a result needs its notice."""
    delivery = world.delivery()
    moment = datetime(2026, 3, 18, tzinfo=UTC)
    result = NoticeResult(delivery, 1, "relayed", 250, "ok", moment)
    with pytest.raises(REFUSED):
        await add(world, "notify", result)
    window = AcceptanceWindow(delivery, 1, moment.date(), moment)
    await add(world, "notify", notice(delivery, 1), result)
    await add(world, "timestamp", window)
    for role, again in (("notify", notice(delivery, 1)), ("notify", result), ("timestamp", window)):
        with pytest.raises(REFUSED):
            await add(world, role, again)
    await add(world, "notify", notice(delivery, 2))


async def test_snapshot_numbers_are_unique(world: World) -> None:
    """Two processes packing the same number: one wins, the other starts again."""
    delivery = world.delivery()
    digest = bytes(32)
    await add(world, "archive", Snapshot(delivery, 1, uuid4().hex, 10, digest, None, 2))
    with pytest.raises(REFUSED):
        await add(world, "archive", Snapshot(delivery, 1, uuid4().hex, 10, digest, None, 3))
    with pytest.raises(REFUSED):
        await add(world, "archive", Snapshot(delivery, 2, uuid4().hex, 10, digest, digest, 2))
    await add(world, "archive", Snapshot(delivery, 2, uuid4().hex, 10, digest, digest, 3))


async def test_a_token_needs_its_seal_and_a_seal_its_draft(world: World) -> None:
    """No proof stands on nothing."""
    with pytest.raises(REFUSED):
        await add(world, "seal", EvidenceSeal(uuid4(), bytes(64), "seal-1"))
    first = draft(world.delivery(), "A.1", 1)
    await add(world, "encrypt", first)
    with pytest.raises(REFUSED):
        await add(world, "timestamp", EvidenceToken(first.evidence, b"token", first.event_time))


@pytest.mark.parametrize(
    ("sender", "kinds"), [("seal", [SEALED]), ("timestamp", [PREPARE, PRESERVE]), ("notify", [DRAFT, PREPARE])]
)
async def test_a_stage_reaches_the_mailboxes_of_its_emissions(world: World, sender: str, kinds: list[str]) -> None:
    """Every stage may write where its routes lead, and the message is the address that was emitted."""
    delivery, evidence = uuid4(), uuid4()
    box = await started(world, sender)
    async with box.transaction(()) as tx:
        await tx.emit([Emission(kind, delivery, evidence, ordinal=3, lane=2) for kind in kinds])
    await box.stop()
    for kind in kinds:
        receiver = await started(
            world, {SEALED: "timestamp", PREPARE: "notify", PRESERVE: "archive", DRAFT: "seal"}[kind]
        )
        [m] = await receiver.take(5)
        assert (m.kind, m.subject, m.evidence, m.ordinal, m.lane) == (kind, delivery, evidence, 3, 2)
        await receiver.stop()
