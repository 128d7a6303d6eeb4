"""The main of every process, from its first line to its exit status: real processes, real signals."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cores import NO_CORE, core_of

ROOT = Path(__file__).resolve().parents[3]
LIVING = Path(__file__).with_name("living.py")
SECONDS_MAX = 15


@dataclass(frozen=True, slots=True)
class Started:
    """A process, and the socket on which it tells its supervisor how it is."""

    process: "subprocess.Popen[str]"
    told: socket.socket

    def hear(self) -> str:
        """The next it tells."""
        return self.told.recv(100).decode()

    def line(self) -> str:
        """The next line of its output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@contextmanager
def living(behaviour: str, directory: Path) -> Iterator[Started]:
    """Runs until the test has ended."""
    address = directory / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(address))
        told.settimeout(SECONDS_MAX)
        with subprocess.Popen(
            [sys.executable, "-P", str(LIVING), behaviour],
            env={**os.environ, "PYTHONPATH": str(ROOT), "NOTIFY_SOCKET": str(address)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield Started(process, told)
            finally:
                process.kill()


def test_a_crash_leaves_no_core(tmp_path: Path) -> None:
    """Whatever the shell allows: not as a file, and nothing of its memory to a program that the kernel pipes it to."""
    resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
    with living("drains", tmp_path) as it:
        assert it.hear() == "READY=1"
        assert core_of(it.process.pid) == NO_CORE


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_drains(tmp_path: Path, number: signal.Signals) -> None:
    """What is in hands is finished, the supervisor hears of both ends, and the status is 0."""
    with living("drains", tmp_path) as it:
        assert it.hear() == "READY=1"
        it.process.send_signal(number)
        assert it.hear() == "STOPPING=1"
        assert it.process.communicate(timeout=SECONDS_MAX) == ("finished\n", "")
        assert it.process.returncode == 0


def test_the_second_signal_kills(tmp_path: Path) -> None:
    """Also a process whose loop turns no more, which could not answer it."""
    with living("hangs", tmp_path) as it:
        it.hear()
        it.process.send_signal(signal.SIGTERM)
        assert it.line() == "hangs"
        it.process.send_signal(signal.SIGTERM)
        assert it.process.wait(SECONDS_MAX) == -signal.SIGTERM


def test_the_deadline_cuts_a_drain(tmp_path: Path) -> None:
    """Where it waits, as a crash would; the status says so."""
    with living("stays", tmp_path) as it:
        it.hear()
        it.process.send_signal(signal.SIGTERM)
        assert it.process.communicate(timeout=SECONDS_MAX) == ("cut\n", "")
        assert it.process.returncode == 75


def test_a_broken_promise_ends_the_process_with_its_place(tmp_path: Path) -> None:
    """Going on would make it worse; a person reads what it was and where, whatever tasks it went through."""
    with living("breaks", tmp_path) as it:
        _, said = it.process.communicate(timeout=SECONDS_MAX)
    told = json.loads(said)
    assert (it.process.returncode, told["type"], told["text"]) == (70, "Invariant", "the seal of 7 does not verify")
    assert told["places"][-1].startswith("living.py:")


def test_an_end_of_its_own_is_one_line_and_its_status(tmp_path: Path) -> None:
    """For a person; no traceback hides it."""
    with living("refuses", tmp_path) as it:
        assert it.process.communicate(timeout=SECONDS_MAX) == ("", "living: the PIN is wrong\n")
        assert it.process.returncode == 4


def test_what_nobody_expected_is_a_traceback(tmp_path: Path) -> None:
    """Nothing is swallowed."""
    with living("fails", tmp_path) as it:
        _, said = it.process.communicate(timeout=SECONDS_MAX)
        assert "ZeroDivisionError" in said
        assert it.process.returncode == 1
