"""The record of every use of a key: an append-only file whose lines are chained by digest.

Owns     the file, its form (one JSON object a line, each naming the digest of the line before), its durability
Rules    an intent is on disk before a key is used, its result before the answer leaves; many waiters share one fsync;
         a torn last line (a crash while writing, so nobody was answered) is cut off at the next start, and the cut is
         itself recorded; a broken chain stops the start. No key and no content is ever written, digests are
Not      here: what happened (service); copying the file elsewhere (operators)
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import anyio
import anyio.to_thread

GENESIS = "0" * 64
LINE_BYTES_MAX = 256 * 1024  # 512 items of about 100 bytes, and room


class AuditBroken(Exception):
    """The chain does not hold: somebody changed the file, or the disk did."""


class Audit:
    """One open audit file; `record` may be called by many tasks."""

    def __init__(self, file: BinaryIO, number: int, last_sha256: str) -> None:
        self._file = file
        self._number = number
        self._last_sha256 = last_sha256
        self._waiting: list[bytes] = []
        self._durable = number
        self._flushing = anyio.Lock()

    @classmethod
    def open(cls, path: Path) -> "Audit":
        """Locks the file, checks the whole chain, cuts a torn line. Raises AuditBroken."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        appending = path.open("ab")
        audit = None
        try:
            audit = cls._checked(path, appending)
        finally:
            if audit is None:
                appending.close()
        return audit

    @classmethod
    def _checked(cls, path: Path, appending: BinaryIO) -> "Audit":
        try:
            fcntl.flock(appending, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with the process, whatever ends it
        except BlockingIOError as error:
            raise AuditBroken("another bridge is running on the same files") from error
        whole, number, last_sha256 = 0, 0, GENESIS
        with path.open("rb") as file:
            for line, entry in read_chain(file):
                whole, number, last_sha256 = whole + len(line), entry, hashlib.sha256(line).hexdigest()
        torn_bytes = path.stat().st_size - whole
        appending.truncate(whole)
        audit = cls(appending, number, last_sha256)
        if torn_bytes:
            audit._append({"phase": "cut", "torn_bytes": torn_bytes})
            audit._flush()
        return audit

    async def record(self, entry: Mapping[str, object]) -> None:
        """Durable on return. OSError (disk full) is not handled: a bridge that cannot record must not go on."""
        mine = self._append(entry)
        with anyio.CancelScope(shield=True):  # the caller may go, the line must not
            async with self._flushing:
                if self._durable < mine:  # else somebody flushed it with theirs
                    await anyio.to_thread.run_sync(self._flush)

    def close(self) -> None:
        self._file.close()

    def _append(self, entry: Mapping[str, object]) -> int:
        self._number += 1
        chained = {"n": self._number, "before": self._last_sha256, **entry}
        line = json.dumps(chained, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
        if len(line) > LINE_BYTES_MAX:
            raise AuditBroken(f"a line of {len(line)} bytes is larger than {LINE_BYTES_MAX}")
        self._last_sha256 = hashlib.sha256(line).hexdigest()
        self._waiting.append(line)
        return self._number

    def _flush(self) -> None:
        lines, self._waiting = self._waiting, []
        self._file.write(b"".join(lines))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._durable += len(lines)


def read_chain(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Whole lines with their numbers, checked; stops before a last line without end. Raises AuditBroken."""
    number, last_sha256 = 0, GENESIS
    while (line := file.readline(LINE_BYTES_MAX)).endswith(b"\n"):
        number += 1
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise AuditBroken(f"audit line {number} is not JSON") from error
        if not isinstance(entry, dict) or (entry.get("n"), entry.get("before")) != (number, last_sha256):
            raise AuditBroken(f"the audit chain breaks at line {number}")
        last_sha256 = hashlib.sha256(line).hexdigest()
        yield line, number
