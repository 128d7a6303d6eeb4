"""The test's end of hop_worker.py: worker processes to be killed.

Owns     one slot per worker, so that a killed one is replaced by another of its stage
Rules    every number that is killed came from the nursery, which has not reaped it: it cannot be anyone else's
Elsewhere: the worker itself (hop_worker.py)
"""

import signal
import subprocess
import sys
from pathlib import Path

from deploy.local.children import child_environment, die_with_parent
from pipeline.formats.configuration import DatabaseSettings
from tests.faults.hop_worker import HOPS

ROOT = Path(__file__).resolve().parents[2]
END_SECONDS_MAX = 10.0


class Nursery:
    """`per_stage` workers of each hop."""

    def __init__(self, database: DatabaseSettings, lease_seconds: float, per_stage: int, log: Path) -> None:
        where = [database.socket_dir, database.port, database.name, database.password_dir, lease_seconds]
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.hop_worker", *map(str, where)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
                env=child_environment({}),
                preexec_fn=die_with_parent(signal.SIGKILL),
            )
        self._stages = [stage for stage in HOPS for _ in range(per_stage)]
        self._pids = [self._ask(f"start {stage}") for stage in self._stages]
        self._unreaped: list[int] = []

    @property
    def slots(self) -> int:
        return len(self._pids)

    def replace(self, slot: int, *, reaped: bool) -> int:
        """kill -9 and a new one at once. Unreaped, the dead one looks alive by its /proc entry until its lease is out.

        Returns the number of the dead one.
        """
        pid = self._pids[slot]
        self._ask(f"kill {pid}")
        if reaped:
            self._reap(pid)
        else:
            self._unreaped.append(pid)
        self._pids[slot] = self._ask(f"start {self._stages[slot]}")
        return pid

    def close(self) -> None:
        """Kills and reaps all. Fails when one had ended before it was killed."""
        try:
            for pid in self._pids:
                self._ask(f"kill {pid}")
            for pid in [*self._pids, *self._unreaped]:
                self._reap(pid)
        finally:
            self._process.communicate(timeout=END_SECONDS_MAX)

    def _reap(self, pid: int) -> None:
        assert self._ask(f"reap {pid}") == -signal.SIGKILL, "a worker ended by itself; see the workers' log"

    def _ask(self, request: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(request + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())
