"""The zip file of a package, in one spelling: stored, fixed dates, no extra fields, no comment.

Owns both directions. `entries_of` reads only what `Packer` writes: it rebuilds every piece from what it read and
compares every byte, so nothing can hide between, before or after the entries, and no two readers can see different
entries. Neither holds more than one entry beside the file itself. `pack` and `unpack` are the two for small files.
Knows nothing of what the entries mean.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence

ENTRIES_MAX = 200
CONTAINER_BYTES_MAX = 33_554_432  # 200 evidences of 60,000 bytes are 12,000,000
FORMAT_ENTRIES_MAX = 65_535  # more, or 4 GiB, would need ZIP64, which not every reader has
FORMAT_BYTES_MAX = 0xFFFF_FFFF

# APPNOTE 6.3: sections 4.3.7, 4.3.12 and 4.3.16.
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_LOCAL_MAGIC, _CENTRAL_MAGIC, _END_MAGIC = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_VERSION = 20
_MIDNIGHT, _FIRST_DAY = 0, 0x21  # 1980-01-01 00:00, the oldest date that the format has

Entries = Sequence[tuple[str, bytes]]


class ContainerRefused(ValueError):
    """Not a zip file that `pack` writes."""


class Packer:
    """Writes a container piece by piece: an entry at a time, and the directory at the end."""

    def __init__(self) -> None:
        self._directory: list[bytes] = []
        self._names: set[str] = set()
        self.offset_bytes = 0  # what was written so far

    def entry(self, name: str, content: bytes) -> bytes:
        """The bytes of the next entry."""
        encoded = name.encode("ascii")
        if name in self._names or len(self._names) == FORMAT_ENTRIES_MAX:
            raise ContainerRefused("too many entries, or a name given twice")
        common = (0, 0, _MIDNIGHT, _FIRST_DAY, zlib.crc32(content), len(content), len(content), len(encoded), 0)
        head = _LOCAL.pack(_LOCAL_MAGIC, _VERSION, *common) + encoded
        central = _CENTRAL.pack(_CENTRAL_MAGIC, _VERSION, _VERSION, *common, 0, 0, 0, 0, self.offset_bytes)
        if self.offset_bytes + len(head) + len(content) > FORMAT_BYTES_MAX:
            raise ContainerRefused("longer than the format allows")
        self._directory.append(central + encoded)
        self._names.add(name)
        self.offset_bytes += len(head) + len(content)
        return head + content

    def end(self) -> bytes:
        """The directory: nothing comes after it."""
        central = b"".join(self._directory)
        count = len(self._directory)
        return central + _END.pack(_END_MAGIC, 0, 0, count, count, len(central), self.offset_bytes, 0)


def pack(entries: Entries) -> bytes:
    """The container's bytes: the same entries always give the same bytes."""
    if not 1 <= len(entries) <= ENTRIES_MAX:
        raise ContainerRefused("too many entries, or none")
    packer = Packer()
    return b"".join([*(packer.entry(name, content) for name, content in entries), packer.end()])


def unpack(container: bytes) -> list[tuple[str, bytes]]:
    """The entries; raises ContainerRefused unless packing them again gives the same bytes."""
    if len(container) > CONTAINER_BYTES_MAX:
        raise ContainerRefused(f"container of {len(container)} bytes, at most {CONTAINER_BYTES_MAX}")
    return list(entries_of(container, ENTRIES_MAX))


def entries_of(container: bytes, entries_max: int) -> Iterator[tuple[str, bytes]]:
    """One entry after the other; raises ContainerRefused as soon as rebuilding gives other bytes.

    Whoever stops before the end has not read a container.
    """
    packer, view, offset = Packer(), memoryview(container), 0
    while container[offset : offset + 4] == _LOCAL_MAGIC:
        name, content, end = _entry(container, offset)
        if packer.entry(name, content) != view[offset:end]:
            raise ContainerRefused("rebuilding the container gives other bytes")
        entries_max -= 1
        if entries_max < 0:
            raise ContainerRefused("too many entries")
        yield name, content
        offset = end
    if not offset or packer.end() != view[offset:]:
        raise ContainerRefused("rebuilding the container gives other bytes")


def _entry(container: bytes, offset: int) -> tuple[str, bytes, int]:
    start = offset + _LOCAL.size
    if start > len(container):
        raise ContainerRefused("container ends inside an entry")
    fields = _LOCAL.unpack_from(container, offset)
    size, name_length = fields[8], fields[9]
    try:
        name = container[start : start + name_length].decode("ascii")
    except UnicodeDecodeError as error:
        raise ContainerRefused("entry name is not ASCII") from error
    end = start + name_length + size
    if end > len(container):
        raise ContainerRefused("container ends inside an entry")
    return name, container[start + name_length : end], end
