"""One process of an installation: what to run, and the two ways to start it.

Owns     Program, starting it by exec or by the zygote, and what a started process can be asked
Rules    both ways give the same: own process group, own output, the parent-death signal, and the shared socket as file
         descriptor 3 (sd_listen_fds(3)). Whatever is wrong with the zygote, exec is there
Elsewhere: when to start or stop one (supervisor.py), the zygote itself (zygote.py)
"""

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deploy.local.accounts import OsUser, become
from deploy.local.children import LISTEN_FD, child_environment, die_with_parent
from deploy.local.forking import ForkOrder, Zygote

LISTEN_BACKLOG = 512


@dataclass(frozen=True, slots=True)
class Program:
    """One child to keep running. Lower `stop_group` stops earlier; `ready` is for who does not speak sd_notify.

    module: the arguments of `python -m`, of a program that the zygote may fork instead. listen: the address of a socket
    that all processes of this program share. overlaps: a second one may run beside it while it drains.
    """

    name: str
    command: tuple[str, ...]
    stop_group: int
    drain_seconds: float
    environment: Mapping[str, str]
    directory: Path
    stop_signal: signal.Signals = signal.SIGTERM
    hard_signal: signal.Signals = signal.SIGKILL
    orphan_signal: signal.Signals = signal.SIGKILL  # the machine is built to survive it, and nothing lingers
    account: OsUser | None = None
    ready: Callable[[int], bool] | None = None
    module: tuple[str, ...] = ()
    listen: tuple[str, int] | None = None
    overlaps: bool = False


class Process(Protocol):
    """A started child."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None:
        """Its exit status, None while it runs."""

    def send_signal(self, number: int) -> None:
        """Nothing happens when it has ended."""


class Forked:
    """A child that the zygote forked and that became ours."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """As subprocess.Popen has it."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Its id is not given to another process before `poll` has seen its end."""
        if self.poll() is None:
            os.kill(self.pid, number)


def start(
    program: Program, environment: Mapping[str, str], output: int, shared: socket.socket | None, zygote: Zygote | None
) -> Process:
    """Raises OSError or SubprocessError when it cannot be started."""
    if zygote is not None and program.module and program.account is None:
        order = ForkOrder(
            program.name, program.module, child_environment(environment), str(program.directory), program.orphan_signal
        )
        pid = zygote.fork(order, output, shared)
        if pid is not None:
            return Forked(pid)
    return _execute(program, environment, output, shared)


def _execute(
    program: Program, environment: Mapping[str, str], output: int, shared: socket.socket | None
) -> "subprocess.Popen[bytes]":
    die = die_with_parent(program.orphan_signal)

    def before_exec() -> None:
        die()
        if shared is not None:
            os.dup2(shared.fileno(), LISTEN_FD)

    return subprocess.Popen(
        program.command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd=program.directory,
        env=child_environment(environment),
        process_group=0,  # the terminal's Ctrl-C is for us alone: we drain in order
        preexec_fn=before_exec,
        pass_fds=() if shared is None else (LISTEN_FD,),
        **become(program.account),
    )


def listener(address: tuple[str, int]) -> socket.socket:
    """What all processes of a program accept from. It stays when one of them goes, and with it those who wait."""
    listening = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen(LISTEN_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def exit_in_words(code: int) -> str:
    """An exit status in words."""
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
