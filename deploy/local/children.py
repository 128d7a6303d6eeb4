"""Starting child processes so that none outlives this one.

Owns     the parent-death signal, adopting orphans, the environment that every child of an embedded installation gets
Rules    a child is started from the main thread only: the kernel ties the signal to the thread that forked, and would
         deliver it when that thread ends
Elsewhere: when to start, restart or stop a child (supervisor.py)
"""

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Collection, Mapping

PR_SET_PDEATHSIG, PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 1, 15, 36  # linux/prctl.h
EXIT_NOT_STARTED = 127  # what a shell says when it could not execute a command
LISTEN_FD = 3  # where a process finds the socket that it was given: sd_listen_fds(3)
NAME_BYTES_MAX = 15  # of a process, as prctl(2) cuts it

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


def be_orphaned_by(parent: int, death_signal: signal.Signals) -> None:
    """In a forked child that `parent` has adopted: as `die_with_parent`. Ends it when somebody else is its parent."""
    if _libc.prctl(PR_SET_PDEATHSIG, int(death_signal)) != 0 or os.getppid() != parent:
        os._exit(EXIT_NOT_STARTED)


def become_reaper() -> None:
    """From now on the children of our dying children are ours."""
    if _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "this kernel has no child subreapers")


def reap_strangers(pids: Collection[int]) -> None:
    """Children that we adopted and nobody waits for. Those whose end somebody will ask for are left alone."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid in pids:
            return
        os.waitpid(ended.si_pid, 0)


def name_this_process(name: str) -> None:
    """As top(1) and ps(1) show it."""
    _libc.prctl(PR_SET_NAME, ctypes.create_string_buffer(name.encode()[:NAME_BYTES_MAX]))


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
