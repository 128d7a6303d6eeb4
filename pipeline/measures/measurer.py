"""The rhythm of the elected measurer: election, asking, resting.

Owns     who measures, how often, and that measuring never becomes the load
Rules    any number of these processes may run; one is elected by a lock that its session holds, the others look again
         each second and export nothing but that they are not it, so that no number is there twice. A statement that
         takes long is asked seldom: all of them together cost at most a few hundredths of one processor
Crash    nothing is written anywhere; the next elected one begins anew
Elsewhere: what is measured (series.py)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import anyio

from pipeline.errors import Transient
from pipeline.measures.series import QUESTIONS, Row
from pipeline.ports.outside import Randomness
from pipeline.process.backoff import retry_seconds
from pipeline.process.measures import DISK_FREE, DISK_SIZE, ELECTIONS_LOST, OPS_LEADER, OPS_UNANSWERED, Series
from pipeline.process.recorder import Recorder

TURN_SECONDS = 1.0
DISKS_SECONDS = 15.0
REST_FACTOR = 50.0  # a statement of 1 s is asked again after 50 s
FAILED_SECONDS = 300.0  # after one that did not come back
PAUSE_SECONDS_MAX = 5.0
LEADER = OPS_LEADER.of()
UNANSWERED = OPS_UNANSWERED.of()  # what did not come back has no series: somebody must hear of it


class Watch(Protocol):
    """The database, over the one session that holds the lock. Raises Transient when that is gone."""

    async def elect(self) -> bool:
        """Whether this session has the lock. Asked only while it does not."""

    async def ask(self, name: str, *arguments: Any) -> Sequence[Row]:
        """One named statement of sql/measures.sql."""

    async def stop(self) -> None:
        """The lock goes with the session."""


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
        known: Series = {LEADER: 1.0, UNANSWERED: float(unanswered)}
        return {**known, **{key: value for told in self._told.values() for key, value in told.items()}}


async def run(
    watch: Watch, volumes: Volumes, draining: anyio.Event, randomness: Randomness, recorder: Recorder
) -> None:
    """Until `draining`; survives a database that goes and comes back."""
    rounds, disks, lost = Rounds(), Disks(volumes), 0
    is_elected = False
    while not draining.is_set():
        try:
            is_elected = is_elected or await watch.elect()
            recorder.is_ready = True
            recorder.ready.set()
            lost = 0
            if is_elected:
                recorder.gauges = {**await rounds.measure(watch), **await disks.measure()}
            else:
                recorder.gauges = {LEADER: 0.0}
            await _pause(TURN_SECONDS, draining)
        except (Transient, TimeoutError):
            recorder.count(ELECTIONS_LOST)
            recorder.is_ready = is_elected = False
            recorder.gauges = {LEADER: 0.0}
            lost += 1
            await _pause(min(retry_seconds(lost, randomness.unit()), PAUSE_SECONDS_MAX), draining)
    await watch.stop()


async def _pause(seconds: float, draining: anyio.Event) -> None:
    with anyio.move_on_after(seconds):
        await draining.wait()
