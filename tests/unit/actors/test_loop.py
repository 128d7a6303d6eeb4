"""The loop over a mailbox in memory: what becomes of a batch, whatever happens to it."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import anyio
import pytest

from pipeline.actors import loop
from pipeline.actors.contract import ATTEMPTS_MAX, RESCUES_MAX, Bury, Done, Outcome, Retry, Stage, Work
from pipeline.adapters.ids import SystemRandomness
from pipeline.delivery.routes import BULK, CHECKED, INTERACTIVE, SUBMITTED, Emission
from pipeline.errors import ClockBehind, Invariant, LeaseLost, Transient
from pipeline.ports.mailbox import Message, Tx
from pipeline.process.measures import STAGE_MESSAGES, STALE_ACKS
from pipeline.process.recorder import Recorder
from tests.memory.database import MemoryClock, MemoryDatabase, MemoryTx
from tests.memory.mailbox import MemoryMailbox
from tests.waiting import until

pytestmark = pytest.mark.anyio
Perform = Callable[[Sequence[Message]], Sequence[Outcome[None]]]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Bench:
    """One stage on a mailbox in memory."""

    def __init__(self) -> None:
        self.database = MemoryDatabase(MemoryClock(datetime(2026, 3, 2, 9, 0, tzinfo=UTC)))
        self.box: MemoryMailbox = MemoryMailbox(self.database, "ingest", SystemRandomness())
        self.recorder = Recorder("ingest", lambda _line: None)
        self.draining = anyio.Event()

    async def send(self, count: int = 1, lane: int = INTERACTIVE) -> list[UUID]:
        deliveries = [uuid4() for _ in range(count)]
        async with self.database.transaction() as tx:
            await tx.emit([Emission(SUBMITTED, d, lane=lane) for d in deliveries])
        return deliveries

    def bend(self, **changes: int | str) -> None:
        """Give every waiting message another history."""
        rows = self.database.waiting["ingest"]
        rows.update({i: replace(m, **changes) for i, m in rows.items()})  # type: ignore[arg-type]

    async def turn(self, perform: Perform) -> list[Message]:
        await self.box.start()
        batch = list(await self.box.take(100))
        await loop.turn(stage(perform), self.box, None, batch, lambda: 0.5, self.recorder)
        return batch

    async def run(self, perform: Perform) -> None:
        await loop.run(stage(perform), self.box, None, self.draining, SystemRandomness(), self.recorder)

    def handed_on(self) -> list[UUID]:
        return [m.subject for m in self.database.waiting["encrypt"].values()]

    def back(self) -> list[Message]:
        """What is to be tried again, now or later."""
        return [*self.database.waiting["ingest"].values(), *[t.message for t in self.database.timers]]

    def dead(self) -> list[str]:
        return [d.why for d in self.database.dead]


def stage(perform: Perform) -> Stage[object, None, Tx]:
    async def performed(batch: Sequence[Message], _ports: object) -> Sequence[Outcome[None]]:
        return perform(batch)

    return Stage("ingest", Work(frozenset({SUBMITTED}), performed, hand_on))


async def hand_on(_tx: Tx, done: Sequence[Done[None]]) -> list[Emission]:
    return [Emission(CHECKED, d.message.subject) for d in done]


def faulty(_message: Message) -> Outcome[None]:
    raise ZeroDivisionError("integer division or modulo by zero")


def each(judge: Callable[[Message], Outcome[None]]) -> Perform:
    return lambda batch: [judge(m) for m in batch]


def done(m: Message) -> Outcome[None]:
    return Done(m, None)


def away(_batch: Sequence[Message]) -> Sequence[Outcome[None]]:
    raise Transient("away")


# ------------------------------------------------------------------ outcomes
async def test_each_message_has_its_own_outcome() -> None:
    """Done goes on, retry comes back with one attempt more, bury is a dead letter: in one transaction."""
    bench = Bench()
    first, second, third = await bench.send(3)
    verdicts: dict[UUID, Callable[[Message], Outcome[None]]] = {
        first: done,
        second: lambda m: Retry(m, "not yet"),
        third: lambda m: Bury(m, "never"),
    }
    await bench.turn(each(lambda m: verdicts[m.subject](m)))
    assert bench.handed_on() == [first]
    assert [(m.subject, m.attempts) for m in bench.back()] == [(second, 1)]
    assert bench.dead() == ["never"]
    assert not bench.database.running["ingest"]


async def test_an_uncounted_retry_spends_no_attempt() -> None:
    """Waiting for midnight is nobody's failure."""
    bench = Bench()
    await bench.send()
    await bench.turn(each(lambda m: Retry(m, "midnight", 90.0, counted=False)))
    assert [m.attempts for m in bench.back()] == [0]


@pytest.mark.parametrize("perform", [each(lambda m: Retry(m, "no")), away])
async def test_spent_attempts_end_as_a_dead_letter(perform: Perform) -> None:
    """After hours of trying a person is asked, whether one message failed or the whole outside."""
    bench = Bench()
    await bench.send()
    bench.bend(attempts=ATTEMPTS_MAX - 1)
    await bench.turn(perform)
    assert bench.back() == []
    assert [f"spent {ATTEMPTS_MAX} attempts" in why for why in bench.dead()] == [True]


@pytest.mark.parametrize("attempts", [0, ATTEMPTS_MAX - 1])
async def test_a_clock_that_is_behind_is_waited_for_by_whom_it_concerns(attempts: int) -> None:
    """However often: it is no attempt, so never a dead letter; and no neighbour waits with it. The alarm counts it."""
    bench = Bench()
    first, second, third = await bench.send(3)

    def behind(_batch: Sequence[Message]) -> Sequence[Outcome[None]]:
        raise ClockBehind("behind", {second})

    bench.bend(attempts=attempts)
    await bench.turn(behind)
    assert {m.subject: m.attempts for m in bench.back()} == dict.fromkeys((first, second, third), attempts)
    assert [t.message.subject for t in bench.database.timers] == [second]
    assert (bench.dead(), bench.recorder.counts[STAGE_MESSAGES, ("clock",)]) == ([], 3)


@pytest.mark.parametrize("attempts", [0, ATTEMPTS_MAX - 1])
async def test_who_waits_for_a_clock_spends_no_attempt(attempts: int) -> None:
    """As an outcome of its own, beside others of the batch."""
    bench = Bench()
    await bench.send()
    bench.bend(attempts=attempts)
    await bench.turn(each(lambda m: Retry.for_clock(m, "the bridge's clock")))
    assert ([t.message.attempts for t in bench.database.timers], bench.dead()) == ([attempts], [])
    assert bench.recorder.counts[STAGE_MESSAGES, ("clock",)] == 1


async def test_an_outage_costs_everyone_one_attempt() -> None:
    """Nothing is lost and nothing is buried while the outside is away."""
    bench = Bench()
    deliveries = await bench.send(3)
    await bench.turn(away)
    assert sorted((m.subject, m.attempts) for m in bench.back()) == sorted((d, 1) for d in deliveries)
    assert (bench.dead(), bench.handed_on()) == ([], [])


@pytest.mark.parametrize("perform", [each(done), away])
async def test_an_unknown_kind_waits_uncounted(perform: Perform) -> None:
    """A newer build's message is put back for a minute, not charged, also when the outside is away meanwhile."""
    bench = Bench()
    known, _ = await bench.send(2)
    bench.bend(kind="from_the_future")
    rows = bench.database.waiting["ingest"]
    rows.update({i: replace(m, kind=SUBMITTED) for i, m in rows.items() if m.subject == known})
    await bench.turn(perform)
    assert [m.attempts for m in bench.back() if m.kind == "from_the_future"] == [0]


# ------------------------------------------------------------------ faults of a stage
@pytest.mark.parametrize(
    "perform",
    [
        each(faulty),
        lambda batch: [Done(m, None) for m in batch[1:]],  # one is missing
        lambda batch: [Done(m, None) for m in [*batch, batch[0]]],  # one has two
    ],
)
async def test_a_fault_sends_the_batch_back_to_be_taken_singly(perform: Perform) -> None:
    """An exception, a missing or a doubled outcome: nothing is committed, and the guilty one will be found."""
    bench = Bench()
    await bench.send(3)
    await bench.turn(perform)
    assert [(m.lane & 1, m.rescues, m.attempts) for m in bench.back()] == [(1, 1, 0)] * 3
    assert (bench.handed_on(), bench.recorder.counts[STAGE_MESSAGES.of("crash")]) == ([], 3)


async def test_the_guilty_one_is_buried_in_the_end() -> None:
    """Alone and failing again and again, a message ends as a dead letter that names the exception and its place."""
    bench = Bench()
    await bench.send()
    bench.bend(rescues=RESCUES_MAX - 1, lane=1)
    await bench.turn(each(faulty))
    assert [why.startswith("ZeroDivisionError at test_loop.py:") for why in bench.dead()] == [True]
    assert bench.back() == []


async def test_a_message_that_kills_processes_is_not_performed_again() -> None:
    """Rescued too often, it is buried before it can do it once more."""
    bench = Bench()
    await bench.send()
    bench.bend(rescues=RESCUES_MAX, lane=1)
    performed: list[Message] = []

    def killer(batch: Sequence[Message]) -> Sequence[Outcome[None]]:
        performed.extend(batch)
        return [Done(m, None) for m in batch]

    await bench.turn(killer)
    assert (performed, len(bench.dead())) == ([], 1)


def succeed(batch: Sequence[Message]) -> Sequence[Outcome[None]]:
    return [Done(m, None) for m in batch]


def bury(batch: Sequence[Message]) -> Sequence[Outcome[None]]:
    return [Bury(m, "no") for m in batch]


def retry(batch: Sequence[Message]) -> Sequence[Outcome[None]]:
    return [Retry(m, "not yet") for m in batch]


def fail(batch: Sequence[Message]) -> Sequence[Outcome[None]]:
    return [faulty(m) for m in batch]


@pytest.mark.parametrize("ending", [succeed, bury, retry, fail, away])
@pytest.mark.parametrize("spent", [{}, {"attempts": ATTEMPTS_MAX - 1}, {"rescues": RESCUES_MAX - 1}], ids=str)
@pytest.mark.parametrize("companions", [0, 1])
async def test_what_was_rescued_meanwhile_is_dropped_silently(
    ending: Perform, spent: dict[str, int], companions: int
) -> None:
    """The fence: a late process neither hands on, nor puts back, nor buries what others hold by now, however its turn
    ends, and the rest of its batch all the same."""
    bench = Bench()
    first, *others = await bench.send(1 + companions)
    bench.bend(**spent)

    def rescued_while_performing(batch: Sequence[Message]) -> Sequence[Outcome[None]]:
        running = bench.database.running["ingest"]
        [place] = [place for place, m in running.items() if m.subject == first]
        del running[place]
        return ending(batch)

    await bench.turn(rescued_while_performing)
    dead = [d.message.subject for d in bench.database.dead]
    assert [*bench.handed_on(), *(m.subject for m in bench.back()), *dead] == others
    if ending is succeed:
        assert (bench.recorder.counts[STALE_ACKS.of()], bench.handed_on()) == (1, others)


async def test_a_perform_that_hangs_is_ended_by_its_deadline() -> None:
    """What is not done in its time is tried again, at the cost of an attempt: it does not hold its batch for ever."""
    bench = Bench()
    await bench.send(2)
    await bench.box.start()

    async def hang(_batch: Sequence[Message], _ports: object) -> Sequence[Outcome[None]]:
        await anyio.sleep_forever()
        return []

    hanging = Stage("ingest", Work(frozenset({SUBMITTED}), hang, hand_on), perform_seconds=0.01)
    batch = await bench.box.take(100)
    with anyio.fail_after(10):
        assert await loop.turn(hanging, bench.box, None, batch, lambda: 0.5, bench.recorder)
    assert [m.attempts for m in bench.back()] == [1, 1]


@pytest.mark.parametrize("why", ["x" * 10_000, "é" * 600, "a\x00b", "half a \ud800", "\x00" * 400])
async def test_any_reason_can_be_written_down(why: str) -> None:
    """However long and whatever is in it: a dead letter that cannot be written would end the process instead."""
    bench = Bench()
    await bench.send(1)
    await bench.turn(each(lambda m: Bury(m, why)))
    [reason] = bench.dead()
    assert 0 < len(reason) <= loop.WHY_LENGTH_MAX
    assert "\x00" not in reason
    assert reason.encode()


# ------------------------------------------------------------------ the life of a process
class Faulty(MemoryMailbox):
    """A mailbox whose transactions fail as told, one after the other."""

    faults: list[BaseException]

    @asynccontextmanager
    async def transaction(self, batch: Sequence[Message]) -> AsyncIterator[MemoryTx]:
        async with super().transaction(batch) as tx:
            yield tx
            if self.faults:
                raise self.faults.pop(0)


@pytest.mark.parametrize(
    "faults",
    [
        [LeaseLost("the session died")],
        [Transient("deadlock")],
        [Transient("deadlock"), LeaseLost("and then the session")],
        [Transient("deadlock"), Transient("again")],
        [TimeoutError("no answer"), TimeoutError("again, while putting back")],
    ],
)
async def test_a_process_survives_its_database(faults: list[BaseException]) -> None:
    """Whatever a transaction dies of, the message is handed on once, in this epoch or the next."""
    bench = Bench()
    box = Faulty(bench.database, "ingest", SystemRandomness())
    box.faults, bench.box = list(faults), box
    [delivery] = await bench.send()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.run, each(done))
        receiver = MemoryMailbox(bench.database, "encrypt", SystemRandomness())
        await receiver.start()
        with anyio.fail_after(15):
            while not (taken := await receiver.take(10)):
                await receiver.doorbell(60)
        bench.draining.set()
    assert [m.subject for m in taken] == [delivery]
    assert (bench.dead(), box.faults) == ([], [])


class Watched(MemoryMailbox):
    """A mailbox that counts what its process does beside its batches."""

    beats = sweeps = takes = 0

    async def heartbeat(self) -> None:
        self.beats += 1
        await super().heartbeat()

    async def sweep(self) -> None:
        self.sweeps += 1
        await super().sweep()

    async def take(
        self, limit: int, *, interactive_only: bool = False, beside_commit: bool = False
    ) -> Sequence[Message]:
        self.takes += 1
        return await super().take(limit, interactive_only=interactive_only, beside_commit=beside_commit)


class Told(MemoryMailbox):
    """A mailbox that tells how far its batch was when the next stage was rung."""

    rings: list[int]

    def ring(self, stages: frozenset[str]) -> None:
        if "encrypt" in stages:
            self.rings.append(len(self._database.waiting["encrypt"]))
        super().ring(stages)


async def test_the_next_stage_is_rung_when_its_messages_are_there() -> None:
    """After the commit: a ring before it would wake a stage that finds nothing, and then waits for its poll."""
    bench = Bench()
    box = Told(bench.database, "ingest", SystemRandomness())
    box.rings, bench.box = [], box
    await bench.send(3)
    await bench.turn(succeed)
    assert box.rings
    assert set(box.rings) == {3}


async def test_a_busy_process_beats_and_sweeps() -> None:
    """As long as it lives, and between any two batches: nobody takes it for dead, and no deadline waits for a rest."""
    bench = Bench()
    box = Watched(bench.database, "ingest", SystemRandomness())
    bench.box = box
    await bench.send(30)
    standing: list[tuple[int, int]] = []

    def look(batch: Sequence[Message]) -> Sequence[Outcome[None]]:
        standing.append((box.beats, box.sweeps))
        if len(standing) == 10:
            bench.draining.set()
        return succeed(batch)

    async def one_at_a_time(batch: Sequence[Message], _ports: object) -> Sequence[Outcome[None]]:
        await anyio.lowlevel.checkpoint()
        return look(batch)

    busy = Stage("ingest", Work(frozenset({SUBMITTED}), one_at_a_time, hand_on), batch_max=3)
    with anyio.fail_after(10):
        await loop.run(busy, box, None, bench.draining, SystemRandomness(), bench.recorder)
    assert [beats for beats, _ in standing[1:]] == [1] * 9
    assert [sweeps for _, sweeps in standing] == list(range(1, 11))


async def test_an_invariant_ends_the_process() -> None:
    """What must not be worked around is not: the rows stay for the successor, after a person looked."""
    bench = Bench()
    await bench.send()

    def broken(_batch: Sequence[Message]) -> Sequence[Outcome[None]]:
        raise Invariant("a seal does not verify")

    with anyio.fail_after(10), pytest.raises(ExceptionGroup) as caught:
        await bench.run(broken)
    assert caught.value.subgroup(Invariant)
    assert len(bench.database.running["ingest"]) == 1


async def test_a_drain_finishes_the_batch_and_leaves_in_good_order() -> None:
    """SIGTERM: what was taken is committed, nothing more is taken, and the life is given up at once."""
    bench = Bench()
    first, second = await bench.send(2)

    def drain(batch: Sequence[Message]) -> Sequence[Outcome[None]]:
        bench.draining.set()
        return [Done(m, None) for m in batch]

    one_by_one = replace(stage(drain), batch_max=1)
    await loop.run(one_by_one, bench.box, None, bench.draining, SystemRandomness(), bench.recorder)
    assert bench.handed_on() == [first]
    assert [m.subject for m in bench.back()] == [second]
    assert [life.seen_at for life in bench.database.lives.values()] == [float("-inf")]


async def test_batches_are_small_while_people_and_bulk_come_in_together() -> None:
    """A person's message waits for the batch before it: a short one beside bulk, a full one when one lane is alone."""
    [bulk, person] = [replace(await one_message(), lane=lane) for lane in (2, 0)]
    pace = loop.Pace(100)
    pace.saw(10.0, [bulk], people_alone=False)
    assert pace.limit(10.0) == 100
    pace.saw(10.5, [person], people_alone=False)
    assert pace.limit(10.5) == loop.BATCH_BESIDE_PEOPLE
    assert pace.limit(10.5 + loop.MIXED_SECONDS) == 100
    assert loop.Pace(5).limit(0.0) == 5


async def test_people_are_taken_alone_every_second_time_beside_bulk() -> None:
    """No companions to wait for; and bulk is not held back: of the batch between two of theirs half is bulk's."""
    [bulk, person] = [replace(await one_message(), lane=lane) for lane in (2, 0)]
    pace = loop.Pace(100)
    assert not pace.are_people_alone(9.0)
    pace.saw(10.0, [bulk, person], people_alone=False)
    assert pace.are_people_alone(10.0)
    pace.saw(10.1, [person], people_alone=True)
    assert not pace.are_people_alone(10.1)
    pace.saw(10.2, [bulk], people_alone=False)
    assert pace.are_people_alone(10.2)
    assert not pace.are_people_alone(10.2 + loop.MIXED_SECONDS)


async def test_people_do_not_hold_bulk_back_and_do_not_wait_for_its_batch() -> None:
    """The order in which the loop takes what waits: a person's alone, then bulk's share, in turn."""
    bench = Bench()
    people, bulk = await bench.send(3), await bench.send(40, lane=BULK)
    taken: list[list[UUID]] = []

    async def perform(batch: Sequence[Message], _ports: object) -> list[Outcome[None]]:
        taken.append([m.subject for m in batch])
        if len(taken) == 1:
            people.extend(await bench.send())
        if len(taken) == 4:
            bench.draining.set()
        return [Done(m, None) for m in batch]

    mixed = replace(stage(lambda batch: []), work=Work(frozenset({SUBMITTED}), perform, hand_on), batch_max=6)
    await loop.run(mixed, bench.box, None, bench.draining, SystemRandomness(), bench.recorder)
    assert taken == [[*people[:3], *bulk[:3]], people[3:], bulk[3:9], bulk[9:15]]


class Asked(MemoryMailbox):
    """A mailbox that remembers its takes beside a COMMIT: how many were asked for, how many were there."""

    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__(database, "ingest", SystemRandomness())
        self.beside: list[tuple[int, int]] = []

    async def take(
        self, limit: int, *, interactive_only: bool = False, beside_commit: bool = False
    ) -> Sequence[Message]:
        batch = await super().take(limit, interactive_only=interactive_only, beside_commit=beside_commit)
        if beside_commit:
            self.beside.append((limit, len(batch)))
        return batch


@pytest.mark.parametrize(
    ("count", "beside"), [(2, []), (3, [(3, 0)]), (7, [(3, 3), (3, 1)]), (9, [(3, 3), (3, 3), (3, 0)])]
)
async def test_after_a_full_batch_the_next_is_taken_while_it_commits(count: int, beside: list[tuple[int, int]]) -> None:
    """A batch that was not full is the last one for now; every message is handed on once, in its order."""
    bench = Bench()
    box = Asked(bench.database)
    deliveries = await bench.send(count, lane=BULK)

    def perform(batch: Sequence[Message]) -> Sequence[Outcome[None]]:
        if batch[-1].subject == deliveries[-1]:
            bench.draining.set()
        return [Done(m, None) for m in batch]

    by_three = replace(stage(perform), batch_max=3)
    await loop.run(by_three, box, None, bench.draining, SystemRandomness(), bench.recorder)
    assert bench.handed_on() == deliveries
    assert box.beside == beside
    assert not bench.database.running["ingest"]


async def test_nothing_is_taken_ahead_while_people_and_bulk_come_in_together() -> None:
    """A person's message would wait behind it."""
    [bulk, person] = [replace(await one_message(), lane=lane) for lane in (2, 0)]
    pace = loop.Pace(1)
    pace.saw(10.0, [bulk], people_alone=False)
    assert pace.prefetch(10.0, [bulk]) == 1
    pace.saw(10.1, [person], people_alone=False)
    assert pace.prefetch(10.1, [person]) == 0
    assert pace.prefetch(10.1 + loop.MIXED_SECONDS, [person]) == 1


async def test_a_drain_gives_back_what_was_taken_ahead() -> None:
    """As it was: nobody died over it. Nothing is left running."""
    bench = Bench()
    deliveries = await bench.send(5, lane=BULK)

    def drain(batch: Sequence[Message]) -> Sequence[Outcome[None]]:
        bench.draining.set()
        return [Done(m, None) for m in batch]

    by_two = replace(stage(drain), batch_max=2)
    await loop.run(by_two, bench.box, None, bench.draining, SystemRandomness(), bench.recorder)
    assert bench.handed_on() == deliveries[:2]
    assert sorted(m.subject for m in bench.back()) == sorted(deliveries[2:])
    assert {(m.rescues, m.attempts, m.lane) for m in bench.back()} == {(0, 0, BULK)}
    assert not bench.database.running["ingest"]


async def test_suspects_come_in_between_while_every_batch_is_taken_ahead() -> None:
    """At least every tenth take is theirs."""
    bench = Bench()
    [suspect] = await bench.send(lane=BULK | 1)
    await bench.send(30, lane=BULK)
    seen: list[UUID] = []

    def perform(batch: Sequence[Message]) -> Sequence[Outcome[None]]:
        seen.extend(m.subject for m in batch)
        if len(seen) >= 12:
            bench.draining.set()
        return [Done(m, None) for m in batch]

    one_by_one = replace(stage(perform), batch_max=1)
    await loop.run(one_by_one, bench.box, None, bench.draining, SystemRandomness(), bench.recorder)
    assert suspect in seen


@pytest.mark.parametrize("fault", [Transient("deadlock"), LeaseLost("the session died"), RuntimeError("a bug")])
async def test_a_commit_that_fails_loses_nothing_of_what_was_taken_ahead(fault: Exception) -> None:
    """Both batches are handed on, in this epoch or the next."""
    bench = Bench()
    box = Faulty(bench.database, "ingest", SystemRandomness())
    box.faults, bench.box = [fault], box
    deliveries = await bench.send(4, lane=BULK)
    by_two = replace(stage(each(done)), batch_max=2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(loop.run, by_two, box, None, bench.draining, SystemRandomness(), bench.recorder)

        async def is_handed_on() -> bool:
            return len(bench.handed_on()) == len(deliveries)

        await until(is_handed_on, 15)
        bench.draining.set()
    assert sorted(bench.handed_on()) == sorted(deliveries)
    assert (bench.dead(), box.faults) == ([], [])


async def one_message() -> Message:
    bench = Bench()
    await bench.send()
    await bench.box.start()
    return (await bench.box.take(1))[0]
