"""Verify the proofs of every delivery, page by page, in as many processes as may be used.

Owns     the processes, the pages in flight and their order. Pages are read here, some of them ahead, and verified there
Rules    constant memory: a page holds its place until every page before it is told, and there are two places a
         process, one of them for the page that is read ahead. What is found comes in order of delivery, whoever was
         quicker. A process that dies or stumbles ends the check: no answer is better than half of one. Processes are
         started when there is work for them, and killed when the check is: what they do is only looking
Elsewhere: what is verified (ledger_proofs.py), whom it is told (ledger.py)
"""

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import anyio
import anyio.to_process
import anyio.to_thread

from pipeline.operate.command import Questions, VerbRefused
from pipeline.operate.ledger_proofs import Row, Violation, check_page

VIOLATIONS_MAX = 100  # told per predicate
PAGE_DELIVERIES = 100  # of some three evidences of some 6 KiB: a tenth of a second to verify, and to wait for
PAGES_PER_JOB = 2  # in flight: one is verified, one waits for it
JOBS_MAX = 64
DIED = "a process that verifies proofs died; is there enough memory? --jobs 1 needs the least"


def jobs_here() -> int:
    """The processors that this process may use."""
    return min(len(os.sched_getaffinity(0)), JOBS_MAX)


@dataclass(slots=True)
class CheckProgress:
    """How far the check is, for who waits for it."""

    deliveries: int = 0
    of_deliveries: int = 0
    queries: int = 0
    of_queries: int = 0

    def __str__(self) -> str:
        return (
            f"{self.deliveries:,} of {self.of_deliveries:,} deliveries verified, "
            f"{self.queries} of {self.of_queries} queries answered"
        )


@dataclass(slots=True)
class Tally:
    """Violations in the order in which they are told, at most VIOLATIONS_MAX per predicate."""

    violations: list[Violation] = field(default_factory=list)
    counted: dict[str, int] = field(default_factory=dict)

    def tell(self, violations: Sequence[Violation]) -> None:
        for violation in violations:
            before = self.counted.get(violation.predicate, 0)
            self.counted[violation.predicate] = before + 1
            if before < VIOLATIONS_MAX:
                self.violations.append(violation)


class Verifiers:
    """Processes, or, for one job, a thread: reading goes on beside it all the same."""

    def __init__(self, jobs: int) -> None:
        self._are_processes = jobs > 1
        self._limit = anyio.CapacityLimiter(jobs)

    async def start(self) -> None:
        """All at once, so that each call finds none idle and starts one."""
        if self._are_processes:
            async with anyio.create_task_group() as tasks:
                for _ in range(int(self._limit.total_tokens)):
                    tasks.start_soon(self._start_one)

    async def check(self, rows: Sequence[Row], anchors: tuple[bytes, ...]) -> list[Violation]:
        """The violations of a page. Raises VerbRefused when a process died, and whatever the reader stumbles on."""
        try:
            if self._are_processes:
                return await anyio.to_process.run_sync(check_page, rows, anchors, cancellable=True, limiter=self._limit)
            return await anyio.to_thread.run_sync(check_page, rows, anchors, limiter=self._limit)
        except anyio.BrokenWorkerProcess as error:
            raise VerbRefused(DIED) from error

    async def _start_one(self) -> None:
        try:
            await anyio.to_process.run_sync(_leave_interrupts, cancellable=True, limiter=self._limit)
        except anyio.BrokenWorkerProcess as error:
            raise VerbRefused(DIED) from error


def _leave_interrupts() -> None:
    """In a new process: Ctrl-C at a terminal reaches every process of the command, and is the first one's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class PagesInFlight:
    """The pages in flight. Each is told when all before it are."""

    def __init__(
        self, verifiers: Verifiers, jobs: int, anchors: Sequence[bytes], tally: Tally, progress: CheckProgress
    ) -> None:
        self.places = anyio.Semaphore(jobs * PAGES_PER_JOB - 1)  # what is being read has one too
        self._verifiers = verifiers
        self._anchors = tuple(anchors)
        self._told = tally
        self._progress = progress
        self._verified: dict[int, tuple[int, list[Violation]]] = {}
        self._next = 0

    async def verify(self, number: int, deliveries: int, rows: Sequence[Row]) -> None:
        """Raises as `Verifiers.check` does."""
        self._verified[number] = deliveries, await self._verifiers.check(rows, self._anchors)
        while self._next in self._verified:
            done, violations = self._verified.pop(self._next)
            self._told.tell(violations)
            self._progress.deliveries += done
            self._next += 1
            self.places.release()


async def verify_pages(
    database: Questions,
    anchors: Sequence[bytes],
    jobs: int,
    page_deliveries: int,
    progress: CheckProgress,
    started: anyio.Event | None = None,
) -> list[Violation]:
    """What the proofs of all deliveries break; `started` is set once every process is there.

    Raises Transient, VerbRefused, and whatever a proof makes its reader stumble on.
    """
    [counted] = await database.fetch("ledger_deliveries")
    progress.of_deliveries = counted["deliveries"]
    jobs = max(1, min(jobs, -(-progress.of_deliveries // page_deliveries)))
    tally, last, number = Tally(), UUID(int=0), 0
    verifiers = Verifiers(jobs)
    await verifiers.start()
    if started is not None:
        started.set()
    pages = PagesInFlight(verifiers, jobs, anchors, tally, progress)
    async with anyio.create_task_group() as tasks:
        while page := await _read(database, last, page_deliveries):
            deliveries = {row["delivery"] for row in page}
            tasks.start_soon(pages.verify, number, len(deliveries), page)
            last, number = max(deliveries), number + 1
            await pages.places.acquire()
    return tally.violations


async def _read(database: Questions, last: UUID, page_deliveries: int) -> Sequence[Row]:
    """The deliveries after `last`. Inside a transaction, so that it can be interrupted."""
    async with database.transaction() as rows:
        page = await rows.fetch("ledger_page", last, page_deliveries)
        proofs = await rows.fetch("ledger_proofs", [row["delivery"] for row in page]) if page else []
    return [dict(row) for row in proofs]  # what can be sent to a process
