"""The one main of every process: from its first line to its exit status.

Owns     signals, readiness towards the supervisor, the health port, the drain and its deadline, the exit status, and
         that no core is dumped (cores.py)
Life     1 the work begins; 2 it says that it is ready: READY=1; 3 the first SIGTERM or SIGINT: STOPPING=1, and
         `draining` is set; the work finishes what it has in hands and returns
Drain    its deadline cuts the work where it waits. What that had not committed is as after a crash, which everything
         here survives. A second signal kills at once, by its default action: a loop that hangs cannot prevent it
Status   0 drained; 70 an invariant does not hold; 75 the deadline cut the drain; what the process says of errors of its
         own, with one line for a person; anything else is a traceback and 1
Elsewhere: what the work is; what is answered on the health port (health.py); who starts it again (a supervisor)
"""

import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskStatus

from pipeline.errors import Invariant
from pipeline.process import cores, escapes, health
from pipeline.process.readiness import notify
from pipeline.process.recorder import Recorder

HEALTH_PORT = "QERDS_HEALTH_PORT"  # where it is not set, nobody is answered
HEALTH_HOST = "QERDS_HEALTH_HOST"  # an address of this machine; where it is not set, loopback
LOOPBACK = "127.0.0.1"
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
CANNOT_START = 3
EXIT_INVARIANT = 70  # EX_SOFTWARE of sysexits.h
EXIT_CUT = 75  # EX_TEMPFAIL


class Life:
    """Of one process, as its work sees it."""

    def __init__(self) -> None:
        self.draining = anyio.Event()
        self.was_cut = False

    def ready(self) -> None:
        """It serves from now on. Said again, nothing changes."""
        notify("READY=1")

    @asynccontextmanager
    async def watched(
        self, recorder: Recorder, missing: Callable[[], Awaitable[str]] | None = None
    ) -> AsyncIterator[None]:
        """Meanwhile the health port answers for this recorder; it is ready when the recorder is. missing: health.py."""
        async with anyio.create_task_group() as tasks:
            if port := os.environ.get(HEALTH_PORT):
                answers = health.Health(recorder, self.draining.is_set, missing)
                tasks.start_soon(health.serve, os.environ.get(HEALTH_HOST, LOOPBACK), int(port), answers)
            tasks.start_soon(self._ready_with, recorder)
            yield
            tasks.cancel_scope.cancel()

    async def live(self, work: Callable[["Life"], Awaitable[None]], drain_seconds: float) -> None:
        """The work, until it returns or the drain's deadline cuts it."""
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._drain_on_signal)
            tasks.start_soon(self._cut, tasks.cancel_scope, drain_seconds)
            await work(self)
            tasks.cancel_scope.cancel()

    async def _ready_with(self, recorder: Recorder) -> None:
        await recorder.ready.wait()
        self.ready()

    async def _drain_on_signal(self, *, task_status: TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(*STOP_SIGNALS) as signals:
            task_status.started()
            await anext(signals)
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_DFL)  # the next one kills, without asking the loop
        notify("STOPPING=1")
        self.draining.set()

    async def _cut(self, everything: anyio.CancelScope, drain_seconds: float) -> None:
        await self.draining.wait()
        await anyio.sleep(drain_seconds)
        self.was_cut = True
        everything.cancel()


def run(
    name: str,
    work: Callable[[Life], Awaitable[None]],
    drain_seconds: float,
    ends: Mapping[type[Exception], int] | None = None,
) -> int:
    """The exit status of a whole process. ends: errors of its own, whose text is told, and their status."""
    cores.forbid()
    escapes.watch(Recorder(name))
    lives: list[Life] = []
    expected = dict(ends or {})
    status = 0

    async def main() -> None:
        lives.append(Life())
        await lives[0].live(work, drain_seconds)

    try:
        anyio.run(main, backend_options={"use_uvloop": True})
    except* Invariant as broken:
        Recorder(name).error("stopped", _first(broken))
        status = EXIT_INVARIANT
    except* tuple(expected) as group:
        error = _first(group)
        sys.stderr.write(f"{name}: {error}\n")
        status = next(code for kind, code in expected.items() if isinstance(error, kind))
    return status or (EXIT_CUT if lives[0].was_cut else 0)


def _first(error: BaseException) -> BaseException:
    """What happened, out of the groups that tasks put around it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
