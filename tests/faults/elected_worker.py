"""Candidates for an election as processes of their own: a nursery that forks them, because starting fifty takes long.

Owns     a candidate that writes a row for each act, over the session that is elected; the nursery
Rules    the nursery is the parent and reaps who it kills, so a number that it gave out names that candidate alone.
         The interval of a row is the server's (test_elected.py makes the table), so that nobody's clock matters
Elsewhere: when who is killed (test_elected.py)

Speaks line by line: `start` -> pid; `kill PID` -> 0, when it is reaped; `stop PID`, `go PID` -> 0
"""

import os
import random
import signal
import sys
from functools import partial
from pathlib import Path

import anyio

from deploy.local.children import die_with_parent
from pipeline.adapters.postgres.elected import ElectedSession
from pipeline.formats.configuration import DatabaseSettings
from pipeline.process import elected
from pipeline.process.elected import Term
from pipeline.process.recorder import Recorder

ROLE = "qerds_events"
ELECTION = "test/elected"
ACTS = ("test", "act")


async def act(session: ElectedSession, term: Term) -> None:
    """One row after the other, each in a transaction of its own."""
    while True:
        await session.link.copy(ACTS, ["term", "process"], [(term.number, os.getpid())])


def live(where: DatabaseSettings, silent_seconds: float) -> None:
    """One candidate, until it is killed."""
    dsn = where.dsn(ROLE)

    async def run() -> None:
        session = ElectedSession(dsn, ELECTION, silent_seconds=silent_seconds)
        await elected.run(session, partial(act, session), anyio.Event(), random.Random().random, Recorder("test"))

    anyio.run(run, backend_options={"use_uvloop": True})


def start(where: DatabaseSettings, silent_seconds: float) -> int:
    """Fork one that dies with this process. Nothing runs here but this thread, so a fork is safe."""
    die_with_nursery = die_with_parent(signal.SIGKILL)
    pid = os.fork()
    if pid:
        return pid
    try:
        die_with_nursery()
        live(where, silent_seconds)
    finally:
        os._exit(1)  # a candidate that ends by itself is a fault, whatever it thinks of it


def main() -> None:
    socket_dir, port, name, password_dir, silent_seconds = sys.argv[1:]
    where = DatabaseSettings(name=name, password_dir=Path(password_dir), socket_dir=Path(socket_dir), port=int(port))
    for request in sys.stdin:
        verb, *pid = request.split()
        answer = 0
        if verb == "start":
            answer = start(where, float(silent_seconds))
        elif verb == "kill":
            os.kill(int(pid[0]), signal.SIGKILL)
            os.waitpid(int(pid[0]), 0)
        else:
            os.kill(int(pid[0]), {"stop": signal.SIGSTOP, "go": signal.SIGCONT}[verb])
        print(answer, flush=True)


if __name__ == "__main__":
    main()
