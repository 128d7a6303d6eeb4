"""A private PostgreSQL server that is killed as by a power cut, as far as that goes: kill -9 of all its processes.

Owns     finding exactly its own processes, killing them at once, starting anew on the same data
Rules    durable settings; what was not yet written from PostgreSQL's own buffers is really lost, for these are memory
         that dies with the last process. The page cache survives: a lying disk is not what is tested here
Elsewhere: workers (hop_worker.py) and what must hold afterwards (test_fence.py)
"""

import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from deploy.local import postgres
from tests.servers import PostgresServer, start_server
from tests.waiting import until

DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
DEATH_SECONDS_MAX = 10.0
ZOMBIE = "Z"


class MortalServer:
    """One server, restarted as often as it is killed."""

    def __init__(self, home: Path, settings: Mapping[str, str] = DURABLE) -> None:
        self._log = home / "postgres.log"
        self.server: PostgresServer = start_server(home, settings)

    async def kill(self) -> None:
        """The postmaster is stopped first, so that no process of its own can be missed or be born meanwhile."""
        postmaster = self.server.process
        postmaster.send_signal(signal.SIGSTOP)
        family = children_of(postmaster.pid)
        for pid in [*family, postmaster.pid]:
            os.kill(pid, signal.SIGKILL)
        postmaster.wait(DEATH_SECONDS_MAX)

        async def all_are_gone() -> bool:
            return all(parent_of(pid)[0] == ZOMBIE for pid in family)

        await until(all_are_gone, DEATH_SECONDS_MAX)  # a living one would hold the shared memory

    def restart(self) -> None:
        """Crash recovery on the same data."""
        self.server = replace(self.server, process=postgres.start(self.server.cluster, self._log))

    def freeze_wal_writer(self) -> None:
        """From now on an asynchronous commit stays in shared memory until somebody commits synchronously.

        Until the next restart; autovacuum is switched off for good, for it commits whenever it likes.
        """
        self.server.psql("ALTER SYSTEM SET autovacuum = off")
        self.server.psql("SELECT pg_reload_conf()")
        writers = [pid for pid in children_of(self.server.process.pid) if "walwriter" in command_of(pid)]
        assert len(writers) == 1
        os.kill(writers[0], signal.SIGSTOP)

    def stop(self) -> None:
        postgres.stop(self.server.process)


def children_of(parent: int) -> list[int]:
    """Process ids, by /proc."""
    return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and parent_of(int(p.name))[1] == parent]


def parent_of(pid: int) -> tuple[str, int]:
    """State and parent's id; a process that is gone counts as a zombie without one (proc(5), /proc/pid/stat)."""
    try:
        _, _, after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    except (FileNotFoundError, ProcessLookupError):
        return ZOMBIE, 0
    state, parent, *_ = after_name.split()
    return state, int(parent)


def command_of(pid: int) -> str:
    """Its title; nothing of a process that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""
