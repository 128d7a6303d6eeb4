"""The measurer's rhythm over a database that answers, is slow, or does not answer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from pipeline.adapters.volumes import LocalVolumes
from pipeline.errors import Transient
from pipeline.measures.measurer import FAILED_SECONDS, LEADER, TURN_SECONDS, UNANSWERED, Measurer, Rounds, Volume, run
from pipeline.measures.series import Row
from pipeline.process.elected import TRUST_SECONDS, Term
from pipeline.process.measures import DISK_FREE, DISK_SIZE, ELECTIONS_LOST
from pipeline.process.recorder import Recorder
from tests.waiting import until

pytestmark = pytest.mark.anyio
STUCK = "ops_legal_slack"


class Answers:
    """A database with nothing in it; one statement may be stuck."""

    def __init__(self, stuck: str = "") -> None:
        self.stuck = stuck
        self.asked: list[str] = []
        self.proven_at = float("-inf")
        self.stopped = anyio.Event()

    async def elect(self) -> int:
        self.proven_at = anyio.current_time()
        return 1

    async def ask(self, name: str, *arguments: Any) -> Sequence[Row]:
        self.proven_at = anyio.current_time()
        self.asked.append(name)
        if name == self.stuck:
            raise Transient("no answer")
        return []

    async def stop(self) -> None:
        self.stopped.set()


class Disks:
    """One disk, asked so often."""

    def __init__(self) -> None:
        self.asked = 0

    async def volumes(self) -> Sequence[Volume]:
        self.asked += 1
        return [Volume("objects", free_bytes=10, size_bytes=100)]


class Middle:
    """Half of every range."""

    def random_bytes(self, count: int) -> bytes:
        return bytes(count)

    def unit(self) -> float:
        return 0.5


async def test_a_measure_without_an_answer_is_told_and_left_alone_for_a_while() -> None:
    """Its series is missing, which no alert on it would notice; the others go on at the next election."""
    rounds, watch = Rounds(), Answers(STUCK)
    with pytest.raises(Transient):
        await rounds.measure(watch)
    told = await rounds.measure(watch)
    assert (told[LEADER], told[UNANSWERED]) == (1.0, 1.0)
    assert watch.asked.count(STUCK) == 1
    assert FAILED_SECONDS > 60


async def test_nothing_is_unanswered_when_all_answer() -> None:
    """And what is not due is not asked again."""
    rounds, watch = Rounds(), Answers()
    assert (await rounds.measure(watch))[UNANSWERED] == 0.0
    asked = len(watch.asked)
    assert (await rounds.measure(watch))[UNANSWERED] == 0.0
    assert len(watch.asked) == asked


async def test_the_elected_one_tells_of_the_disks_too() -> None:
    """Seldom: they do not fill up within a second."""
    recorder, draining, disks = Recorder("ops", write=lambda _: None), anyio.Event(), Disks()
    with anyio.fail_after(10 * TURN_SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, Answers(), disks, draining, Middle(), recorder)

            async def is_measuring() -> bool:
                return recorder.told().get(LEADER) == 1.0

            await until(is_measuring, 5)
            shown = recorder.told()
            draining.set()
    assert shown[DISK_FREE.of("objects")] == 10
    assert shown[DISK_SIZE.of("objects")] == 100
    assert disks.asked == 1


async def test_old_numbers_are_not_shown() -> None:
    """When its session has not answered for as long as a term is trusted, though nobody has said that it is gone."""
    watch = Answers()
    measurer = Measurer(watch, Disks())
    with anyio.fail_after(10 * TURN_SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(measurer.measure, Term(1, watch))

            async def is_measuring() -> bool:
                return measurer.shown()[LEADER] == 1.0

            await until(is_measuring, 5)
            watch.proven_at -= TRUST_SECONDS
            assert measurer.shown() == {LEADER: 0.0}
            tasks.cancel_scope.cancel()


async def test_a_folder_that_is_not_there_has_no_series(tmp_path: Path) -> None:
    """The measurer may run on a machine without the objects; where it does not, free is less than all."""
    [there] = await LocalVolumes({"objects": tmp_path, "bridge": tmp_path / "absent"}).volumes()
    assert there.name == "objects"
    assert 0 < there.free_bytes <= there.size_bytes


async def test_a_loss_is_shown_and_the_drain_ends_it() -> None:
    """Between two elections the process says that it measures nothing; a drain closes the session."""
    recorder, draining, watch = Recorder("ops", write=lambda _: None), anyio.Event(), Answers("ops_depths")
    with anyio.fail_after(10 * TURN_SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, watch, Disks(), draining, Middle(), recorder)
            await recorder.ready.wait()
            draining.set()
            await watch.stopped.wait()
    assert recorder.counts[ELECTIONS_LOST.of()] == 1
    assert recorder.told() == {LEADER: 0.0}
