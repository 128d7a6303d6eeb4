"""Leaving the terminal: `up --detach` returns when everything is ready, and the work goes on in the background.

Owns     the fork, the pipe by which the child says that it is ready, where output goes afterwards
Rules    forked before anything else is open but the lock, which the child keeps; the child is in a session of its own,
         so that closing the terminal does not end it
"""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

READY = b"1"
EXIT_STOPPED = 5


@dataclass(frozen=True, slots=True)
class Terminal:
    """The process that does the work. `ready_pipe` is None when it stays in the foreground."""

    ready_pipe: int | None = None

    @property
    def stays(self) -> bool:
        return self.ready_pipe is None

    def leave(self, log: Path) -> None:
        """Everything is ready: lets the parent go. In the foreground nothing changes."""
        if self.ready_pipe is None:
            return
        nothing = os.open(os.devnull, os.O_RDONLY)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(nothing, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(nothing)
        os.close(output)
        os.write(self.ready_pipe, READY)
        os.close(self.ready_pipe)


def detach() -> Terminal | int:
    """In the child a Terminal; in the parent, after the child is ready or has ended, the exit code."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.setsid()
        return Terminal(writer)
    os.close(writer)
    try:
        with os.fdopen(reader, "rb") as pipe:
            if pipe.read(1) == READY:
                return 0
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or 1
    except KeyboardInterrupt:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        return EXIT_STOPPED
