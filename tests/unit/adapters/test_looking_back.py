"""Numbers become visible in another order than they are drawn: who looks from a number on finds each row all the same.

A row that commits late has a lower number than rows that were taken long ago. In virtual time, under a stream that
never leaves the taker idle, each late row is taken, the sooner the less late it is.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import anyio
import pytest

from pipeline.adapters.postgres.link import Link
from pipeline.adapters.postgres.mailbox import (
    FULL_SWEEP_SECONDS,
    LANES,
    LANES_ALONE,
    SWEEP_LAG_SECONDS,
    SWEEP_SECONDS,
    TAKE_LAG_SECONDS,
    PostgresMailbox,
)
from pipeline.adapters.postgres.sequencer import FULL_SECONDS, WATERMARK_SECONDS, LookBack
from pipeline.formats.database_address import Dsn
from pipeline.process.recorder import Recorder
from tests.simulation.schedule import run_seeded
from tests.waiting import instant

STEP_SECONDS = 0.1  # between two takes
RUN_SECONDS = 120.0
BEGIN_SECONDS = 40.0  # the late ones draw their numbers here: the first look at everything is over
AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SWEEP_SECONDS_MAX = SWEEP_SECONDS * 1.2


@dataclass
class Rows:
    """Number to the time from which it is visible."""

    lane: int
    visible_at: dict[int, float] = field(default_factory=dict)
    taken_at: dict[int, float] = field(default_factory=dict)

    def add(self, visible_at: float) -> int:
        number = len(self.visible_at) + len(self.taken_at) + 1
        self.visible_at[number] = visible_at
        return number

    def take(self, lowest: int, now: float) -> list[int]:
        numbers = sorted(n for n, at in self.visible_at.items() if n >= lowest and at <= now)
        for number in numbers:
            del self.visible_at[number]
            self.taken_at[number] = now
        return numbers


class TakingLink(Link):
    """A session that answers a mailbox's takes from `rows`, and nothing else with anything."""

    def __init__(self, dsn: Dsn, rows: Rows) -> None:
        super().__init__(dsn)
        self._rows = rows

    async def call(self, name: str, *arguments: Any) -> list[Any]:
        now = anyio.current_time()
        if name == "take@seal":
            lanes, lows, *_ = arguments
            lows_of = dict(zip(lanes, lows, strict=True))
            numbers = self._rows.take(lows_of[self._rows.lane], now) if self._rows.lane in lows_of else []
            return [message(number, self._rows.lane) for number in numbers]
        if name == "stage_standing":
            return [{"paused": False, "now": AT}]
        return [{"rows": 0, "epochs": 0}]


def message(number: int, lane: int) -> dict[str, object]:
    names = {"kind": "draft", "subject": uuid4(), "evidence": None, "ordinal": 0, "attempts": 0, "rescues": 0}
    return {"id": number, "lane": lane, "enqueued_at": AT, **names}


class Chance:
    """Sweeps as far apart as they ever are."""

    def unit(self) -> float:
        return 1.0

    def random_bytes(self, count: int) -> bytes:
        return bytes(count)


async def late_row(rows: Rows, late_seconds: float, take: Callable[[], Any]) -> float:
    """A stream of rows, each visible at once, and one that is late by so much: after what time it was taken."""
    began, late = anyio.current_time(), 0
    while (now := anyio.current_time()) < began + RUN_SECONDS:
        if not late and now >= began + BEGIN_SECONDS:
            late = rows.add(now + late_seconds)
            due = now + late_seconds
        rows.add(now)
        await take()
        await instant(STEP_SECONDS)
    return rows.taken_at.get(late, float("inf")) - due


async def of_a_mailbox(lane: int, late_seconds: float) -> float:
    rows, dsn = Rows(lane), Dsn((), "none", "nobody", str)
    box = PostgresMailbox(dsn, TakingLink(dsn, rows), "seal", "test", Chance(), Recorder("seal", lambda _: None))

    async def take() -> None:
        await box.sweep()
        await box.take(10)

    return await late_row(rows, late_seconds, take)


async def of_a_sequencer(late_seconds: float) -> float:
    rows, look_back = Rows(0), LookBack()

    async def take() -> None:
        now = anyio.current_time()
        if numbers := rows.take(look_back.lowest(now), now):
            look_back.saw(now, numbers[-1])

    return await late_row(rows, late_seconds, take)


@pytest.mark.parametrize("lane", [*LANES, *LANES_ALONE])
@pytest.mark.parametrize(
    ("late_seconds", "within_seconds"),
    [
        (TAKE_LAG_SECONDS - 2 * STEP_SECONDS, 2 * STEP_SECONDS),
        (SWEEP_LAG_SECONDS - 1, SWEEP_SECONDS_MAX + 2 * STEP_SECONDS),
        (SWEEP_LAG_SECONDS + 20, FULL_SWEEP_SECONDS + SWEEP_SECONDS_MAX + 2 * STEP_SECONDS),
    ],
)
def test_a_take_finds_who_commits_late(lane: int, late_seconds: float, within_seconds: float) -> None:
    """Half a second back at each take, twenty at each sweep, at everything each half minute."""
    assert run_seeded(1, of_a_mailbox, lane, late_seconds) <= within_seconds


@pytest.mark.parametrize(
    ("late_seconds", "within_seconds"),
    [(WATERMARK_SECONDS - 1, 2 * STEP_SECONDS), (WATERMARK_SECONDS + 20, FULL_SECONDS + 2 * STEP_SECONDS)],
)
def test_a_sequencer_finds_who_commits_late(late_seconds: float, within_seconds: float) -> None:
    """Twenty seconds back each time, at everything each half minute."""
    assert run_seeded(1, of_a_sequencer, late_seconds) <= within_seconds


def test_who_looks_back_does_not_walk_over_all_that_is_gone() -> None:
    """Rows that were placed long ago are not looked at, but each half minute."""
    look_back = LookBack()
    for second in range(100):
        look_back.lowest(float(second))
        look_back.saw(float(second), second)
    assert [look_back.lowest(at) for at in (100.0, 119.0, 120.0)] == [80, 99, 0]
