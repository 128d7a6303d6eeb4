"""The supervisor, over real processes that do as they are told."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local import record
from deploy.local.children import child_environment

ROOT = Path(__file__).resolve().parents[3]
DRIVER = Path(__file__).with_name("supervised.py")
WAIT_SECONDS = 15
States = dict[str, list[Any]]  # name: state, pid, starts


class Supervised:
    """A supervisor in a process of its own, and what it has told."""

    def __init__(self, directory: Path, programs: tuple[str, ...], seconds: float) -> None:
        with (directory / "echo").open("wb") as echo:
            self.process = subprocess.Popen(
                [sys.executable, str(DRIVER), str(directory), str(seconds), *programs],
                stdout=subprocess.PIPE,
                stderr=echo,
                env=child_environment({"PYTHONPATH": str(ROOT)}),
                text=True,
            )
        self.seen: list[States] = []

    def wait_for(self, wanted: Callable[[str], bool]) -> str:
        """Reads on until such a line comes; pytest's time limit ends a wait in vain."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                self.seen.append(json.loads(line))
            if wanted(line):
                return line
        raise AssertionError(f"it ended without that line; it told {self.seen}")

    def wait_ready(self) -> None:
        self.wait_for(lambda line: line == "READY\n")

    def wait_stopped(self) -> None:
        self.wait_for(lambda line: line == "STOPPED\n")
        assert self.process.wait(WAIT_SECONDS) == 0

    def pid(self, name: str) -> int:
        return int(self.seen[-1][name][1])


Start = Callable[..., Supervised]


@pytest.fixture
def supervised(state_dir: Path) -> Iterator[Start]:
    running: list[Supervised] = []

    def start(*programs: str, seconds: float = WAIT_SECONDS) -> Supervised:
        running.append(Supervised(state_dir, programs, seconds))
        return running[-1]

    yield start
    for each in running:
        each.process.kill()
        each.process.wait()
        assert each.process.stdout is not None
        each.process.stdout.close()


def wait_gone(*pids: int) -> None:
    """Waits for the end of processes that are not our children."""
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            assert select.select([handle], [], [], WAIT_SECONDS)[0], f"{pid} still runs"
        finally:
            os.close(handle)


def test_they_stop_in_the_order_of_their_groups(supervised: Start) -> None:
    """Those that feed others stop first: nobody ever loses what they depend on while draining."""
    it = supervised("database:good:4:10", "gateway:good:0:10", "stage.1:good:1:10", "stage.2:good:1:10")
    it.wait_ready()
    it.process.send_signal(signal.SIGTERM)
    it.wait_stopped()
    gone = [[name for name, (state, *_) in states.items() if state == "stopped"] for states in it.seen]
    order = [set(names) for names in gone if names]
    assert order[0] == {"gateway"}
    assert all("database" not in names or len(names) == 4 for names in order)
    assert order[-1] == {"gateway", "stage.1", "stage.2", "database"}


def test_every_child_may_drain(supervised: Start, state_dir: Path) -> None:
    """A stop is a request: each process finishes what it has begun, and its last words are kept."""
    it = supervised("one:good:0:10", "two:good:1:10")
    it.wait_ready()
    it.process.send_signal(signal.SIGINT)
    it.wait_stopped()
    for name in ("one", "two"):
        assert (state_dir / f"{name}.log").read_text().splitlines() == ["good serves", "drained"]
    assert "one          | drained" in (state_dir / "echo").read_text()


def test_a_killed_child_comes_back(supervised: Start) -> None:
    """A process that dies is started again, and nobody else is disturbed."""
    it = supervised("one:good:0:10", "two:good:0:10")
    it.wait_ready()
    other = it.pid("two")
    os.kill(it.pid("one"), signal.SIGKILL)
    it.wait_for(lambda line: line.startswith("{") and json.loads(line)["one"][::2] == ["ready", 2])
    assert it.seen[-1]["two"] == ["ready", other, 1]


def test_a_start_that_fails_is_explained(supervised: Start) -> None:
    """When a process dies again and again, the start is given up with that process's own last words."""
    it = supervised("good:good:0:10", "bad:crash:0:10")
    said = json.loads(it.wait_for(lambda line: line.startswith("NOT_READY")).removeprefix("NOT_READY "))
    assert said.startswith("bad keeps dying")
    assert "the reason of the crash" in said
    assert "ended with exit code 3" in said
    it.wait_stopped()


def test_a_start_that_hangs_is_given_up(supervised: Start) -> None:
    """A process that never says that it serves does not hold up the start for ever."""
    it = supervised("mute:silent:0:10", seconds=0.5)
    assert "mute was not ready" in it.wait_for(lambda line: line.startswith("NOT_READY"))
    it.wait_stopped()


def test_nobody_else_can_say_ready(supervised: Start, state_dir: Path) -> None:
    """READY counts from the process itself; a message from another process is not believed."""
    it = supervised("one:impostor:0:10", seconds=1)
    assert "one was not ready" in it.wait_for(lambda line: line.startswith("NOT_READY"))
    assert "impostor serves" in (state_dir / "one.log").read_text()
    it.wait_stopped()


def test_the_drain_deadline_is_kept(supervised: Start) -> None:
    """A process that does not drain in its time is killed: a stop always ends."""
    it = supervised("stuck:stubborn:0:0.2", "good:good:1:10")
    it.wait_ready()
    it.process.send_signal(signal.SIGTERM)
    it.wait_stopped()


def test_a_second_signal_stops_hard(supervised: Start) -> None:
    """Whoever does not want to wait for the drain says so a second time."""
    it = supervised("stuck:stubborn:1:600", "gateway:good:0:10")
    it.wait_ready()
    it.process.send_signal(signal.SIGTERM)
    it.wait_for(lambda line: line.startswith("{") and json.loads(line)["gateway"][0] == "stopped")
    it.process.send_signal(signal.SIGTERM)
    it.wait_stopped()


def test_killing_the_supervisor_leaves_no_orphan(supervised: Start) -> None:
    """Even SIGKILL of the supervisor ends every child, also one that ignores every request."""
    it = supervised("stuck:stubborn:0:10", "good:good:1:10")
    it.wait_ready()
    pids = [it.pid("stuck"), it.pid("good")]
    it.process.kill()
    wait_gone(*pids)


def test_a_rolling_restart_has_the_next_one_ready_before_the_first_one_goes(supervised: Start) -> None:
    """At every instant one of them serves; one that exists once stops before it starts."""
    it = supervised("gateway:good:0:10", "bridge:lone:1:10")
    it.wait_ready()
    first = {name: it.pid(name) for name in ("gateway", "bridge")}
    seen = len(it.seen)
    it.process.send_signal(signal.SIGUSR1)
    it.wait_for(lambda line: line == "RESTARTED\n")
    assert all(it.pid(name) != pid for name, pid in first.items())
    assert {states["bridge"][0] for states in it.seen[seen:]} >= {"stopped", "starting", "ready"}
    assert all(states["gateway"][0] in ("starting", "ready") for states in it.seen[seen:])
    wait_gone(*first.values())


def test_what_does_not_come_up_replaces_nothing(supervised: Start) -> None:
    """A broken build stops at its first process: the old one serves on, and so do the others."""
    it = supervised("seal:once:0:10", "notify:good:0:10")
    it.wait_ready()
    first = {name: it.pid(name) for name in ("seal", "notify")}
    it.process.send_signal(signal.SIGUSR1)
    said = it.wait_for(lambda line: line.startswith("NOT_RESTARTED"))
    assert "the reason of the crash" in said
    assert all(record.lives(pid, record.start_time(pid)) for pid in first.values())
    it.process.send_signal(signal.SIGTERM)
    it.wait_stopped()
