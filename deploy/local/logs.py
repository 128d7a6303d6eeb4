"""A child's output: whole lines, prefixed on our standard error, and in a file of bounded size.

Owns     STATE/logs/NAME.log and its one predecessor NAME.log.1
Rules    a full disk must not stop the children: what cannot be written is dropped, and their pipe is read on
"""

import collections
import contextlib
import os
import sys
from pathlib import Path

LINE_BYTES_MAX = 16 * 1024  # a longer one is cut, so that one without an end cannot fill our memory
READ_BYTES = 64 * 1024
FILE_BYTES_MAX = 20 * 1024 * 1024
LAST_LINES = 15


class LogPipe:
    """One child's pipe; `open` before each start, `pump` when the reader is readable."""

    def __init__(self, name: str, folder: Path, *, echo: bool) -> None:
        self._name = name
        self._path = folder / f"{name}.log"
        self._echo = echo
        self._file = self._path.open("ab", buffering=0)
        self._rest = b""
        self._last: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
        self.reader = -1

    def open(self) -> int:
        """A new pipe; returns the end for the child, which the caller closes."""
        if self.reader >= 0:
            os.close(self.reader)
        self.reader, writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.reader, False)
        return writer

    def pump(self) -> bool:
        """Passes on what has arrived; False once the other end is closed. Only when the reader is readable."""
        try:
            data = os.read(self.reader, READ_BYTES)
        except BlockingIOError:
            return True
        self._take(data)
        return bool(data)

    def drain(self) -> None:
        """After the child's end: what is left in the pipe, without waiting for a grandchild that holds it open."""
        while True:
            try:
                data = os.read(self.reader, READ_BYTES)
            except BlockingIOError:
                data = b""
            self._take(data)
            if not data:
                return

    def _take(self, data: bytes) -> None:
        """Splits into lines; the last one may be incomplete, unless nothing follows."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_BYTES_MAX or (not data and self._rest):
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._write(line[:LINE_BYTES_MAX])

    def say(self, text: str) -> None:
        """A line of our own about this child."""
        self._write(f"[supervisor] {text}".encode())

    def last_lines(self) -> list[str]:
        """For the message when it does not start."""
        return [f"  {self._name} | {line}" for line in self._last]

    def close(self) -> None:
        """No more lines come."""
        if self.reader >= 0:
            os.close(self.reader)
            self.reader = -1
        self._file.close()

    def _write(self, line: bytes) -> None:
        text = line.decode("utf-8", errors="replace")
        self._last.append(text)
        with contextlib.suppress(OSError):
            if os.fstat(self._file.fileno()).st_size > FILE_BYTES_MAX:
                self._file.close()
                self._path.rename(self._path.with_name(self._path.name + ".1"))
                self._file = self._path.open("ab", buffering=0)
            self._file.write(line + b"\n")
        if self._echo:
            with contextlib.suppress(OSError):
                sys.stderr.write(f"{self._name:<12} | {text}\n")
