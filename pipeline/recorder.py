"""What a process tells about itself: counters for /metrics and structured lines for the log.

Rules: ids, kinds, counts and times only; never a name, an address, a subject, a key or content. One JSON object a line
on stderr, written at once, so that the last line before a crash is there.
"""

import json
import sys
import traceback
from collections.abc import Callable
from typing import Any, TextIO

import anyio


class Recorder:
    """Counters and log of one process. Tests and the simulation give it a list instead of stderr."""

    def __init__(
        self, process: str, write: Callable[[str], object] | None = None, now: Callable[[], str] | None = None
    ) -> None:
        self.process = process
        self.counts: dict[tuple[str, str], int] = {}
        self.ready = anyio.Event()  # set by the first epoch
        self.is_ready = False  # whether an epoch lives now
        self._write = write or _to(sys.stderr)
        self._now = now

    def count(self, name: str, label: str = "", by: int = 1) -> None:
        """Add to one counter."""
        if by:
            self.counts[(name, label)] = self.counts.get((name, label), 0) + by

    def note(self, what: str, **fields: Any) -> None:
        """One line about something that happened."""
        line = {"process": self.process, "what": what, **fields}
        if self._now is not None:
            line = {"at": self._now(), **line}
        self._write(json.dumps(line, default=str) + "\n")

    def error(self, where: str, error: BaseException) -> None:
        """An exception with the places it came through; its text only when it is one of ours, which carry ids alone."""
        frames = traceback.extract_tb(error.__traceback__)[-6:]
        places = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames]
        self.note("error", where=where, type=type(error).__name__, text=safe_text(error)[:300], places=places)


def safe_text(error: BaseException) -> str:
    """The text of an exception, if it may be written down: a library quotes what it was given, names and mails too."""
    return str(error) if type(error).__module__.startswith(("pipeline.", "gateway.", "builtins")) else ""


def _to(stream: TextIO) -> Callable[[str], object]:
    def write(line: str) -> None:
        stream.write(line)
        stream.flush()

    return write
