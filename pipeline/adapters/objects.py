"""Objects in a local folder: durable when `put` returns, invisible before, never rewritten.

Owns     ROOT/xx/NAME (xx: the first two digits), the order of writing that makes a crash harmless, the worker threads
Rules    write a temporary file beside it, fsync, link (fails when the name is taken), fsync the folder, unlink the
         temporary file. A crash before the link leaves a temporary file that nobody reads and `remove_unfinished`
         deletes; after it, a complete object
         the disk is touched in worker threads only, each call under a deadline: a disk that hangs costs its callers an
         error and the process nothing. Hanging threads are counted; past a limit new calls fail at once
Elsewhere: what is in the objects, when one is not needed any more
"""

import errno
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_thread

from pipeline.content.names import NAME_PATTERN, check_object_name
from pipeline.errors import ObjectExists, ObjectMissing, Transient
from pipeline.ports.outside import ListedObject

CALL_SECONDS = 10.0  # a healthy disk answers in milliseconds, a busy one in a second or two
PUBLISH_SECONDS = 30.0  # fsync of 100 MB behind other writers
DISCARD_SECONDS = 1.0  # tidying up after a failure waits no longer for the disk that failed
THREADS_MAX = 16  # at once; disks gain nothing from more
HANGING_MAX = 32  # abandoned calls whose thread has not come back
LISTED_AT_ONCE = 1000  # names held; a folder of a large store has some ten thousand
READ_BYTES = 1024 * 1024  # one hop to a thread costs some 0.1 ms: large pieces
DIRECTORY_MODE = 0o700
FILE_MODE = 0o600

P = ParamSpec("P")
T = TypeVar("T")


class _Writing:
    """One temporary file on its way to become an object; every method runs in a worker thread.

    The lock is for a call that was abandoned while it hung: `discard` then waits its turn, in its own thread.
    """

    def __init__(self, path: Path, sync: Callable[[int], None]) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.unfinished")
        self._sync = sync
        self._lock = threading.Lock()
        self._discarded = False
        self._file = -1

    def open(self) -> None:
        with self._lock:
            if self._discarded:
                return
            self._path.parent.mkdir(DIRECTORY_MODE, exist_ok=True)
            self._file = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)

    def write(self, chunk: bytes) -> None:
        with self._lock:
            rest = memoryview(chunk)
            while len(rest) and self._file >= 0:
                rest = rest[os.write(self._file, rest) :]

    def publish(self) -> None:
        with self._lock:
            if self._discarded:
                return
            self._sync(self._file)
            os.link(self._temporary, self._path)
            sync_directory(self._path.parent, self._sync)
            sync_directory(self._path.parent.parent, self._sync)  # another writer may have made xx/ a moment ago
            self._end()

    def discard(self) -> None:
        with self._lock:
            self._discarded = True
            self._end()

    def _end(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self._temporary.unlink(missing_ok=True)


class LocalObjects:
    """The store under `root`. `sync` is a seam for tests: it stands in for fsync of a file and its folders."""

    def __init__(self, root: Path, call_seconds: float = CALL_SECONDS, sync: Callable[[int], None] = os.fsync) -> None:
        self._root = root
        self._call_seconds = call_seconds
        self._publish_seconds = call_seconds * PUBLISH_SECONDS / CALL_SECONDS
        self._sync = sync
        self._threads = anyio.CapacityLimiter(THREADS_MAX)
        self._count = threading.Lock()
        self._hanging = 0

    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> int:
        """Stores; durable on return, nothing visible before. The length in bytes.

        A name is used once: raises ObjectExists, and leaves that object as it is. When an answer is lost the object may
        be there; whoever tries again draws another name, and the first stays. An exception from `chunks`
        leaves nothing.
        """
        writing = _Writing(self._path(name), self._sync)
        stored_bytes = 0
        try:
            await self._call(self._call_seconds, writing.open)
            async for chunk in chunks:
                await self._call(self._call_seconds, writing.write, chunk)
                stored_bytes += len(chunk)
            await self._call(self._publish_seconds, writing.publish)
        finally:  # after `publish` there is nothing left to discard
            with anyio.move_on_after(DISCARD_SECONDS, shield=True):
                await anyio.to_thread.run_sync(writing.discard, abandon_on_cancel=True)
        return stored_bytes

    async def read(self, name: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes from `offset`, at most `length`, in chunks. Raises ObjectMissing, Transient.

        Holds no open file between chunks: objects are never rewritten, and a reader that goes away leaves nothing.
        """
        path = self._path(name)
        end = None if length is None else offset + length
        while end is None or offset < end:
            wanted_bytes = READ_BYTES if end is None else min(READ_BYTES, end - offset)
            chunk = await self._call(self._call_seconds, read_at, path, offset, wanted_bytes)
            if not chunk:
                return
            offset += len(chunk)
            yield chunk

    async def size(self, name: str) -> int | None:
        """Length in bytes, None when there is no such object. Raises Transient."""
        try:
            return (await self._call(self._call_seconds, self._path(name).stat)).st_size
        except ObjectMissing:
            return None

    async def delete(self, name: str) -> None:
        """Gone on return; no error when it was gone already. Raises Transient."""
        await self._call(self._call_seconds, self._path(name).unlink, missing_ok=True)

    async def list(self, older_seconds: float) -> AsyncGenerator[ListedObject, None]:
        """Every object that is at least so old by the file system's clock. Raises Transient."""
        now = await self._call(self._call_seconds, store_time, self._root)
        for folder in await self._call(self._call_seconds, folders_of, self._root):
            entries = await self._call(self._call_seconds, os.scandir, folder)
            try:
                while page := await self._call(self._call_seconds, next_objects, entries, now):
                    for listed in page:
                        if listed.age_seconds >= older_seconds:
                            yield listed
            finally:
                entries.close()

    async def check(self) -> None:
        """Raises Transient when the store cannot be written to now. Leaves nothing."""
        await self._call(self._call_seconds, probe, self._root)

    async def remove_unfinished(self, older_seconds: float) -> int:
        """Deletes temporary files that a crash left, when they are that old; how many."""
        return await self._call(self._publish_seconds, remove_unfinished, self._root, older_seconds)

    def _path(self, name: str) -> Path:
        check_object_name(name)
        return self._root / name[:2] / name

    async def _call(self, seconds: float, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`work` in a worker thread under a deadline, its errors in our words."""
        if self._hanging >= HANGING_MAX:
            raise Transient("the object store does not answer")
        try:
            with anyio.fail_after(seconds):
                return await anyio.to_thread.run_sync(
                    self._counted(work, *args, **kwargs), abandon_on_cancel=True, limiter=self._threads
                )
        except TimeoutError as error:
            raise Transient(f"the object store did not answer in {seconds:g} s") from error
        except FileNotFoundError as error:
            raise ObjectMissing("no such object") from error
        except FileExistsError as error:
            raise ObjectExists("an object of this name exists") from error
        except OSError as error:
            raise Transient(f"the object store failed: {error.strerror}") from error

    def _counted(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Callable[[], T]:
        def counted() -> T:
            with self._count:
                self._hanging += 1
            try:
                return work(*args, **kwargs)
            finally:
                with self._count:
                    self._hanging -= 1

        return counted


def read_at(path: Path, offset: int, wanted_bytes: int) -> bytes:
    """One piece; empty at the end."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(file, wanted_bytes, offset)
    finally:
        os.close(file)


def probe(root: Path) -> None:
    """Whether a file could be written: the folder is ours, its disk is neither full nor read-only. Asked on behalf of
    strangers, so it writes none. Raises OSError."""
    disk = os.statvfs(root)
    if disk.f_flag & os.ST_RDONLY:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    if not disk.f_bavail or (disk.f_files and not disk.f_favail):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if not root.is_dir() or not os.access(root, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def sync_directory(directory: Path, sync: Callable[[int], None]) -> None:
    """Makes the names in a folder durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync(handle)
    finally:
        os.close(handle)


def store_time(root: Path) -> float:
    """The file system's own clock: a fresh file in the store is `now`."""
    marker = root / f".now-{os.getpid()}-{threading.get_ident()}"
    marker.write_bytes(b"")
    now = marker.stat().st_mtime
    marker.unlink()
    return now


def folders_of(root: Path) -> list[Path]:
    """The 256 there may be."""
    return sorted(root.glob("[0-9a-f][0-9a-f]"))


def next_objects(entries: Iterator[os.DirEntry[str]], now: float) -> list[ListedObject]:
    """The next objects of a folder; empty at its end. What is unfinished, or goes meanwhile, is none."""
    objects: list[ListedObject] = []
    for entry in entries:
        if NAME_PATTERN.fullmatch(entry.name):
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            objects.append(ListedObject(entry.name, status.st_size, now - status.st_mtime))
        if len(objects) >= LISTED_AT_ONCE:
            break
    return objects


def remove_unfinished(root: Path, older_seconds: float) -> int:
    """By the file system's own clock."""
    now = store_time(root)
    removed = 0
    for path in root.glob("[0-9a-f][0-9a-f]/.*.unfinished"):
        if now - path.stat().st_mtime >= older_seconds:
            path.unlink(missing_ok=True)
            removed += 1
    return removed
