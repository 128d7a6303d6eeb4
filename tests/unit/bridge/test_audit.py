"""The record of key uses."""

import json
import os
from pathlib import Path

import anyio
import pytest

from hsm_bridge.audit import Audit, AuditBroken, read_chain

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
