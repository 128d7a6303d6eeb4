"""ingest: drawing from batches. Exactly once, in turns, never more than the next stages can take."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from pipeline.actors.contract import Done
from pipeline.delivery.routes import BULK, CHECKED, DRAW, SETTLE, Emission
from pipeline.intake import drawing
from pipeline.ports.mailbox import Message
from pipeline.stores.batches import CANCELLED, LineCursor
from tests.fakes import batches
from tests.memory.batches import BatchRow
from tests.stages.line import PROOF, Line

pytestmark = pytest.mark.anyio


class Sender:
    """Somebody with one uploaded letter, on a line in memory."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.id = uuid4()
        batches.plant_sender(line.database, self.id, line.clock.now())
        [intake] = [k for k in line.bridge.published() if k.use == "intake"]
        planted = batches.plant_upload(line.database, self.id, intake, line.randomness.random_bytes)
        self.upload, name, line.objects.objects[name] = planted

    def letter(self, ref: str | None, **changes: Any) -> dict[str, Any]:
        return batches.line(ref, self.upload, **changes)

    def letters(self, count: int, prefix: str = "r") -> list[dict[str, Any]]:
        return [self.letter(f"{prefix}-{number}") for number in range(count)]

    async def submit(self, *parts: Sequence[dict[str, Any]]) -> UUID:
        """A batch and the message of its first draw."""
        batch = uuid4()
        batches.plant_batch(self.line.database, batch, self.id, parts)
        await self.line.emit(Emission(DRAW, batch, lane=BULK))
        return batch

    def row(self, batch: UUID) -> BatchRow:
        return self.line.database.bulk.batches[batch]

    def told(self, batch: UUID) -> list[str]:
        """accepted, replayed, or the problem's code, line by line."""
        found = []
        for r in self.row(batch).results:
            accepted = "replayed" if r.replayed else "accepted"
            found.append(accepted if r.problem is None else str(r.problem["code"]))
        return found


async def test_a_batch_runs_to_its_end() -> None:
    """Every line is a delivery in the bulk lane, deposited and proved; then the batch is completed."""
    line = Line()
    sender = Sender(line)
    batch = await sender.submit(sender.letters(3), [sender.letter(None)])
    await line.run("ingest")
    assert sender.told(batch) == ["accepted"] * 4
    assert [(m.kind, m.lane) for m in line.waiting("encrypt")] == [(CHECKED, BULK)] * 4
    assert sender.row(batch).state == "processing"
    await line.run("ingest", "encrypt", "notify", *PROOF)
    deliveries = [r.delivery for r in sender.row(batch).results if r.delivery is not None]
    assert {line.state(d) for d in deliveries} == {"notified"}
    await settled(line)
    assert sender.row(batch).state == "completed"
    assert {line.database.bulk.owners[d] for d in deliveries} == {batch}
    assert line.nothing_left()


async def settled(line: Line) -> None:
    """The timer of SETTLE is due now."""
    timers = line.database.timers
    line.database.timers = [replace(t, due_at=line.clock.now()) if t.message.kind == SETTLE else t for t in timers]
    await line.run("ingest")


async def test_a_letter_that_is_rejected_later_is_an_error_of_its_batch() -> None:
    """The content is not what was declared: A.2, and the batch is completed with errors."""
    line = Line()
    sender = Sender(line)
    name = next(iter(line.objects.objects))
    line.objects.objects[name] = line.objects.objects[name][:-1] + b"\x00"
    batch = await sender.submit([sender.letter("r-1")])
    await line.run("ingest")
    await settled(line)
    assert sender.row(batch).state == "processing"  # nobody knows yet
    await line.run("encrypt", *PROOF, "archive")
    await settled(line)
    assert sender.row(batch).state == "completed_with_errors"


async def test_lines_are_judged_one_by_one() -> None:
    """A line that is no letter has its own result; a reference names one letter, whoever is first."""
    line = Line()
    sender = Sender(line)
    same = sender.letter("r-1")
    batch = await sender.submit(
        [same, sender.letter("r-2", subject=""), same, {**same, "subject": "other"}, sender.letter("r-3", documents=[])]
    )
    await line.run("ingest")
    assert sender.told(batch) == ["accepted", "field_invalid", "replayed", "client_ref_conflict", "field_invalid"]
    assert len(line.database.tables.deliveries()) == 1
    again = await sender.submit([same, sender.letter("r-2")])
    await line.run("ingest")
    assert sender.told(again) == ["replayed", "accepted"]


async def test_batches_take_turns() -> None:
    """A short batch that came after a long one is not behind all of it."""
    line = Line()
    sender = Sender(line)
    long = await sender.submit(sender.letters(500, "long"))
    short = await sender.submit(sender.letters(3, "short"))
    await line.turn("ingest")
    assert (len(sender.told(long)), len(sender.told(short))) == (200, 3)
    line.database.waiting["ingest"].clear()
    first, second = await sender.submit(sender.letters(300, "a")), await sender.submit(sender.letters(300, "b"))
    third = await sender.submit(sender.letters(300, "c"))
    await line.turn("ingest")
    assert {len(sender.told(b)) for b in (first, second, third)} == {drawing.TURN_LINES_MAX // 3}


async def test_nothing_is_drawn_while_the_next_stages_are_full() -> None:
    """The message waits, and it costs no attempt."""
    line = Line()
    sender = Sender(line)
    for number in range(drawing.BACKLOG_MAX):
        line.database.enqueue("seal", Message(number, 2, "draft", uuid4(), uuid4(), 0, 0, 0, line.clock.now()))
    batch = await sender.submit(sender.letters(3))
    await line.turn("ingest")
    assert sender.told(batch) == []
    [timer] = line.database.timers
    assert (timer.message.subject, timer.message.attempts) == (batch, 0)
    line.database.waiting["seal"].clear()
    line.database.timers = [replace(timer, due_at=line.clock.now())]
    await line.run("ingest")
    assert len(sender.told(batch)) == 3


async def test_two_messages_about_one_batch_draw_once() -> None:
    """An operator put a draw back that was not lost: the two become one."""
    line = Line()
    sender = Sender(line)
    batch = await sender.submit(sender.letters(300))
    await line.emit(Emission(DRAW, batch, lane=BULK))
    await line.turn("ingest")
    assert len(sender.told(batch)) == drawing.DRAW_LINES_MAX
    assert [m.kind for m in line.waiting("ingest")] == [DRAW]


async def test_a_draw_that_comes_late_changes_nothing() -> None:
    """Judged, then taken for dead; another process drew the same lines: the cursor has moved, nothing is doubled."""
    line = Line()
    sender = Sender(line)
    batch = await sender.submit(sender.letters(5))
    [message] = line.waiting("ingest")
    late = [o for o in await drawing.WORK.perform([message], line.ports["ingest"]) if isinstance(o, Done)]
    await line.turn("ingest")
    before = line.database.tables.deliveries()
    async with line.database.transaction() as tx:
        assert await drawing.WORK.commit(tx, late) == []
    assert line.database.tables.deliveries() == before
    assert sender.row(batch).cursor == LineCursor(1, 5)


async def test_a_rival_may_take_a_client_ref_between_judging_and_storing() -> None:
    """Whoever commits first has it: the same letter is replayed, another one a conflict."""
    line = Line()
    sender = Sender(line)
    mine = await sender.submit([sender.letter("r-1"), sender.letter("r-2"), sender.letter("r-3")])
    [message] = line.waiting("ingest")
    late = [o for o in await drawing.WORK.perform([message], line.ports["ingest"]) if isinstance(o, Done)]
    line.database.waiting["ingest"].clear()
    await sender.submit([sender.letter("r-1"), sender.letter("r-3", subject="other")])
    await line.turn("ingest")
    async with line.database.transaction() as tx:
        await tx.emit(await drawing.WORK.commit(tx, late))
    assert sender.told(mine) == ["replayed", "accepted", "client_ref_conflict"]
    assert len(line.database.tables.deliveries()) == 3


async def test_a_cancelled_batch_is_left_alone() -> None:
    """Neither the draw that was under way nor the next one touches it; nothing is retried."""
    line = Line()
    sender = Sender(line)
    batch = await sender.submit(sender.letters(300))
    await line.turn("ingest")
    line.database.bulk.batches[batch] = replace(sender.row(batch), state=CANCELLED)
    await line.run("ingest")
    assert len(sender.told(batch)) == drawing.DRAW_LINES_MAX
    assert (sender.row(batch).state, line.waiting("ingest"), line.database.timers) == (CANCELLED, [], [])


async def test_lines_that_were_lost_are_for_a_person() -> None:
    """A batch whose lines are not all there, or that is not there at all, is a dead letter: nothing is made up."""
    line = Line()
    sender = Sender(line)
    batch = await sender.submit(sender.letters(3))
    line.database.bulk.batches[batch] = replace(sender.row(batch), waiting=())
    await line.emit(Emission(DRAW, uuid4(), lane=BULK), Emission(SETTLE, uuid4(), lane=BULK))
    await line.run("ingest")
    assert sorted(line.dead()) == ["lines of this batch are missing", "no such batch", "no such batch"]
