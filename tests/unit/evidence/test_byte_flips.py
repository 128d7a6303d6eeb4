"""No byte of a proof can change unnoticed.

A plain flip in a package already breaks the zip's checksum, so every position is also tried with a correct zip
around the damaged entry, where only seals and digests can notice.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable

import pytest

from pipeline.evidence.package.container import pack, unpack
from pipeline.evidence.package.snapshot import SIGNATURES
from pipeline.evidence.verification import Verdict, verify
from tests.unit.evidence.conftest import Letter

RANDOM_POSITIONS = int(os.environ.get("QERDS_FLIPS", "1000"))
SHARES = 4
UNNOTICED = (Verdict.VALID, Verdict.INDETERMINATE)


def unnoticed(data: bytes, positions: Iterable[int], anchors: tuple[bytes, ...], mask: int) -> list[int]:
    survived, changed = [], bytearray(data)
    for position in positions:
        changed[position] ^= mask
        if verify(bytes(changed), anchors).verdict in UNNOTICED:
            survived.append(position)
        changed[position] ^= mask
    return survived


def structure(package: bytes) -> list[int]:
    """Positions of everything that is zip and not content: local headers, names, directory, end."""
    positions: list[int] = []
    offset = 0
    for name, content in unpack(package):
        header_bytes = 30 + len(name)
        positions += range(offset, offset + header_bytes)
        offset += header_bytes + len(content)
    return positions + list(range(offset, len(package)))


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80])
def test_every_byte_of_the_zip_structure(letter: Letter, mask: int) -> None:
    """Each header, name, directory and end byte counts."""
    assert unnoticed(letter.package, structure(letter.package), letter.anchors, mask) == []


def test_random_bytes_of_the_package(letter: Letter) -> None:
    """Any byte, any bit (QERDS_FLIPS sets how many positions; the seed is fixed)."""
    chosen = random.Random(2026)
    for _ in range(8):
        mask = 1 << chosen.randrange(8)
        positions = chosen.choices(range(len(letter.package)), k=RANDOM_POSITIONS // 8)
        assert unnoticed(letter.package, positions, letter.anchors, mask) == []


@pytest.mark.parametrize("share", range(SHARES))
def test_every_byte_of_one_evidence(letter: Letter, share: int) -> None:
    """Alone, an evidence notices every flip: form, seal, time-stamp."""
    document = letter.documents[2]
    assert unnoticed(document, range(share, len(document), SHARES), letter.anchors, 0x01) == []


@pytest.mark.parametrize("share", range(SHARES))
def test_every_byte_of_the_package_seal_behind_a_correct_zip(letter: Letter, share: int) -> None:
    """The seal file is covered by no digest, so each of its bytes is rebuilt or signed."""
    entries = unpack(letter.package)
    content = bytearray(dict(entries)[SIGNATURES])
    survived = []
    for position in range(share, len(content), SHARES):
        content[position] ^= 0x01
        damaged = pack([*entries[:-1], (SIGNATURES, bytes(content))])
        if verify(damaged, letter.anchors).verdict in UNNOTICED:
            survived.append(position)
        content[position] ^= 0x01
    assert survived == []


def test_each_entry_behind_a_correct_zip(letter: Letter) -> None:
    """A damaged entry in a correct zip is noticed by the digests that the package seal signs."""
    entries = unpack(letter.package)
    for index, (name, content) in enumerate(entries):
        for position in range(0, len(content), 97):
            damaged = bytearray(content)
            damaged[position] ^= 0x04
            changed = pack([*entries[:index], (name, bytes(damaged)), *entries[index + 1 :]])
            assert verify(changed, letter.anchors).verdict not in UNNOTICED, (name, position)
