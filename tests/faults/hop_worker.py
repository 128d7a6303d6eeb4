"""Worker processes for the fence tests: the real loop over real mailboxes, with hops that do nothing but hand on.

Owns     three trivial stages, and a nursery that forks workers, because starting two hundred interpreters costs minutes
Rules    the nursery is the parent and reaps only when told to, so a number it gave out names that worker and no other.
         A killed worker that is not reaped yet still has its /proc entry: its rows wait for the lease, as on another
         host; a reaped one is seen to be dead at once by whoever comes next
Elsewhere: when who is killed (test_fence.py)

Speaks line by line: `start STAGE` -> pid; `kill PID` -> 0; `reap PID` -> how it ended, by waitpid's exit code
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from deploy.local.children import die_with_parent
from pipeline.actors import loop
from pipeline.actors.contract import Done, Outcome, Retry, Stage, Work
from pipeline.adapters.ids import SystemRandomness
from pipeline.adapters.postgres.link import Link
from pipeline.adapters.postgres.mailbox import PostgresMailbox
from pipeline.delivery.routes import CHECKED, DRAFT, SEALED, SUBMITTED, Emission
from pipeline.errors import LeaseLost
from pipeline.formats.configuration import DatabaseSettings
from pipeline.ports.mailbox import Message, Tx
from pipeline.process.recorder import Recorder
from tests.waiting import instant

HOPS = {"ingest": (SUBMITTED, CHECKED), "encrypt": (CHECKED, DRAFT), "seal": (DRAFT, SEALED)}
SINK = "timestamp"  # nobody empties this one: it is where deliveries are counted
BATCH_MAX = 25  # messages; small, so that a backlog is many batches and a kill falls between two commits
OUTSIDE_SECONDS = 0.010  # what a hop's outside work takes: kills fall into it too
RETRIED_ONE_IN = 23  # deliveries that go through a timer once a hop
RETRY_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Job:
    """Where the mailboxes are, and how long a silent worker lives."""

    database: DatabaseSettings
    lease_seconds: float


def hop(name: str) -> Stage[object, None, Tx]:
    """A stage that hands on; some messages only at the second try, so that timers take part."""
    receives, emits = HOPS[name]

    async def perform(batch: Sequence[Message], _ports: object) -> list[Outcome[None]]:
        await instant(OUTSIDE_SECONDS)
        return [Retry(m, "once", RETRY_SECONDS) if is_retried(m) else Done(m, None) for m in batch]

    async def commit(_tx: Tx, done: Sequence[Done[None]]) -> list[Emission]:
        return [Emission(emits, d.message.subject) for d in done]

    return Stage(name, Work(frozenset({receives}), perform, commit), BATCH_MAX)


def is_retried(message: Message) -> bool:
    return message.attempts == 0 and message.subject.int % RETRIED_ONE_IN == 0


def live(job: Job, name: str) -> None:
    """One worker, until it is killed."""
    dsn = job.database.dsn(f"qerds_{name}")
    randomness, recorder = SystemRandomness(), Recorder(name)
    mailbox = PostgresMailbox(dsn, Link(dsn, LeaseLost), name, "test", randomness, recorder, job.lease_seconds)

    async def run() -> None:
        await loop.run(hop(name), mailbox, None, anyio.Event(), randomness, recorder)

    anyio.run(run, backend_options={"use_uvloop": True})


def start(job: Job, name: str) -> int:
    """Fork a worker that dies with this process. Nothing runs here but this thread, so a fork is safe."""
    die_with_nursery = die_with_parent(signal.SIGKILL)
    pid = os.fork()
    if pid:
        return pid
    try:
        die_with_nursery()
        live(job, name)
    finally:
        os._exit(1)  # a worker that ends by itself is a fault, whatever it thinks of it


def answer(job: Job, request: str) -> str:
    verb, argument = request.split()
    if verb == "start":
        return str(start(job, argument))
    if verb == "kill":
        os.kill(int(argument), signal.SIGKILL)
        return "0"
    _, status = os.waitpid(int(argument), 0)
    return str(os.waitstatus_to_exitcode(status))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("socket_dir", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("name")
    parser.add_argument("password_dir", type=Path)
    parser.add_argument("lease_seconds", type=float)
    given = parser.parse_args()
    where = DatabaseSettings(
        socket_dir=given.socket_dir, port=given.port, name=given.name, password_dir=given.password_dir
    )
    job = Job(where, given.lease_seconds)
    for request in sys.stdin:
        print(answer(job, request), flush=True)


if __name__ == "__main__":
    main()
