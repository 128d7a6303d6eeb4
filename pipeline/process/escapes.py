"""What nobody caught and what libraries log: told as lines of ours, without their texts.

Owns     the interpreter's hooks for exceptions (main thread, other threads, destructors), a process's root logger
Rules    Python prints the text of an exception and of each one behind it, and a library's log formats what it was
         given: names, addresses, rows. Written are types, places, the logger's name and level, never a message
Elsewhere: what may be written of an exception (failure.py)
"""

import logging
import sys
import threading
from types import TracebackType

from pipeline.process.recorder import Recorder


def watch(recorder: Recorder) -> None:
    """From now on, for the rest of the process. The exit status of an exception that ends it stays Python's."""

    def uncaught(_kind: type[BaseException], error: BaseException, _traceback: TracebackType | None) -> None:
        recorder.error("uncaught", error)

    def uncaught_in_thread(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_value is not None:
            recorder.error("thread", arguments.exc_value)

    def unraisable(arguments: "sys.UnraisableHookArgs") -> None:
        if arguments.exc_value is not None:
            recorder.error("unraisable", arguments.exc_value)

    sys.excepthook = uncaught
    threading.excepthook = uncaught_in_thread
    sys.unraisablehook = unraisable
    logging.getLogger().handlers = [_Lines(recorder)]


class _Lines(logging.Handler):
    """Warnings and worse of libraries, by where they come from."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(logging.WARNING)
        self._recorder = recorder

    def emit(self, record: logging.LogRecord) -> None:
        """One line, and one more for the exception that it is about."""
        place = f"{record.filename}:{record.lineno} in {record.funcName}"
        self._recorder.note("library", logger=record.name, level=record.levelname, places=[place])
        if record.exc_info and record.exc_info[1] is not None:
            self._recorder.error(record.name, record.exc_info[1])
