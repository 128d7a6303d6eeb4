"""The rhythm of the elected measurer: asking, resting, showing.

Owns     how often is measured, that measuring never becomes the load, and what a scrape is shown
Rules    an elected process (pipeline/process/elected.py). The others show nothing but that they are not it; and so does
         the elected one once its term is trusted no more, however it lost it, so that no old number stays for long. A
         statement that takes long is asked seldom: all of them together cost at most a few hundredths of one processor
Crash    nothing is written anywhere; the next elected one begins anew
Elsewhere: what is measured (series.py)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import anyio

from pipeline.measures.series import QUESTIONS, Row
from pipeline.ports.outside import Randomness
from pipeline.process import elected
from pipeline.process.elected import CandidateSession, Term
from pipeline.process.measures import DISK_FREE, DISK_SIZE, OPS_LEADER, OPS_UNANSWERED, Series
from pipeline.process.recorder import Recorder

TURN_SECONDS = 1.0
DISKS_SECONDS = 15.0
REST_FACTOR = 50.0  # a statement of 1 s is asked again after 50 s
FAILED_SECONDS = 300.0  # after one that did not come back
LEADER = OPS_LEADER.of()
UNANSWERED = OPS_UNANSWERED.of()  # what did not come back has no series: somebody must hear of it


class Watch(CandidateSession, Protocol):
    """The database, over the session that may be elected. Raises Transient when that is gone."""

    async def ask(self, name: str, *arguments: Any) -> Sequence[Row]:
        """One named statement of sql/measures.sql."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A disk, by what is on it."""

    name: str
    free_bytes: int
    size_bytes: int


class Volumes(Protocol):
    """The disks of this machine that hold what an installation must not lose."""

    async def volumes(self) -> Sequence[Volume]:
        """Those that answer at once."""


class Disks:
    """What was told of the disks last."""

    def __init__(self, volumes: Volumes) -> None:
        self._volumes = volumes
        self._due = 0.0
        self._told: Series = {}

    async def measure(self) -> Series:
        """Asks when it is due."""
        if anyio.current_time() >= self._due:
            self._told = series_of(await self._volumes.volumes())
            self._due = anyio.current_time() + DISKS_SECONDS - TURN_SECONDS / 2
        return self._told


def series_of(volumes: Sequence[Volume]) -> Series:
    """Free, and of how much."""
    free: Series = {DISK_FREE.of(v.name): float(v.free_bytes) for v in volumes}
    return {**free, **{DISK_SIZE.of(v.name): float(v.size_bytes) for v in volumes}}


class Rounds:
    """When each question is due, and what each has told last. Kept over elections: a slow statement stays seldom."""

    def __init__(self) -> None:
        self._due = dict.fromkeys((question.query for question in QUESTIONS), 0.0)
        self._told: dict[str, Series] = {}

    async def measure(self, watch: Watch) -> Series:
        """Asks what is due; everything that is known now."""
        for question in QUESTIONS:
            began = anyio.current_time()
            if began < self._due[question.query]:
                continue
            self._due[question.query] = began + FAILED_SECONDS  # until it has come back
            self._told.pop(question.query, None)
            rows = await watch.ask(question.query, *question.arguments)
            self._told[question.query] = question.series(rows)
            now = anyio.current_time()
            self._due[question.query] = (
                now + max(question.every_seconds, REST_FACTOR * (now - began)) - TURN_SECONDS / 2
            )
        unanswered = sum(1 for query, due in self._due.items() if due > 0 and query not in self._told)
        series: Series = {LEADER: 1.0, UNANSWERED: float(unanswered)}
        return {**series, **{key: value for answer in self._told.values() for key, value in answer.items()}}


class Measurer:
    """What is shown, and the work of showing it."""

    def __init__(self, watch: Watch, volumes: Volumes) -> None:
        self._watch = watch
        self._rounds, self._disks = Rounds(), Disks(volumes)
        self._term: Term | None = None
        self._known: Series = {}

    def shown(self) -> Series:
        """To a scrape, now."""
        return self._known if self._term is not None and self._term.is_trusted else {LEADER: 0.0}

    async def measure(self, term: Term) -> None:
        """While elected. Leaves by Transient."""
        while True:
            self._known = {**await self._rounds.measure(self._watch), **await self._disks.measure()}
            self._term = term
            await anyio.sleep(TURN_SECONDS)


async def run(
    watch: Watch, volumes: Volumes, draining: anyio.Event, randomness: Randomness, recorder: Recorder
) -> None:
    """Until `draining`; survives a database that goes and comes back."""
    measurer = Measurer(watch, volumes)
    recorder.told = measurer.shown
    await elected.run(watch, measurer.measure, draining, randomness.unit, recorder)
