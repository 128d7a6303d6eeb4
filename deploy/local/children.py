"""Starting child processes so that none outlives this one.

Owns     the parent-death signal, and the environment that every child of an embedded installation gets
Rules    a child is started from the main thread only: the kernel ties the signal to the thread that forked, and would
         deliver it when that thread ends
Not      here: when to start, restart or stop a child (supervisor.py)
"""

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Mapping

PR_SET_PDEATHSIG = 1  # linux/prctl.h
EXIT_NOT_STARTED = 127  # what a shell says when it could not execute a command

# Loaded before any fork: dlopen in a forked child may deadlock.
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(death_signal: signal.Signals) -> Callable[[], None]:
    """A preexec_fn: the child gets `death_signal` when this process dies, even by SIGKILL."""
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("children are started from the main thread only: the signal follows the thread that forked")
    parent = os.getpid()

    def before_exec() -> None:
        # The second check closes the gap in which the parent died before prctl took effect.
        if _libc.prctl(PR_SET_PDEATHSIG, int(death_signal)) != 0 or os.getppid() != parent:
            os._exit(EXIT_NOT_STARTED)

    return before_exec


def child_environment(additions: Mapping[str, str]) -> dict[str, str]:
    """Our environment with bytecode files allowed and output unbuffered.

    Without bytecode files every process start costs some two seconds; with buffering a log line arrives after the
    crash that it explains.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONDONTWRITEBYTECODE", "NOTIFY_SOCKET", "PYTHONPATH")
    }
    return environment | {"PYTHONUNBUFFERED": "1"} | dict(additions)
