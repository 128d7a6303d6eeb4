"""Run a few processes, restart those that die, and stop them in order.

Owns     children of this process: start, readiness, backoff, log lines, ordered drain, rolling restart, shared sockets
Rules    one thread, one selector; children are started from the main thread, so that the parent-death signal holds.
         No child outlives us, a drain deadline is kept by SIGKILL, and PostgreSQL stops last, when nobody needs it
Elsewhere: what to run (programs.py), preparing the database (up.py)
"""

import os
import random
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from deploy.local import processes
from deploy.local.children import reap_strangers
from deploy.local.forking import Zygote
from deploy.local.logs import LogPipe
from deploy.local.notifications import Notifications
from deploy.local.processes import Process, Program, exit_in_words

BACKOFF_FIRST_SECONDS = 0.5
BACKOFF_MAX_SECONDS = 30.0
BACKOFF_RESET_SECONDS = 30.0  # a child that lived this long starts again without waiting
HARD_SECONDS = 10.0  # what the last of a hard stop may take before SIGKILL
POLL_SECONDS = 0.02  # while something is starting that cannot tell us itself
IDLE_SECONDS = 1.0
RESTART_SECONDS = 60.0  # until the second process of a program is ready


class NotReady(RuntimeError):
    """A program did not get ready in time, or died again and again; the text ends with its last lines."""


class Stopped(Exception):
    """Somebody asked us to stop."""


class Child:
    """A program and its present process, if it has one."""

    def __init__(self, program: Program, log: LogPipe) -> None:
        self.program = program
        self.log = log
        self.process: Process | None = None
        self.is_ready = False
        self.is_leaving = False  # it ends for good: nobody starts it again
        self.started_at = 0.0
        self.start_after = 0.0
        self.failures = 0
        self.starts = 0

    @property
    def state(self) -> str:
        if self.process is None:
            return "waiting" if self.failures else "stopped"
        return "ready" if self.is_ready else "starting"

    def send(self, number: signal.Signals) -> None:
        """To the process alone: what it started itself is its own to stop."""
        if self.process is not None:
            self.process.send_signal(number)


class Supervisor:
    """The processes of one installation; every method is called from the main thread."""

    def __init__(
        self,
        run_dir: Path,
        log_dir: Path,
        *,
        echo: bool,
        on_change: Callable[[list[Child]], None],
        zygote: Zygote | None = None,
    ) -> None:
        self._children: dict[str, Child] = {}
        self._shared: dict[tuple[str, int], socket.socket] = {}
        self._zygote = zygote
        self._log_dir = log_dir
        self._echo = echo
        self._on_change = on_change
        self._selector = selectors.DefaultSelector()
        self._notifications = Notifications(run_dir)
        self._selector.register(self._notifications.socket, selectors.EVENT_READ, self._read_notifications)
        self._told: list[tuple[str, str, int]] = []
        self._stops_asked = 0
        self._restart_asked = False
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_read, selectors.EVENT_READ, lambda: os.read(self._wake_read, 512))
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask_stop)
        # Not SIGHUP: closing the terminal sends that.
        signal.signal(signal.SIGUSR1, lambda *_: setattr(self, "_restart_asked", True))
        signal.signal(signal.SIGCHLD, lambda *_: None)  # wakes the selector

    @property
    def names(self) -> list[str]:
        """Of everything that was started."""
        return list(self._children)

    def start(self, programs: Iterable[Program]) -> None:
        """Starts children; readiness comes later."""
        for program in programs:
            if program.listen is not None and program.listen not in self._shared:
                try:
                    self._shared[program.listen] = processes.listener(program.listen)
                except OSError as error:
                    raise NotReady(f"{program.name} cannot listen on port {program.listen[1]}: {error}") from error
            self._spawn(self._child(program.name, program))

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
                reason = "keeps dying" if broken else f"was not ready after {seconds:.0f} s"
                raise NotReady(f"{guilty.program.name} {reason}:\n" + "\n".join(guilty.log.last_lines()))

    def run(self, restart: Callable[[], None]) -> None:
        """Keeps everything running until a signal asks us to stop; SIGUSR1 calls `restart`."""
        while not self._stops_asked:
            self._turn(IDLE_SECONDS)
            if self._restart_asked:
                self._restart_asked = False
                restart()

    def restart(self, names: Iterable[str]) -> None:
        """One program after the other, with the code as it is now. NotReady: its old process runs on."""
        if self._zygote is not None:
            self._zygote.renew()
        for name in names:
            self.check_stop()
            child = self._children[name]
            if child.program.overlaps:
                self._replace(name, child)
            else:
                self._cycle(name, child)

    def _replace(self, name: str, old: Child) -> None:
        """A second process; when it is ready the first one drains."""
        beside = f"{name}, next"
        new = self._child(beside, old.program)
        self._spawn(new)
        try:
            self.wait_ready([beside], RESTART_SECONDS, failures_max=0)
        except NotReady:
            self._dismiss(new)
            del self._children[beside]
            raise
        self._dismiss(old)
        new.starts += old.starts
        del self._children[beside]
        self._children[name] = new  # in its place: the order of the dictionary stays

    def _cycle(self, name: str, child: Child) -> None:
        """For a program of which there is one only: it drains, then it starts again."""
        child.is_leaving = True
        self._stop_group([child])
        child.is_leaving, child.failures, child.start_after = False, 0, 0.0
        self.wait_ready([name], RESTART_SECONDS)

    def _dismiss(self, child: Child) -> None:
        child.is_leaving = True
        self._stop_group([child])
        child.log.close()

    def check_stop(self) -> None:
        """Raises Stopped when a signal came; for between the steps of a start."""
        if self._stops_asked:
            raise Stopped

    def stop(self) -> None:
        """Drains group by group. A second signal, also one that comes meanwhile, cuts the drain short."""
        self._stops_asked = max(1, self._stops_asked)
        for shared in self._shared.values():
            shared.close()
        if self._zygote is not None:
            self._zygote.close()
        for group in sorted({c.program.stop_group for c in self._children.values()}):
            self._stop_group([c for c in self._children.values() if c.program.stop_group == group])
        for child in self._children.values():
            child.log.close()
        self._notifications.close()

    def _stop_group(self, group: list[Child]) -> None:
        """Stop signal to all at once; after its own deadline each gets the hard signal, then SIGKILL."""
        began = time.monotonic()
        sent: dict[Child, int] = {}
        while alive := [c for c in group if c.process is not None]:
            for child in alive:
                program, age = child.program, time.monotonic() - began
                hard = self._stops_asked > 1 or age > program.drain_seconds
                level = 3 if age > program.drain_seconds + HARD_SECONDS else 2 if hard else 1
                for step in range(sent.get(child, 0) + 1, level + 1):
                    signals = (program.stop_signal, program.hard_signal, signal.SIGKILL)
                    child.send(signals[step - 1])
                sent[child] = max(level, sent.get(child, 0))
            self._turn(POLL_SECONDS)

    def _child(self, key: str, program: Program) -> Child:
        """A new one, not started yet."""
        child = self._children[key] = Child(program, LogPipe(program.name, self._log_dir, echo=self._echo))
        return child

    def _ask_stop(self, *_: object) -> None:
        self._stops_asked += 1

    def _turn(self, seconds: float) -> None:
        """One round: what arrived, who died, who has become ready, who is due for another start."""
        for key, _ in self._selector.select(self._patience(seconds)):
            key.data()
        for child in self._children.values():
            if child.process is not None and child.process.poll() is not None:
                self._bury(child)
            if child.process is None and self._may_start(child) and time.monotonic() >= child.start_after:
                self._spawn(child)
            ready, process = child.program.ready, child.process
            if ready is not None and process is not None and not child.is_ready:
                child.is_ready = ready(process.pid)
        if self._zygote is not None:
            self._zygote.poll()
            reap_strangers({c.process.pid for c in self._children.values() if c.process is not None})
        states = [(c.program.name, c.state, c.starts) for c in self._children.values()]
        if states != self._told:
            self._told = states
            self._on_change(list(self._children.values()))

    def _may_start(self, child: Child) -> bool:
        return not (self._stops_asked or child.is_leaving)

    def _patience(self, seconds: float) -> float:
        """Until the next restart is due, and briefly while somebody has to be asked whether it is ready."""
        now, children = time.monotonic(), self._children.values()
        waiting = [c.start_after - now for c in children if c.process is None and self._may_start(c)]
        asking = any(c.program.ready and c.process and not c.is_ready for c in children)
        return max(0.0, min([seconds, *waiting, *([POLL_SECONDS] if asking else [])]))

    def _spawn(self, child: Child) -> None:
        """A failure to start is a death: it is retried with the same backoff."""
        program = child.program
        speaks = {} if program.ready else {"NOTIFY_SOCKET": str(self._notifications.path)}
        child.is_ready, child.started_at = False, time.monotonic()
        child.starts += 1
        output = child.log.open()
        try:
            shared = self._shared.get(program.listen) if program.listen else None
            child.process = processes.start(program, {**program.environment, **speaks}, output, shared, self._zygote)
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
        if not self._may_start(child):
            return
        if process is not None and process.returncode is not None:
            child.log.say(f"ended with {exit_in_words(process.returncode)}; starting again")
        if time.monotonic() - child.started_at > BACKOFF_RESET_SECONDS:
            child.failures = 0
        self._postpone(child)

    def _postpone(self, child: Child) -> None:
        """Doubling, with jitter, so that children that died of one cause do not all come back at one moment."""
        wait = min(BACKOFF_MAX_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** min(child.failures, 16))
        child.start_after = time.monotonic() + wait * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        child.failures += 1

    def _read_log(self, child: Child) -> None:
        if not child.log.pump():
            self._forget_log(child)

    def _forget_log(self, child: Child) -> None:
        if child.log.reader in self._selector.get_map():
            self._selector.unregister(child.log.reader)

    def _read_notifications(self) -> None:
        for sender, lines in self._notifications.read():
            for child in self._children.values():
                if child.process is not None and child.process.pid == sender:
                    child.is_ready = (child.is_ready or "READY=1" in lines) and "STOPPING=1" not in lines
