"""Clocks that are wrong, on any host, at any point of a letter's life: nothing INVALID, nothing lost, nothing dead.

Whose clocks say when something happened: the database's (every event), the bridge's (receipts, seals), an authority's
(tokens). A stage and the gateway have none to be wrong.
"""

from collections.abc import Awaitable, Callable
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from gateway.portal.ports import PortalPorts
from pipeline.delivery.deadlines import WINDOW_DAYS
from pipeline.errors import Transient
from pipeline.evidence.verification import Verdict, verify
from pipeline.process.measures import STAGE_MESSAGES
from tests.stages.line import PROOF, Line

pytestmark = pytest.mark.anyio

HOUR = 3600
HOSTS = ("database", "bridge", "authority")
SKEWS = (-HOUR, -2, -1, 1, 2, HOUR)  # seconds
UNDER_SKEW = 3  # steps until the clock is right again
Step = Callable[[], Awaitable[None]]


class Life:
    """One letter whose hosts have clocks of their own."""

    def __init__(self, end: str) -> None:
        self.skew = dict.fromkeys(HOSTS, timedelta())
        self.line = line = Line()
        line.bridge._legal_now = lambda: self.now("bridge")
        line.bridge.database_now = line.clock.legal_now
        elsewhere = line.bridge.on_another_host(lambda: self.now("authority"))
        line.ports["timestamp"] = replace(line.ports["timestamp"], authority=elsewhere.bridge("timestamp"))
        self.end = end
        self.delivery: UUID | None = None
        proof: tuple[Step, ...] = (self.turn("seal"), self.turn("timestamp"))
        self.steps: tuple[Step, ...] = (
            self.submit,
            self.turn("ingest", "encrypt"),
            *proof,
            self.turn("notify"),
            *proof,
            self.decide,
            *proof,
            self.turn("archive"),
        )

    def now(self, host: str) -> Any:
        """The true time is the database's but for its own skew."""
        return self.line.clock.legal_now() - self.skew["database"] + self.skew[host]

    def set(self, host: str, seconds: float) -> None:
        if host == "database":
            self.line.later(seconds=seconds - self.skew[host].total_seconds())
        self.skew[host] = timedelta(seconds=seconds)

    async def submit(self) -> None:
        self.delivery = await self.line.submit()

    def turn(self, *names: str) -> Step:
        async def run() -> None:
            await self.line.run(*names)

        return run

    async def decide(self) -> None:
        """Nobody decides without an answer: what was not recorded is tried again."""
        if self.delivery is None or self.line.state(self.delivery) != "notified":
            return
        if self.end == "accepted":
            try:
                await self.line.accept(self.delivery)
            except Transient:
                return  # the page says that nothing was recorded
        else:
            self.line.later(days=WINDOW_DAYS + 2)
            await self.line.run("expire")

    async def settle(self) -> None:
        """The clocks are right, and everything that waited is due: at once, while events may still be an hour ahead,
        and after each of some hours."""
        line = self.line
        for passed in (0, HOUR + 60, HOUR + 60, HOUR + 60):
            line.later(seconds=passed)
            line.database.timers = [
                t if t.is_legal else replace(t, due_at=line.clock.now()) for t in line.database.timers
            ]
            await line.run("ingest", "encrypt", "notify", *PROOF)
            assert self.delivery is not None
            if "C.3" not in line.events(self.delivery):
                await self.decide()
            await line.run(*PROOF, "archive")


@pytest.mark.parametrize("seconds", SKEWS)
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("end", ["accepted", "unclaimed"])
async def test_a_wrong_clock_makes_nobody_wait_for_ever_and_no_proof_invalid(end: str, host: str, seconds: int) -> None:
    """The clock steps at any point of a life, back or ahead, and is set right later: the letter is proved to its end,
    in order, or waits with an alarm until then; never a dead letter, never a proof that does not verify."""
    waits = 0
    for point in range(len(Life(end).steps)):
        life = Life(end)
        for number, step in enumerate(life.steps):
            life.set(host, seconds if point <= number < point + UNDER_SKEW else 0)
            await step()
        life.set(host, 0)
        line, delivery = life.line, life.delivery
        assert delivery is not None
        was_done = line.state(delivery) == end
        alarms = line.recorder.counts.get((STAGE_MESSAGES, ("clock",)), 0)
        waits += alarms > 0
        await life.settle()
        assert (line.state(delivery), line.dead(), line.errors) == (end, [], []), (point, was_done, alarms)
        times = [evidence.event_time for evidence in line.database.tables.drafts(delivery)]
        assert times == sorted(times)
        for snapshot in line.snapshots(delivery):
            report = verify(line.objects.objects[snapshot.object], (line.bridge.authority,))
            assert (report.verdict, report.failed_check) == (Verdict.VALID, None), (point, report.steps[-1])
        assert line.snapshots(delivery)[-1].sequence_through == len(times)
    assert waits > 0 or abs(seconds) <= 1  # an alarm told of it


async def test_no_stage_and_no_portal_has_a_clock_to_be_wrong() -> None:
    """What they state has the database's time, read under the lock."""
    for name, ports in Line().ports.items():
        assert not [field.name for field in fields(ports) if "clock" in field.name.lower()], name
    assert not {name for name in dir(PortalPorts) if "clock" in name}
