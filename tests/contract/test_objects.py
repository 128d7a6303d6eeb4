"""The object store: one suite over the local store and the fake, then what only a disk can do."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from pipeline.adapters.measured import MeasuredObjects
from pipeline.adapters.objects import LocalObjects
from pipeline.errors import ObjectExists, Transient
from pipeline.ports.outside import Objects
from pipeline.process.recorder import Recorder
from tests.contract.objects_cases import NAME, ObjectsContract, chunks, content
from tests.fakes.objects import MemoryObjects

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The simulation runs on trio: the fake has to, and so has what it stands for."""
    return str(request.param)


@pytest.fixture(params=["local", "memory", "measured"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    if request.param == "memory":
        return MemoryObjects()
    store = LocalObjects(tmp_path)
    return store if request.param == "local" else MeasuredObjects(store, Recorder("test", write=lambda _: None))


class TestObjects(ObjectsContract):
    """The local store, with and without its measures, and the fake keep the contract."""


# ------------------------------------------------------------------ the disk
async def test_no_temporary_files_stay(tmp_path: Path) -> None:
    """After puts that worked, failed and met a taken name, the folder holds the objects and nothing else."""
    store = LocalObjects(tmp_path)
    await store.put(NAME, chunks(b"x"))
    with pytest.raises(ObjectExists):
        await store.put(NAME, chunks(b"y"))
    await store.check()
    files = files_under(tmp_path)
    assert files == [tmp_path / NAME[:2] / NAME]
    assert files[0].stat().st_mode & 0o077 == 0


KILLED_PUT = """
import anyio, os, signal, sys
from pathlib import Path
from pipeline.adapters.objects import LocalObjects

async def chunks():
    yield b"x" * 100000

def kill(file):
    os.fsync(file)
    os.kill(os.getpid(), signal.SIGKILL)

anyio.run(LocalObjects(Path(sys.argv[1]), sync=kill).put, sys.argv[2], chunks())
"""


async def test_a_kill_between_write_and_link_leaves_no_object(tmp_path: Path) -> None:
    """SIGKILL after the last byte and before the link: no object; the leftover goes with remove_unfinished."""
    root = Path(__file__).parents[2]
    killed = await anyio.run_process(
        [sys.executable, "-c", KILLED_PUT, str(tmp_path), NAME], cwd=root, check=False, stderr=subprocess.PIPE
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    store = LocalObjects(tmp_path)
    assert await store.size(NAME) is None
    assert [path.suffix for path in files_under(tmp_path)] == [".unfinished"]
    assert await store.remove_unfinished(older_seconds=3600) == 0
    assert await store.remove_unfinished(older_seconds=0) == 1
    await store.put(NAME, chunks(b"again"))


def files_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def still_turning(ticks: int = 20) -> None:
    for _ in range(ticks):
        await anyio.lowlevel.checkpoint()


async def test_an_object_is_durable_before_it_is_there_and_its_name_before_it_is_answered(tmp_path: Path) -> None:
    """First the bytes, under a name that nobody asks for; then, with the name in place, the folder that holds it and
    the one that holds the folder: whatever a crash takes, an object that was answered is there, whole."""
    synced: list[tuple[str, bool]] = []
    place = tmp_path / NAME[:2]

    def note(file: int) -> None:
        path = Path(f"/proc/self/fd/{file}").readlink()
        what = {tmp_path: "root", place: "folder"}.get(path, "bytes" if path.stat().st_size == 5 else "other")
        synced.append((what, (place / NAME).exists()))

    assert await LocalObjects(tmp_path, sync=note).put(NAME, chunks(b"12345")) == 5
    assert synced == [("bytes", False), ("folder", True), ("root", True)]


async def test_a_stalled_write_freezes_nobody(tmp_path: Path) -> None:
    """A disk that hangs in fsync costs its caller a Transient after the deadline; the loop turns on meanwhile."""
    hangs, may_go_on = threading.Event(), threading.Event()

    def stall(file: int) -> None:
        hangs.set()
        may_go_on.wait(15)

    store = LocalObjects(tmp_path, call_seconds=0.05, sync=stall)
    failed: list[Transient] = []

    async def write() -> None:
        try:
            await store.put(NAME, chunks(b"x"))
        except Transient as error:
            failed.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        await anyio.to_thread.run_sync(hangs.wait)
        await still_turning()
        assert await store.size(NAME) is None  # other calls go on
    may_go_on.set()
    assert len(failed) == 1


async def test_a_stalled_read_freezes_nobody(tmp_path: Path) -> None:
    """A read that never returns (here: of a pipe that nobody writes to) ends in a Transient."""
    store = LocalObjects(tmp_path, call_seconds=0.05)
    (tmp_path / NAME[:2]).mkdir()
    pipe = tmp_path / NAME[:2] / NAME
    os.mkfifo(pipe)
    with pytest.raises(Transient):
        await content(store, NAME)
    await still_turning()
    os.close(os.open(pipe, os.O_WRONLY))  # lets the abandoned thread go


async def test_hanging_calls_are_counted(tmp_path: Path) -> None:
    """However many calls hang, the threads they hold stay within a bound; every caller is told in time."""
    store = LocalObjects(tmp_path, call_seconds=0.02)
    (tmp_path / NAME[:2]).mkdir()
    pipe = tmp_path / NAME[:2] / NAME
    os.mkfifo(pipe)
    before = threading.active_count()
    for _ in range(64):
        with pytest.raises(Transient):
            await content(store, NAME)
    assert threading.active_count() - before <= 34  # 32, and one that a late start let through on each side
    os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))
    release(pipe)


def release(pipe: Path) -> None:
    """Opens the pipe for writing until no reader is waiting any more."""
    for _ in range(64):
        try:
            os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return


@pytest.mark.parametrize("make", [lambda path: path, lambda path: path / "absent"])
async def test_a_folder_that_is_away_is_transient(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    """check() is silent while the folder can be written to, and Transient when it is not there."""
    store = LocalObjects(make(tmp_path))
    if make(tmp_path).is_dir():
        await store.check()
    else:
        with pytest.raises(Transient):
            await store.check()
