"""The measurer's rhythm over a database that answers, is slow, or does not answer."""

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from pipeline.errors import Transient
from pipeline.ops.measures import Row
from pipeline.ops.service import FAILED_SECONDS, LEADER, TURN_SECONDS, UNANSWERED, Rounds, run
from pipeline.recorder import Recorder

pytestmark = pytest.mark.anyio
STUCK = "ops_legal_slack"


class Answers:
    """A database with nothing in it; one statement may be stuck."""

    def __init__(self, stuck: str = "") -> None:
        self.stuck = stuck
        self.asked: list[str] = []
        self.stopped = anyio.Event()

    async def elect(self) -> bool:
        return True

    async def ask(self, name: str, *arguments: Any) -> Sequence[Row]:
        self.asked.append(name)
        if name == self.stuck:
            raise Transient("no answer")
        return []

    async def stop(self) -> None:
        self.stopped.set()


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


async def test_a_loss_is_shown_and_the_drain_ends_it() -> None:
    """Between two elections the process says that it measures nothing; a drain closes the session."""
    recorder, draining, watch = Recorder("ops", write=lambda _: None), anyio.Event(), Answers("ops_depths")
    with anyio.fail_after(10 * TURN_SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, watch, draining, Middle(), recorder)
            await recorder.ready.wait()
            draining.set()
            await watch.stopped.wait()
    assert recorder.counts["elections_lost", ""] == 1
    assert recorder.gauges == {LEADER: 0.0}
