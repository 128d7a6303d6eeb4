"""What runs here: the lock that one `up` holds, and the file that tells the other verbs about it.

Owns     STATE/lock (flock: the kernel frees it with the process, however that dies) and STATE/running.json
Rules    a process is known by id and start time together: a reused id is never signalled
"""

import fcntl
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.local.layout import Layout, TcpPorts

START_TIME_FIELD = 19  # proc(5) stat, field 22, counted after the command name, which may hold blanks


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One supervised process as the supervisor last saw it."""

    name: str
    state: str
    pid: int | None
    starts: int


@dataclass(frozen=True, slots=True)
class Running:
    """A running installation."""

    pid: int
    start_time: int
    base_port: int
    run_dir: str
    processes: tuple[ProcessState, ...]

    @property
    def ports(self) -> TcpPorts:
        return TcpPorts(self.base_port)

    @property
    def is_ready(self) -> bool:
        return all(process.state == "ready" for process in self.processes)


def take_lock(layout: Layout) -> int | None:
    """The open lock file, to be kept open for ever; None when somebody else runs this state directory."""
    descriptor = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def write(layout: Layout, base_port: int, run_dir: Path, *, processes: Sequence[ProcessState]) -> None:
    """By rename: a reader sees one moment whole."""
    pid = os.getpid()
    running = Running(pid, start_time(pid), base_port, str(run_dir), tuple(processes))
    draft = layout.running.with_name("running.json.new")
    draft.write_text(json.dumps(asdict(running)))
    draft.rename(layout.running)


def read_last(layout: Layout) -> Running | None:
    """The last record, whether or not its process still lives."""
    try:
        record = json.loads(layout.running.read_text())
        processes = tuple(ProcessState(**process) for process in record.pop("processes"))
        return Running(**record, processes=processes)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def read_living(layout: Layout) -> Running | None:
    """The record of an installation whose supervisor lives now."""
    running = read_last(layout)
    return running if running is not None and lives(running.pid, running.start_time) else None


def lives(pid: int, started: int) -> bool:
    """Whether that very process still runs; a dead one that nobody waited for does not."""
    return started != 0 and start_time(pid) == started


def start_time(pid: int) -> int:
    """Clock ticks from boot to the start of the process; 0 when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in ("Z", "X") else int(fields[START_TIME_FIELD])


def forget(layout: Layout) -> None:
    """After an orderly end."""
    layout.running.unlink(missing_ok=True)
