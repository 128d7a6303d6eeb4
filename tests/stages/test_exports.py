"""archive, in bulk: a batch's proof of deposit and the steps of an export."""

import hashlib
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

import pytest

from pipeline.delivery.facts import Snapshot
from pipeline.delivery.routes import BATCH_PROOF, BULK, EXPORT, Emission
from pipeline.evidence.package.batch_proof import DEPOSITED, LINES_PER_ENTRY, REJECTED, BatchHead, Evidenced, ProvenLine
from pipeline.evidence.verification import Verdict, verify
from pipeline.exports import export
from pipeline.exports.export import STEP_ROWS
from pipeline.exports.facts import BatchProof, ExportStep
from pipeline.exports.ports import BatchStanding, ExportRow, ExportStanding, StoredPackage
from pipeline.ports.bridge import Bridge, wire
from tests.stages.line import BEGAN, PROOF, Line

pytestmark = pytest.mark.anyio
BATCH, ORDER = UUID(int=11), UUID(int=12)
HEAD = BatchHead(BATCH, "March", "non_qualified", "Test Delivery", "Mairie", 1, b"\x01" * 32, BEGAN)


@dataclass
class Denying:
    """A bridge that never seals this package."""

    honest: Bridge[Literal["archive"]]

    async def ask(self, items: Sequence[wire.Item[Any, Literal["archive"]]]) -> Sequence[Any]:
        if items and isinstance(items[0], wire.SealPackage | wire.SealList):
            return [wire.Denied("item_invalid") for _ in items]
        return await self.honest.ask(items)


def proven(number: int) -> ProvenLine:
    """Every tenth line became no letter."""
    if number % 10 == 0:
        return ProvenLine(number, f"r-{number}", REJECTED, None, "email_invalid")
    return ProvenLine(number, f"r-{number}", DEPOSITED, Evidenced(f"{number:014d}", BEGAN, b"\x02" * 32))


def plant_batch(line: Line, lines: list[ProvenLine], head: BatchHead | None = HEAD) -> None:
    line.exports.batches[BATCH] = (BatchStanding(head, is_proven=False), lines)


def proofs(line: Line) -> list[BatchProof]:
    return line.database.tables.of(BatchProof, BATCH)


async def packed(line: Line) -> UUID:
    """A letter that was refused, with its package."""
    delivery = await line.notified()
    line.later(days=17)
    await line.run("expire", *PROOF, "archive")
    return delivery


def row(line: Line, delivery: UUID | None, place: int, decided_at: datetime | None = BEGAN) -> ExportRow:
    """As the database would tell it."""
    if delivery is None:
        return ExportRow(str(place), None, None, "r-none", None, 0, None)
    kept: list[Snapshot] = line.snapshots(delivery)
    package = None
    if kept:
        s = kept[-1]
        package = StoredPackage(s.snapshot, s.object, s.package_bytes, s.sha256, s.sequence_through)
    state = line.database.tables.state(delivery)
    through = 0 if state is None else state[1]
    return ExportRow(str(place), delivery, f"{place:014d}", f"r-{place}", decided_at, through, package)


def plant_export(line: Line, rows: list[ExportRow], *kinds: str, cursor: str = "", steps: int = 0) -> None:
    standing = ExportStanding(
        ORDER, UUID(int=1), BATCH, None, None, frozenset(kinds or ("package",)), steps, cursor, is_done=False
    )
    line.exports.exports[ORDER] = (standing, rows)


async def test_a_batch_gets_one_proof_that_a_verifier_accepts() -> None:
    """Every line is in it, in several entries when there are many, and it holds offline."""
    line = Line()
    plant_batch(line, [proven(n) for n in range(1, LINES_PER_ENTRY + 31)])
    await line.emit(Emission(BATCH_PROOF, BATCH, lane=BULK))
    await line.run("archive")
    [fact] = proofs(line)
    container = line.objects.objects[fact.object]
    assert (fact.lines, fact.proof_bytes) == (LINES_PER_ENTRY + 30, len(container))
    assert fact.sha256 == hashlib.sha256(container).digest()
    report = verify(container, [line.bridge.authority])
    assert report.verdict is Verdict.VALID, report.steps
    assert line.nothing_left()


async def test_a_proof_that_is_there_is_not_made_again() -> None:
    """Nothing is written twice."""
    line = Line()
    plant_batch(line, [proven(1)])
    line.exports.batches[BATCH] = (BatchStanding(HEAD, is_proven=True), [proven(1)])
    await line.emit(Emission(BATCH_PROOF, BATCH))
    await line.run("archive")
    assert (proofs(line), line.objects.objects, line.nothing_left()) == ([], {}, True)


@pytest.mark.parametrize("why", ["open", "unstamped"])
async def test_a_batch_that_is_not_settled_waits(why: str) -> None:
    """A line whose evidence is still under way is waited for, not left out; no attempt is spent."""
    line = Line()
    waiting = ProvenLine(2, None, DEPOSITED, None)
    plant_batch(line, [proven(1), waiting], None if why == "open" else HEAD)
    await line.emit(Emission(BATCH_PROOF, BATCH))
    await line.turn("archive")
    assert (proofs(line), line.objects.objects, line.dead()) == ([], {}, [])
    [timer] = line.database.timers
    assert timer.message.attempts == 0


@pytest.mark.parametrize("trouble", ["bridge", "store"])
async def test_a_proof_that_fails_on_the_way_is_made_again(trouble: str) -> None:
    """Nothing that is not sealed and durable is named by a row."""
    line = Line()
    plant_batch(line, [proven(1)])
    await line.emit(Emission(BATCH_PROOF, BATCH))
    line.bridge.away, line.objects.down = trouble == "bridge", trouble == "store"
    [message] = await line.turn("archive")
    assert (proofs(line), line.objects.objects, line.dead()) == ([], {}, [])
    line.bridge.away = line.objects.down = False
    await line.again(message)
    await line.turn("archive")
    assert len(proofs(line)) == 1


async def test_what_nobody_can_make_is_a_dead_letter() -> None:
    """An unknown batch, an unknown export, a seal that the bridge denies."""
    line = Line()
    await line.emit(Emission(BATCH_PROOF, UUID(int=99)), Emission(EXPORT, UUID(int=99)))
    await line.run("archive")
    assert sorted(line.dead()) == ["no such batch", "no such export"]
    line = Line()
    line.ports["archive"] = replace(line.ports["archive"], bridge=Denying(line.bridge.bridge("archive")))
    plant_batch(line, [proven(1)])
    await line.emit(Emission(BATCH_PROOF, BATCH))
    await line.run("archive")
    assert line.dead() == ["package seal denied: item_invalid"]


def steps(line: Line) -> list[ExportStep]:
    return line.database.tables.of(ExportStep, ORDER)


def opened(line: Line, step: ExportStep) -> zipfile.ZipFile:
    assert step.object is not None
    return zipfile.ZipFile(io.BytesIO(line.objects.objects[step.object]))


async def test_an_export_packs_what_was_packed_before() -> None:
    """The packages as they were stored, the evidence as documents, and a table of which is whose."""
    line = Line()
    delivery = await packed(line)
    plant_export(line, [row(line, delivery, 1), row(line, None, 2)], "package", "evidence")
    await line.emit(Emission(EXPORT, ORDER))
    await line.run("archive")
    [step] = steps(line)
    assert (step.step, step.cursor, step.is_last, step.deliveries) == (1, "2", True, 1)
    number = f"{1:014d}"
    with opened(line, step) as archive:
        names = archive.namelist()
        assert names[:2] == ["index.csv", f"{number}/{number}-1.asice"]
        assert names[2:] == [f"{number}/0{n}-{event}.xml" for n, event in ((1, "A.1"), (2, "C.1"), (3, "C.5"))]
        assert (
            archive.read("index.csv").decode().splitlines()[1].startswith(f"{number},r-1,2026-03-02T09:00:00.000Z,1,")
        )
        assert verify(archive.read(names[1]), [line.bridge.authority]).verdict is Verdict.VALID
    assert line.nothing_left()


async def test_missing_packages_are_made_first() -> None:
    """A letter that rests has no package yet: the export has it made, then takes it."""
    line = Line()
    delivery = await line.notified()
    plant_export(line, [row(line, delivery, 1)])
    await line.emit(Emission(EXPORT, ORDER))
    await line.turn("archive")
    assert (steps(line), [m.kind for m in line.waiting("archive")]) == ([], ["preserve", "export"])
    await line.turn("archive")
    assert len(line.snapshots(delivery)) == 1
    plant_export(line, [row(line, delivery, 1)])
    await line.emit(Emission(EXPORT, ORDER, ordinal=1))
    await line.turn("archive")
    assert [step.deliveries for step in steps(line)] == [1]


async def test_a_package_that_stays_missing_is_waited_for() -> None:
    """The second pass does not ask again: it waits, and spends attempts, so that a person hears of it in the end."""
    line = Line()
    delivery = await line.notified()
    plant_export(line, [row(line, delivery, 1)])
    await line.emit(Emission(EXPORT, ORDER, ordinal=1))
    await line.turn("archive")
    [timer] = [t for t in line.database.timers if t.message.kind == EXPORT]
    assert (steps(line), timer.message.attempts) == ([], 1)


async def test_a_step_is_bounded_and_the_next_follows() -> None:
    """A page at a time; a page with nothing to pack makes no part, and the last one says that it is the last."""
    line = Line()
    plant_export(line, [row(line, None, n) for n in range(1, STEP_ROWS + 2)])
    await line.emit(Emission(EXPORT, ORDER))
    await line.turn("archive")
    [first] = steps(line)
    assert (first.is_last, first.cursor, first.object) == (False, str(STEP_ROWS), None)
    [following] = line.waiting("archive")
    assert (following.kind, following.subject, following.lane) == (EXPORT, ORDER, BULK)
    standing = replace(line.exports.exports[ORDER][0], steps=1, cursor=first.cursor)
    line.exports.exports[ORDER] = (standing, line.exports.exports[ORDER][1])
    await line.turn("archive")
    assert [(s.step, s.is_last) for s in steps(line)] == [(1, False), (2, True)]


async def test_only_what_was_decided_in_the_period_is_packed() -> None:
    """From: included, to: not; and nothing that has no evidence yet."""
    line = Line()
    delivery = await packed(line)
    end = datetime(2026, 3, 3, tzinfo=UTC)
    plant_export(
        line,
        [row(line, delivery, 1), row(line, delivery, 2, end), row(line, delivery, 3, None)],
        "evidence",
    )
    standing, rows = line.exports.exports[ORDER]
    line.exports.exports[ORDER] = (replace(standing, batch=None, from_time=BEGAN, to_time=end), rows)
    await line.emit(Emission(EXPORT, ORDER))
    await line.turn("archive")
    [step] = steps(line)
    with opened(line, step) as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {"index.csv", f"{1:014d}"}


async def test_a_package_that_changed_in_the_store_is_not_passed_on() -> None:
    """The export waits for a person rather than hand out what was not stored."""
    line = Line()
    delivery = await packed(line)
    plant_export(line, [row(line, delivery, 1)])
    [snapshot] = line.snapshots(delivery)
    line.objects.objects[snapshot.object] = b"other bytes"
    await line.emit(Emission(EXPORT, ORDER))
    await line.turn("archive")
    assert steps(line) == []


async def test_the_same_rows_give_the_same_part() -> None:
    """A step done twice, because its commit was lost, writes the same bytes under another name."""
    line = Line()
    delivery = await packed(line)
    plant_export(line, [row(line, delivery, 1)], "package", "evidence")
    await line.emit(Emission(EXPORT, ORDER))
    [message] = await line.turn("archive")
    again = await export.step(message, line.ports["archive"])
    [step] = steps(line)
    assert isinstance(again.fact, ExportStep)  # type: ignore[union-attr]
    assert (again.fact.sha256, again.fact.part_bytes) == (step.sha256, step.part_bytes)  # type: ignore[union-attr]


async def test_work_in_bulk_is_done_one_at_a_time() -> None:
    """Packages that somebody may wait for come first, then one piece of work; the rest go back."""
    line = Line()
    plant_batch(line, [proven(1)])
    plant_export(line, [row(line, None, 1)])
    await line.emit(Emission(BATCH_PROOF, BATCH), Emission(EXPORT, ORDER))
    await line.turn("archive")
    assert (len(proofs(line)), len(steps(line)), len(line.waiting("archive"))) == (1, 0, 1)
    await line.turn("archive")
    assert (len(steps(line)), line.nothing_left()) == (1, True)
