"""The supervisor's side of the zygote: keep one, and have it fork.

Owns     the zygote's life, the orders to it, the go-ahead of each child
Rules    a child waits for our go-ahead and ends without it, so that none runs that we do not know. A zygote that does
         not answer, or says no, is replaced; until the next one is ready everything is started by exec, as without it
Elsewhere: what a child does before it is a process of ours (zygote.py)
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.local.children import become_reaper, child_environment, die_with_parent

READY_SECONDS = 20.0  # the imports of every kind of process
FORK_SECONDS = 5.0
RENEW_SECONDS = 30.0  # a zygote that dies at once is not started again and again
ANSWER_BYTES_MAX = 4096
HELLO = b"{}"


@dataclass(frozen=True, slots=True)
class ForkOrder:
    """What a forked child becomes: `python -m` these arguments, under that name, in this environment."""

    name: str
    module: tuple[str, ...]
    environment: Mapping[str, str]
    directory: str
    orphan_signal: int

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()


class Zygote:
    """One process that has imported everything. Every method is called from the main thread."""

    def __init__(self, directory: Path, log_dir: Path) -> None:
        become_reaper()  # its grandchildren become our children when their parent ends
        self._directory = directory
        self._log = log_dir / "zygote.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._is_ready = False
        self._next_start = 0.0
        self._start()

    def wait_ready(self, seconds: float = READY_SECONDS) -> bool:
        """Whether it can fork now."""
        if not self._is_ready and self._control is not None:
            self._is_ready = self._answer(seconds) == {}
            if not self._is_ready and seconds > 0:
                self._end()
        return self._is_ready

    def fork(self, order: ForkOrder, output: int, shared: socket.socket | None) -> int | None:
        """The id of a new child of ours. None: not by this zygote; no child is left behind."""
        if self._control is None and time.monotonic() >= self._next_start:
            self._start()
        if not self.wait_ready(0) or self._control is None:
            return None
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            descriptors = [output, reader, *([shared.fileno()] if shared is not None else [])]
            socket.send_fds(self._control, [order.encode()], descriptors)
            answer = self._answer(FORK_SECONDS)
            if not answer or "pid" not in answer:
                self._end()
                return None
            os.write(writer, b"1")
            return int(answer["pid"])
        except OSError:
            self._end()
            return None
        finally:
            os.close(reader)
            os.close(writer)  # without the go-ahead before it, the child ends

    def renew(self) -> None:
        """A new one, with the code as it is now; blocks until it is ready."""
        self._end()
        self._start()
        self.wait_ready()

    def poll(self) -> None:
        """Takes note of its end."""
        if self._process is not None and self._process.poll() is not None:
            self._end()

    def close(self) -> None:
        """The children stay."""
        self._end()

    def _start(self) -> None:
        own_end, child_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._next_start = time.monotonic() + RENEW_SECONDS
        with child_end, self._log.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "deploy.local.zygote", str(child_end.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._directory,
                    env=child_environment({"PYTHONPATH": str(self._directory)}),
                    process_group=0,
                    preexec_fn=die_with_parent(signal.SIGKILL),
                    pass_fds=(child_end.fileno(),),
                )
            except (OSError, subprocess.SubprocessError):
                own_end.close()
                return
        self._control = own_end

    def _answer(self, seconds: float) -> dict[str, int] | None:
        """What it says next; None when it says nothing in time or has gone."""
        if self._control is None or not select.select([self._control], [], [], seconds)[0]:
            return None
        with contextlib.suppress(OSError, ValueError):
            data = self._control.recv(ANSWER_BYTES_MAX)
            return dict(json.loads(data)) if data else None
        return None

    def _end(self) -> None:
        process, control = self._process, self._control
        self._process = self._control = None
        self._is_ready = False
        if control is not None:
            control.close()
        if process is not None:
            process.kill()
            process.wait()
