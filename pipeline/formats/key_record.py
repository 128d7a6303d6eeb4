"""The form of the bridge's record of key uses: what the bridge writes and the ledger reads.

Owns     the chain of lines (one JSON object a line, each naming the digest of the line before), the names of its files,
         heads: what a MAC of the token's key is over, so that nobody without the key computes a chain anew
Rules    pure but for the file that it is given
Elsewhere: writing, durability, rotation (hsm_bridge/audit.py), comparing with the database (operate/ledger_record.py)
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

GENESIS = "0" * 64
CONTINUED = "continued"  # the phase of the first line of every file but the very first
HEAD = "head"
LINE_BYTES_MAX = 256 * 1024  # 512 items of about 100 bytes, and room
DOMAIN = b"qerds-key-record-head-v1\x00"
_HEAD_MARK = b'"phase":"head"'


class RecordBroken(Exception):
    """The chain does not hold: somebody changed the file, or the disk did."""


@dataclass(frozen=True, slots=True)
class RecordHead:
    """What the record was at a line: its number, its digest, and the MAC over both by the token's key `key_id`."""

    number: int
    sha256: bytes
    key_id: str
    mac: bytes


def head_bytes(number: int, sha256: bytes) -> bytes:
    """What the MAC is over."""
    return DOMAIN + number.to_bytes(8) + sha256


def head_entry(head: RecordHead) -> dict[str, object]:
    """The line that states a head."""
    fields = {"of": head.number, "sha256": head.sha256.hex(), "key": head.key_id, "mac": head.mac.hex()}
    return {"phase": HEAD, **fields}


def head_in(line: bytes) -> RecordHead | None:
    """The head that a line states; None for any other line. Raises RecordBroken for one that is none of ours."""
    if _HEAD_MARK not in line:
        return None
    entry = json.loads(line)
    if entry.get("phase") != HEAD:
        return None
    try:
        return RecordHead(
            int(entry["of"]), bytes.fromhex(entry["sha256"]), str(entry["key"]), bytes.fromhex(entry["mac"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RecordBroken(f"audit line {entry.get('n')} is no head") from error


def read_chain(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Whole lines of one file with their numbers, checked; stops before a last line without end. Raises RecordBroken.

    A file that continues another says itself where it begins; whether that is true, the other one knows.
    """
    number, last_sha256 = 0, GENESIS
    while (line := file.readline(LINE_BYTES_MAX)).endswith(b"\n"):
        number += 1
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise RecordBroken(f"audit line {number} is not JSON") from error
        if not isinstance(entry, dict):
            raise RecordBroken(f"audit line {number} is no object")
        if last_sha256 == GENESIS and entry.get("phase") == CONTINUED:
            number, last_sha256 = start_of(entry)
        if (entry.get("n"), entry.get("before")) != (number, last_sha256):
            raise RecordBroken(f"the audit chain breaks at line {number}")
        last_sha256 = line_sha256(line)
        yield line, number


def start_of(entry: Mapping[str, object]) -> tuple[int, str]:
    """Number and predecessor of a file's first line, as it says."""
    number, before = entry.get("n"), entry.get("before")
    if type(number) is not int or number <= 1 or not isinstance(before, str):
        raise RecordBroken("the first line of the audit file does not say what it continues")
    return number, before


def old_files(path: Path) -> list[Path]:
    """The files that were before this one and have not been taken elsewhere, the oldest first."""
    return sorted(path.parent.glob(f"{path.stem}-[0-9]*{path.suffix}"))


def line_sha256(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
