"""archive: numbered package snapshots."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal
from uuid import UUID, uuid4

import pytest

from pipeline.delivery.routes import PRESERVE, Emission
from pipeline.errors import Invariant
from pipeline.ports.bridge import Bridge, wire
from tests.stages.line import PROOF, Line

pytestmark = pytest.mark.anyio


@dataclass
class Stubborn:
    """A bridge that answers package seals as it is told, and stamps honestly."""

    honest: Bridge[Literal["archive"]]
    seal: wire.Sealed | wire.Denied | None = None
    stamp: wire.Denied | None = None

    async def ask(self, items: Sequence[wire.Item[Any, Literal["archive"]]]) -> Sequence[Any]:
        told = self.stamp if items and isinstance(items[0], wire.TimeStamp) else self.seal
        return await self.honest.ask(items) if told is None else [told for _ in items]


async def accepted(line: Line) -> UUID:
    delivery = await line.notified()
    await line.accept(delivery)
    await line.run(*PROOF)
    return delivery


async def test_a_package_holds_the_stamped_prefix() -> None:
    """The first snapshot is stored before its row says so, and covers every proof there is."""
    line = Line()
    delivery = await accepted(line)
    await line.run("archive")
    [snapshot] = line.snapshots(delivery)
    container = line.objects.objects[snapshot.object]
    assert (snapshot.snapshot, snapshot.sequence_through, snapshot.previous_sha256) == (1, 4, None)
    assert snapshot.sha256 == hashlib.sha256(container).digest()
    assert line.nothing_left()


async def test_snapshots_are_chained() -> None:
    """The second names the first by its digest, and holds more."""
    line = Line()
    delivery = await accepted(line)
    await line.run("archive")
    line.later(days=366)
    await line.run("expire", *PROOF, "archive")
    first, second = line.snapshots(delivery)
    assert (second.snapshot, second.sequence_through, second.previous_sha256) == (2, 5, first.sha256)


async def test_what_is_preserved_already_is_not_packed_again() -> None:
    """Asked twice, in one batch or later: one package."""
    line = Line()
    delivery = await accepted(line)
    await line.emit(Emission(PRESERVE, delivery))
    await line.run("archive")
    await line.emit(Emission(PRESERVE, delivery))
    await line.run("archive")
    assert len(line.snapshots(delivery)) == 1
    assert line.nothing_left()


@pytest.mark.parametrize("trouble", ["bridge", "answer", "store", "stamp"])
async def test_what_fails_on_the_way_is_done_again(trouble: str) -> None:
    """No row names a package that is not durable; a try that failed leaves at most an object that no row names."""
    line = Line()
    delivery = await accepted(line)
    honest = line.ports["archive"]
    line.bridge.away, line.bridge.lose_answers = trouble == "bridge", int(trouble == "answer")
    line.objects.down = trouble == "store"
    if trouble == "stamp":
        stubborn = Stubborn(line.bridge.bridge("archive"), stamp=wire.Denied("clock_behind"))
        line.ports["archive"] = replace(honest, bridge=stubborn)
    [message] = await line.turn("archive")
    assert (line.snapshots(delivery), line.dead()) == ([], [])
    line.bridge.away = line.objects.down = False
    line.ports["archive"] = honest
    await line.again(message)
    await line.turn("archive")
    assert len(line.snapshots(delivery)) == 1


@pytest.mark.parametrize("code", sorted(wire.CLOCK_CODES))
@pytest.mark.parametrize("step", ["seal", "stamp"])
async def test_a_package_waits_for_the_bridges_clock(code: str, step: str) -> None:
    """A signing time that the bridge has not reached is no fault of the package."""
    line = Line()
    delivery = await accepted(line)
    stubborn = Stubborn(line.bridge.bridge("archive"), **{step: wire.Denied(code)})
    line.ports["archive"] = replace(line.ports["archive"], bridge=stubborn)
    await line.turn("archive")
    [timer] = [t for t in line.database.timers if t.stage == "archive"]
    assert (timer.message.attempts, line.dead(), line.snapshots(delivery)) == (0, [], [])


class Picky(Stubborn):
    """Says no to the first package alone."""

    async def ask(self, items: Sequence[wire.Item[Any, Literal["archive"]]]) -> Sequence[Any]:
        answers = list(await self.honest.ask(items))
        if self.seal is not None and items and not isinstance(items[0], wire.TimeStamp):
            answers[0] = self.seal
        if self.stamp is not None and items and isinstance(items[0], wire.TimeStamp):
            answers[0] = self.stamp
        return answers


@pytest.mark.parametrize(
    ("step", "code"),
    [
        *product(["seal", "stamp"], sorted(wire.CLOCK_CODES)),
        ("seal", "signing_time_past"),
        ("seal", "package_invalid"),
    ],
)
async def test_what_the_bridge_says_of_one_package_harms_no_neighbour(step: str, code: str) -> None:
    """Its neighbours in the batch are made at once; it waits, is packed again, or is a dead letter."""
    line = Line()
    letters = [await accepted(line) for _ in range(3)]
    picky = Picky(line.bridge.bridge("archive"), **{step: wire.Denied(code)})
    line.ports["archive"] = replace(line.ports["archive"], bridge=picky)
    await line.turn("archive")
    assert sorted(len(line.snapshots(letter)) for letter in letters) == [0, 1, 1]
    waiting = [t.message.attempts for t in line.database.timers if t.stage == "archive"]
    assert (waiting, len(line.dead())) == {
        "package_invalid": ([], 1),
        "signing_time_past": ([1], 0),
    }.get(code, ([0], 0))


async def test_a_package_that_the_bridge_denies_is_a_dead_letter() -> None:
    """No attempt can change a no; the proofs themselves are not touched."""
    line = Line()
    delivery = await accepted(line)
    stubborn = Stubborn(line.bridge.bridge("archive"), wire.Denied("item_invalid"))
    line.ports["archive"] = replace(line.ports["archive"], bridge=stubborn)
    await line.turn("archive")
    assert (line.dead(), line.state(delivery)) == (["package seal denied: item_invalid"], "accepted")


async def test_a_package_seal_that_does_not_verify_stops_the_process() -> None:
    """Nothing is stored that a verifier would refuse."""
    line = Line()
    delivery = await accepted(line)
    stubborn = Stubborn(line.bridge.bridge("archive"), wire.Sealed("seal-2026-1", bytes(63) + b"\x01"))
    line.ports["archive"] = replace(line.ports["archive"], bridge=stubborn)
    with pytest.raises(Invariant):
        await line.turn("archive")
    assert line.snapshots(delivery) == []


async def test_an_unknown_delivery_is_a_dead_letter() -> None:
    """An address without a row is for a person."""
    line = Line()
    await line.emit(Emission(PRESERVE, uuid4()))
    await line.turn("archive")
    assert line.dead() == ["no such delivery"]
