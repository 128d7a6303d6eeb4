"""How the verbs speak: answers on stdout, progress on stderr, one exit status.

Source   exit statuses as in every verb: 0 yes, 1 no, 2 wrong usage, 3 cannot tell or something missing, 4 unreachable,
         5 stopped, and can go on
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

EXIT_YES = 0
EXIT_NO = 1
EXIT_USAGE = 2
EXIT_MISSING = 3
EXIT_UNREACHABLE = 4
EXIT_STOPPED = 5


class Speaker:
    """One verb's voice."""

    def __init__(self, as_json: bool, quiet: bool, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._as_json = as_json
        self._quiet = quiet
        self._out = out or sys.stdout
        self._err = err or sys.stderr

    def progress(self, line: str) -> None:
        """What happens, for a person."""
        if not self._quiet:
            print(line, file=self._err, flush=True)

    def complaint(self, line: str) -> None:
        """What went wrong; also when quiet."""
        print(line, file=self._err, flush=True)

    @property
    def is_quiet(self) -> bool:
        """Nothing is said but answers and complaints."""
        return self._quiet

    def row(self, body: Mapping[str, Any], line: str) -> None:
        """One of many results, as it comes."""
        print(json.dumps(body, ensure_ascii=False) if self._as_json else line, file=self._out, flush=True)

    def answer(self, body: Mapping[str, Any], lines: Sequence[str]) -> None:
        """The result, for a program or for a person."""
        text = json.dumps(body, ensure_ascii=False) if self._as_json else "\n".join(lines)
        print(text, file=self._out, flush=True)
