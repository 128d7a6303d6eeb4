"""Run a few processes, restart those that die, and stop them in order.

Owns     children of this process: start, readiness (sd_notify), restart with backoff, log lines, ordered drain
Rules    one thread, one selector; children are started from the main thread, so that the parent-death signal holds.
         No child outlives us, a drain deadline is kept by SIGKILL, and PostgreSQL stops last, when nobody needs it
Not      here: what to run (programs.py), preparing the database (up.py)
"""

import os
import random
import selectors
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local.accounts import Account, become
from deploy.local.children import child_environment, die_with_parent
from deploy.local.logs import LogPipe

BACKOFF_FIRST_SECONDS = 0.5
BACKOFF_MAX_SECONDS = 30.0
BACKOFF_RESET_SECONDS = 30.0  # a child that lived this long starts again without waiting
HARD_SECONDS = 10.0  # what the last of a hard stop may take before SIGKILL
POLL_SECONDS = 0.02  # while something is starting that cannot tell us itself
IDLE_SECONDS = 1.0
DATAGRAM_BYTES_MAX = 4096
CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))


@dataclass(frozen=True, slots=True)
class Program:
    """One child to keep running. Lower `stop_group` stops earlier; `ready` is for who does not speak sd_notify."""

    name: str
    command: tuple[str, ...]
    stop_group: int
    drain_seconds: float
    environment: Mapping[str, str]
    directory: Path
    stop_signal: signal.Signals = signal.SIGTERM
    hard_signal: signal.Signals = signal.SIGKILL
    orphan_signal: signal.Signals = signal.SIGKILL  # the machine is built to survive it, and nothing lingers
    account: Account | None = None
    ready: Callable[[int], bool] | None = None


class NotReady(RuntimeError):
    """A program did not get ready in time, or died again and again; the text ends with its last lines."""


class Stopped(Exception):
    """Somebody asked us to stop."""


class Child:
    """A program and its present process, if it has one."""

    def __init__(self, program: Program, log: LogPipe) -> None:
        self.program = program
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.is_ready = False
        self.started_at = 0.0
        self.start_after = 0.0
        self.failures = 0
        self.starts = 0

    @property
    def state(self) -> str:
        if self.process is None:
            return "waiting" if self.failures else "stopped"
        return "ready" if self.is_ready else "starting"


class Supervisor:
    """The processes of one installation; every method is called from the main thread."""

    def __init__(self, run_dir: Path, log_dir: Path, *, echo: bool, on_change: Callable[[list[Child]], None]) -> None:
        self._children: dict[str, Child] = {}
        self._log_dir = log_dir
        self._echo = echo
        self._on_change = on_change
        self._selector = selectors.DefaultSelector()
        self._notify_path = run_dir / "notify"
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._notify.bind(str(self._notify_path))
        self._selector.register(self._notify, selectors.EVENT_READ, self._read_notifications)
        self._told: list[tuple[str, str, int]] = []
        self._stops_asked = 0
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_read, selectors.EVENT_READ, lambda: os.read(self._wake_read, 512))
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # wakes the selector

    @property
    def names(self) -> list[str]:
        """Of everything that was started."""
        return list(self._children)

    def start(self, programs: Iterable[Program]) -> None:
        """Starts children; readiness comes later."""
        for program in programs:
            log = LogPipe(program.name, self._log_dir, echo=self._echo)
            child = self._children[program.name] = Child(program, log)
            self._spawn(child)

    def wait_ready(self, names: Collection[str], seconds: float, failures_max: int = 2) -> None:
        """Runs until all of these are ready. Raises NotReady, or Stopped when a signal came first."""
        deadline = time.monotonic() + seconds
        while missing := [self._children[n] for n in names if not self._children[n].is_ready]:
            self._turn(POLL_SECONDS)
            if self._stops_asked:
                raise Stopped
            broken = next((c for c in missing if c.failures > failures_max), None)
            if broken is not None or time.monotonic() > deadline:
                guilty = broken or missing[0]
                what = "keeps dying" if broken else f"was not ready after {seconds:.0f} s"
                raise NotReady(f"{guilty.program.name} {what}:\n" + "\n".join(guilty.log.last_lines()))

    def run(self) -> None:
        """Keeps everything running until a signal asks us to stop."""
        while not self._stops_asked:
            self._turn(IDLE_SECONDS)

    def check_stop(self) -> None:
        """Raises Stopped when a signal came; for between the steps of a start."""
        if self._stops_asked:
            raise Stopped

    def stop(self) -> None:
        """Drains group by group. A second signal, also one that comes meanwhile, cuts the drain short."""
        self._stops_asked = max(1, self._stops_asked)
        for group in sorted({c.program.stop_group for c in self._children.values()}):
            self._stop_group([c for c in self._children.values() if c.program.stop_group == group])
        for child in self._children.values():
            child.log.close()
        self._notify.close()
        self._notify_path.unlink(missing_ok=True)

    def _stop_group(self, group: list[Child]) -> None:
        """Stop signal to all at once; after its own deadline each gets the hard signal, then SIGKILL."""
        began = time.monotonic()
        sent: dict[str, int] = {}
        while alive := [c for c in group if c.process is not None]:
            for child in alive:
                program, age = child.program, time.monotonic() - began
                hard = self._stops_asked > 1 or age > program.drain_seconds
                wanted = 3 if age > program.drain_seconds + HARD_SECONDS else 2 if hard else 1
                for step in range(sent.get(program.name, 0) + 1, wanted + 1):
                    signals = (program.stop_signal, program.hard_signal, signal.SIGKILL)
                    self._send(child, signals[step - 1])
                sent[program.name] = max(wanted, sent.get(program.name, 0))
            self._turn(POLL_SECONDS)

    def _ask_stop(self, *_: object) -> None:
        self._stops_asked += 1

    def _turn(self, seconds: float) -> None:
        """One round: what arrived, who died, who has become ready, who is due for another start."""
        for key, _ in self._selector.select(self._patience(seconds)):
            key.data()
        for child in self._children.values():
            if child.process is not None and child.process.poll() is not None:
                self._bury(child)
            if child.process is None and not self._stops_asked and time.monotonic() >= child.start_after:
                self._spawn(child)
            ready, process = child.program.ready, child.process
            if ready is not None and process is not None and not child.is_ready:
                child.is_ready = ready(process.pid)
        states = [(c.program.name, c.state, c.starts) for c in self._children.values()]
        if states != self._told:
            self._told = states
            self._on_change(list(self._children.values()))

    def _patience(self, seconds: float) -> float:
        """Until the next restart is due, and briefly while somebody has to be asked whether it is ready."""
        waiting = [c.start_after - time.monotonic() for c in self._children.values() if c.process is None]
        asking = any(c.program.ready and c.process and not c.is_ready for c in self._children.values())
        return max(0.0, min([seconds, *([] if self._stops_asked else waiting), *([POLL_SECONDS] if asking else [])]))

    def _spawn(self, child: Child) -> None:
        """A failure to start is a death: it is retried with the same backoff."""
        program = child.program
        speaks = {} if program.ready else {"NOTIFY_SOCKET": str(self._notify_path)}
        child.is_ready, child.started_at = False, time.monotonic()
        child.starts += 1
        output = child.log.open()
        try:
            child.process = subprocess.Popen(
                program.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=program.directory,
                env=child_environment({**program.environment, **speaks}),
                process_group=0,  # the terminal's Ctrl-C is for us alone: we drain in order
                preexec_fn=die_with_parent(program.orphan_signal),
                **become(program.account),
            )
        except (OSError, subprocess.SubprocessError) as error:
            child.log.say(f"cannot start: {error}")
            self._postpone(child)
        else:
            self._selector.register(child.log.reader, selectors.EVENT_READ, lambda: self._read_log(child))
        finally:
            os.close(output)

    def _bury(self, child: Child) -> None:
        """A child has died: says so, and plans its return unless we are stopping."""
        process = child.process
        child.process, child.is_ready = None, False
        child.log.drain()
        self._forget_log(child)
        if self._stops_asked:
            return
        if process is not None:
            child.log.say(f"ended with {describe(process.returncode)}; starting again")
        if time.monotonic() - child.started_at > BACKOFF_RESET_SECONDS:
            child.failures = 0
        self._postpone(child)

    def _postpone(self, child: Child) -> None:
        """Doubling, with jitter, so that children that died of one cause do not all come back at one moment."""
        wait = min(BACKOFF_MAX_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** min(child.failures, 16))
        child.start_after = time.monotonic() + wait * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        child.failures += 1

    def _send(self, child: Child, number: signal.Signals) -> None:
        """To the process alone: what it started itself is its own to stop."""
        if child.process is not None:
            child.process.send_signal(number)

    def _read_log(self, child: Child) -> None:
        if not child.log.pump():
            self._forget_log(child)

    def _forget_log(self, child: Child) -> None:
        if child.log.reader in self._selector.get_map():
            self._selector.unregister(child.log.reader)

    def _read_notifications(self) -> None:
        """READY=1 counts only from the process itself: the kernel tells us who sent it (SCM_CREDENTIALS)."""
        while True:
            try:
                data, ancillary, _, _ = self._notify.recvmsg(DATAGRAM_BYTES_MAX, socket.CMSG_SPACE(CREDENTIALS.size))
            except BlockingIOError:
                return
            for level, kind, value in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    sender = CREDENTIALS.unpack(value[: CREDENTIALS.size])[0]
                    self._notified(sender, data.decode(errors="replace").splitlines())

    def _notified(self, sender: int, lines: list[str]) -> None:
        for child in self._children.values():
            if child.process is not None and child.process.pid == sender:
                child.is_ready = (child.is_ready or "READY=1" in lines) and "STOPPING=1" not in lines


def describe(code: int) -> str:
    """An exit status in words."""
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
