"""The record of every use of a key: append-only files whose lines are chained by digest.

Owns     the file, its form (one JSON object a line, each naming the digest of the line before), durability, rotation
Rules    an intent is on disk before a key is used, its result before the answer leaves; many waiters share one fsync;
         a torn last line (a crash while writing, so nobody was answered) is cut off at the next start, and the cut is
         itself recorded; a broken chain stops the start. Digests are written, and never a key or a content;
         with a head, each HEAD_SECONDS of use, the token's key vouches for all lines before it: who cuts the file or
         computes the chain anew has no MAC for it. Heads go to the database too, where `ledger check` compares them;
         a file that has grown to FILE_BYTES_MAX becomes audit-NUMBER.jsonl (the number of its last line), read-only;
         the chain goes on in a new audit.jsonl, whose first line names that file and the digest of its last line
Crash    after a head and before the database was told: every head of the file is told again at the next start
         while rotating: audit.jsonl is there at every moment and ends with the last line that anybody was answered for.
         What lies beside it half done, `open` undoes: it is rotated again
Elsewhere: what happened (service); the form of lines and heads, and reading them (pipeline/formats/key_record.py);
         copying old files elsewhere (operators)
"""

import fcntl
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import anyio
import anyio.to_thread

from hsm_bridge.errors import BridgeError
from pipeline.formats.key_record import (
    CONTINUED,
    GENESIS,
    LINE_BYTES_MAX,
    RecordBroken,
    RecordHead,
    head_bytes,
    head_entry,
    head_in,
    line_sha256,
    old_files,
    read_chain,
    start_of,
)

FILE_BYTES_MAX = 256 * 1024 * 1024  # a start reads one file: some seconds
HEAD_SECONDS = 30  # so old are lines at most that nothing vouches for
OLD_MODE = 0o400
Mac = Callable[[str, bytes], bytes]  # by the token's key of this name


class AuditBroken(BridgeError):
    """The chain does not hold: somebody changed the file, or the disk did."""


class Audit:
    """The record, open; `record` may be called by many tasks."""

    def __init__(self, path: Path, file: BinaryIO, last: tuple[int, str], file_bytes_max: int) -> None:
        self._path = path
        self._file = file
        self._file_bytes = path.stat().st_size
        self._file_bytes_max = file_bytes_max
        self._number, self._last_sha256 = last
        self._waiting: list[bytes] = []
        self._durable, self._durable_sha256 = last
        self._vouched = 0  # the line of the last head: there is nothing new while it is the last one
        self.heads: list[RecordHead] = []  # of this file, to be told to the database
        self._flushing = anyio.Lock()
        self._is_whole = True  # nothing that was given a number failed to be written

    @classmethod
    def open(cls, path: Path, file_bytes_max: int = FILE_BYTES_MAX, mac: Mac | None = None) -> "Audit":
        """Locks the file, undoes a rotation cut short, checks the chain, cuts a torn line. Raises AuditBroken.

        With `mac`, also that the token's key made every head.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        appending = path.open("ab")
        audit = None
        try:
            lock(appending, path)
            _tidy(path)
            audit = cls._checked(path, appending, file_bytes_max, mac)
        except RecordBroken as error:
            raise AuditBroken(*error.args) from error
        finally:
            if audit is None:
                appending.close()
        return audit

    @classmethod
    def _checked(cls, path: Path, appending: BinaryIO, file_bytes_max: int, mac: Mac | None) -> "Audit":
        whole, last = 0, (0, GENESIS)
        heads, since = [], dict[int, str]()
        with path.open("rb") as file:
            for line, number in read_chain(file):
                whole, last = whole + len(line), (number, line_sha256(line))
                if (head := head_in(line)) is not None:
                    _check_head(head, since, mac)
                    heads.append(head)
                    since.clear()
                since[number] = last[1]
        if not whole and (old := old_files(path)):
            raise AuditBroken(f"{path.name} is empty, and it is not the first: {old[-1].name} is there")
        _check_link(path)
        torn_bytes = path.stat().st_size - whole
        appending.truncate(whole)
        audit = cls(path, appending, last, file_bytes_max)
        audit.heads = heads
        if torn_bytes:
            audit._append({"phase": "cut", "torn_bytes": torn_bytes})
            audit._write(audit._taken(), None)
        return audit

    async def record(self, entry: Mapping[str, object]) -> None:
        """Durable on return. OSError (disk full) is not handled: a bridge that cannot record must not go on."""
        number = self._append(entry)
        with anyio.CancelScope(shield=True):  # the caller may go, the line must not
            async with self._flushing:
                if self._durable < number:  # else somebody flushed it with theirs
                    await self._flush()

    async def vouch(self, key_id: str, mac: Mac) -> None:
        """A head of all that is on disk, if anything is since the last one; the MAC is made in a thread.

        Raises what the token raises.
        """
        number, sha256 = self._durable, bytes.fromhex(self._durable_sha256)
        if number == self._vouched:
            return
        made = await anyio.to_thread.run_sync(mac, key_id, head_bytes(number, sha256))
        head = RecordHead(number, sha256, key_id, made)
        await self.record(head_entry(head))
        self._vouched = self._durable if self._durable == number + 1 else number
        self.heads.append(head)

    def close(self) -> None:
        self._file.close()

    async def _flush(self) -> None:
        """All that waits; and when the file is full, the first line of the next one, before anybody gets a number."""
        if not self._is_whole:
            raise OSError("a line of the record could not be written, so none may follow it")
        lines, through = self._taken(), self._number
        first = None
        if self._file_bytes + sum(map(len, lines)) >= self._file_bytes_max:
            self._append({"phase": CONTINUED, "file": _old_path(self._path, through).name})
            first = (through, b"".join(self._taken()))
        last_sha256 = self._last_sha256
        self._is_whole = False
        await anyio.to_thread.run_sync(self._write, lines, first)
        self._is_whole = True
        self._durable, self._durable_sha256 = through + (first is not None), last_sha256

    def _append(self, entry: Mapping[str, object]) -> int:
        number = self._number + 1
        chained = {"n": number, "before": self._last_sha256, **entry}
        line = json.dumps(chained, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
        if len(line) > LINE_BYTES_MAX:
            raise AuditBroken(f"a line of {len(line)} bytes is larger than {LINE_BYTES_MAX}")
        self._number, self._last_sha256 = number, line_sha256(line)
        self._waiting.append(line)
        return number

    def _taken(self) -> list[bytes]:
        """What waits, taken by the loop's own thread: a line that comes meanwhile waits for the next flush."""
        lines, self._waiting = self._waiting, []
        return lines

    def _write(self, lines: Sequence[bytes], first: tuple[int, bytes] | None) -> None:
        """In a thread. first: the number of the last of `lines` and the first line of the file after it."""
        self._file.write(b"".join(lines))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file_bytes += sum(map(len, lines))
        if first is not None:
            self._rotate(*first)

    def _rotate(self, last: int, line: bytes) -> None:
        """Steps: 1 the next file whole under another name, 2 a second name for this one, 3 the next in its place."""
        with ExitStack() as unless_all_went_well:
            following = unless_all_went_well.enter_context(_next_path(self._path).open("xb"))  # 1
            os.fchmod(following.fileno(), 0o600)
            lock(following, _next_path(self._path))
            following.write(line)
            following.flush()
            os.fsync(following.fileno())
            old = _old_path(self._path, last)
            old.hardlink_to(self._path)  # 2
            _sync_folder(self._path.parent)
            _next_path(self._path).replace(self._path)  # 3
            old.chmod(OLD_MODE)
            _sync_folder(self._path.parent)
            unless_all_went_well.pop_all()
        self._file.close()
        self._file, self._file_bytes = following, len(line)


def _check_head(head: RecordHead, since: Mapping[int, str], mac: Mac | None) -> None:
    """since: the digests of the lines from the last head on; a head may be of a line of the file before."""
    if since.get(head.number, head.sha256.hex()) != head.sha256.hex():
        raise AuditBroken(f"line {head.number} of the record is not the one that was vouched for")
    if mac is not None and mac(head.key_id, head_bytes(head.number, head.sha256)) != head.mac:
        raise AuditBroken(f"the head of line {head.number} was not made with this token's key")


def _check_link(path: Path) -> None:
    """That the file before this one, if it is still there, ends with the line that this one continues."""
    with path.open("rb") as file:
        line = file.readline(LINE_BYTES_MAX)
    entry = json.loads(line) if line.endswith(b"\n") else {}
    if entry.get("phase") != CONTINUED:
        return
    number, before = start_of(entry)
    old = _old_path(path, number - 1)
    if old.exists() and line_sha256(_last_line(old)) != before:
        raise AuditBroken(f"{path.name} does not continue {old.name}: one of them was changed")


def _last_line(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LINE_BYTES_MAX))
        return b"".join(file.read().splitlines(keepends=True)[-1:])


def _tidy(path: Path) -> None:
    """A rotation that a crash cut short is undone before its third step, and finished after it."""
    _next_path(path).unlink(missing_ok=True)
    for old in old_files(path):
        if old.samefile(path):
            old.unlink()
        elif old.stat().st_mode & 0o777 != OLD_MODE:
            old.chmod(OLD_MODE)


def lock(file: BinaryIO, path: Path) -> None:
    """Ends with the process, whatever ends it. Whoever opened it before another bridge rotated it holds the old one."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise AuditBroken("another bridge is running on the same files") from error
    if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
        raise AuditBroken("another bridge is running on the same files")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _next_path(path: Path) -> Path:
    return path.with_suffix(".next")


def _old_path(path: Path, last: int) -> Path:
    """Numbers sort as texts, and all of them before the file in use."""
    return path.with_name(f"{path.stem}-{last:015}{path.suffix}")
