"""The record of key uses."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import anyio
import pytest

from hsm_bridge.audit import Audit, AuditBroken, lock
from pipeline.formats.key_record import old_files, read_chain

pytestmark = pytest.mark.anyio


async def write(path: Path, count: int) -> None:
    audit = Audit.open(path)
    for number in range(count):
        await audit.record({"op": "seal_evidence", "number": number})
    audit.close()


async def test_the_chain_goes_on_over_restarts(tmp_path: Path) -> None:
    """Each line names the line before, also across a stop and a start; the file is for the bridge alone."""
    path = tmp_path / "b" / "audit.jsonl"
    await write(path, 3)
    await write(path, 2)
    with path.open("rb") as file:
        assert [number for _, number in read_chain(file)] == [1, 2, 3, 4, 5]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("change", ["edit", "drop", "swap", "not json"])
async def test_a_changed_record_stops_the_start(tmp_path: Path, change: str) -> None:
    """An edited, missing or reordered line is noticed."""
    path = tmp_path / "audit.jsonl"
    await write(path, 4)
    lines = path.read_bytes().splitlines(keepends=True)
    if change == "edit":
        lines[1] = lines[1].replace(b"seal_evidence", b"sign_evidence")
    elif change == "drop":
        del lines[1]
    elif change == "swap":
        lines[1], lines[2] = lines[2], lines[1]
    else:
        lines[1] = b"hello\n"
    path.write_bytes(b"".join(lines))
    with pytest.raises(AuditBroken):
        Audit.open(path)


async def test_a_torn_line_is_cut_and_the_cut_is_recorded(tmp_path: Path) -> None:
    """A crash while writing leaves half a line; nobody was answered for it, so it goes, and the file says so."""
    path = tmp_path / "audit.jsonl"
    await write(path, 2)
    whole = path.read_bytes()
    os.truncate(path, len(whole) - 10)
    Audit.open(path).close()
    lines = path.read_bytes().splitlines()
    assert [json.loads(line).get("phase") for line in lines] == [None, "cut"]
    Audit.open(path).close()


SMALL_BYTES = 600  # some four lines


async def fill(path: Path, count: int) -> None:
    audit = Audit.open(path, SMALL_BYTES)
    for number in range(count):
        await audit.record({"number": number})
    audit.close()


def chain(path: Path) -> list[dict[str, Any]]:
    """Every line of every file, each file checked, in order."""
    entries = []
    for one in [*old_files(path), path]:
        with one.open("rb") as file:
            entries += [json.loads(line) for line, _ in read_chain(file)]
    return entries


async def test_a_full_file_is_put_aside_and_the_chain_goes_on(tmp_path: Path) -> None:
    """No line is lost or repeated, each names the one before, also over files; what is put aside is read-only."""
    path = tmp_path / "audit.jsonl"
    await fill(path, 7)
    await fill(path, 7)
    entries = chain(path)
    assert [e["number"] for e in entries if "number" in e] == [*range(7), *range(7)]
    assert [e["n"] for e in entries] == list(range(1, len(entries) + 1))
    old = old_files(path)
    assert len(old) >= 2
    assert {one.stat().st_mode & 0o777 for one in old} == {0o400}
    assert path.stat().st_mode & 0o777 == 0o600
    lines = [line for one in [*old, path] for line in one.read_bytes().splitlines(keepends=True)]
    digests = ["0" * 64, *(hashlib.sha256(line).hexdigest() for line in lines)]
    assert [e["before"] for e in entries] == digests[:-1]
    assert not (tmp_path / "audit.next").exists()


async def test_what_is_put_aside_may_be_taken_elsewhere(tmp_path: Path) -> None:
    """The file in use says itself where it begins."""
    path = tmp_path / "audit.jsonl"
    await fill(path, 9)
    last = chain(path)[-1]["n"]
    for one in old_files(path):
        one.unlink()
    await fill(path, 1)
    assert [e["n"] for e in chain(path)][-1] > last


async def test_many_records_at_once_are_kept_over_a_rotation(tmp_path: Path) -> None:
    """Lines that come while a file is being put aside go into the next one."""
    path = tmp_path / "audit.jsonl"
    audit = Audit.open(path, SMALL_BYTES)
    async with anyio.create_task_group() as tasks:
        for worker in range(20):

            async def write_some(worker: int = worker) -> None:
                for number in range(10):
                    await audit.record({"number": 10 * worker + number})

            tasks.start_soon(write_some)
    audit.close()
    entries = chain(path)
    assert sorted(e["number"] for e in entries if "number" in e) == list(range(200))
    assert [e["n"] for e in entries] == list(range(1, len(entries) + 1))
    Audit.open(path, SMALL_BYTES).close()


class Crash(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("step", ["open", "hardlink_to", "replace", "chmod"])
async def test_a_crash_while_rotating_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Before each step: the next start finds a whole chain, rotates again or has done so; nothing half done is left."""
    path = tmp_path / "audit.jsonl"
    audit, answered = Audit.open(path, SMALL_BYTES), 0
    real = getattr(Path, step)

    def dies(self: Path, *arguments: Any, **options: Any) -> Any:
        if step != "open" or arguments == ("xb",):
            raise Crash
        return real(self, *arguments, **options)

    with monkeypatch.context() as patched, pytest.raises(Crash):
        patched.setattr(Path, step, dies)
        while True:
            await audit.record({"number": answered})
            answered += 1
    audit.close()
    await fill(path, 9)
    entries = chain(path)
    assert [e["n"] for e in entries] == list(range(1, len(entries) + 1))
    numbers = [e["number"] for e in entries if "number" in e]
    assert numbers[:answered] == list(range(answered))
    assert numbers[-9:] == list(range(9))
    assert not (tmp_path / "audit.next").exists()
    assert all(one.stat().st_nlink == 1 and one.stat().st_mode & 0o777 == 0o400 for one in old_files(path))


async def test_after_a_line_that_could_not_be_written_none_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full for a moment must leave no hole in the chain: the process ends, and the next one goes on."""
    path = tmp_path / "audit.jsonl"
    audit = Audit.open(path)
    await audit.record({"number": 0})
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space"):
            await audit.record({"number": 1})
    with pytest.raises(OSError, match="could not be written"):
        await audit.record({"number": 2})
    audit.close()
    Audit.open(path).close()


@pytest.mark.parametrize("change", ["old line", "new start", "nothing there"])
async def test_files_that_do_not_fit_together_stop_the_start(tmp_path: Path, change: str) -> None:
    """As long as the file before is there, what the one in use says of it is checked."""
    path = tmp_path / "audit.jsonl"
    await fill(path, 9)
    last = old_files(path)[-1]
    if change == "old line":
        last.chmod(0o600)
        last.write_bytes(last.read_bytes().replace(b'"number"', b'"numbed"'))
    elif change == "new start":
        first = path.read_bytes().splitlines()[0]
        path.write_bytes(json.dumps({**json.loads(first), "before": "1" * 64}).encode() + b"\n")
    else:
        path.unlink()
    with pytest.raises(AuditBroken):
        Audit.open(path)


async def test_a_bridge_that_waited_for_the_old_file_does_not_get_it(tmp_path: Path) -> None:
    """Who opened audit.jsonl before a rotation and gets the lock after it holds a file that nobody may write to."""
    path = tmp_path / "audit.jsonl"
    await fill(path, 1)
    with path.open("ab") as waiting:
        await fill(path, 9)
        with pytest.raises(AuditBroken, match="another bridge"):
            lock(waiting, path)


async def test_two_bridges_cannot_write_one_record(tmp_path: Path) -> None:
    """A second bridge on the same files does not start: two writers would break the chain."""
    path = tmp_path / "audit.jsonl"
    first = Audit.open(path)
    with pytest.raises(AuditBroken, match="another bridge"):
        Audit.open(path)
    first.close()
    Audit.open(path).close()


async def test_many_records_at_once_are_all_kept_in_order(tmp_path: Path) -> None:
    """Waiters share a flush; none is lost, and the chain holds."""
    path = tmp_path / "audit.jsonl"
    audit = Audit.open(path)
    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(audit.record, {"number": number})
    audit.close()
    with path.open("rb") as file:
        assert {json.loads(line)["number"] for line, _ in read_chain(file)} == set(range(50))
