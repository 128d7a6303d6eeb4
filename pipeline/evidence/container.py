"""The zip file of a package, in one spelling: stored, fixed dates, no extra fields, no comment.

Owns both directions. `unpack` reads only what `pack` writes: it rebuilds the file from what it read and compares every
byte, so nothing can hide between, before or after the entries, and no two readers can see different entries.
Knows nothing of what the entries mean.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

ENTRIES_MAX = 200
CONTAINER_BYTES_MAX = 33_554_432  # 200 evidences of 60,000 bytes are 12,000,000

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


def pack(entries: Entries) -> bytes:
    """The container's bytes: the same entries always give the same bytes."""
    if not 1 <= len(entries) <= ENTRIES_MAX or len({name for name, _ in entries}) != len(entries):
        raise ContainerRefused("too many entries, none, or a name given twice")
    body, directory, offset = [], [], 0
    for name, content in entries:
        encoded = name.encode("ascii")
        common = (0, 0, _MIDNIGHT, _FIRST_DAY, zlib.crc32(content), len(content), len(content), len(encoded), 0)
        local = _LOCAL.pack(_LOCAL_MAGIC, _VERSION, *common) + encoded
        directory.append(_CENTRAL.pack(_CENTRAL_MAGIC, _VERSION, _VERSION, *common, 0, 0, 0, 0, offset) + encoded)
        body += [local, content]
        offset += len(local) + len(content)
    central = b"".join(directory)
    end = _END.pack(_END_MAGIC, 0, 0, len(entries), len(entries), len(central), offset, 0)
    return b"".join([*body, central, end])


def unpack(container: bytes) -> list[tuple[str, bytes]]:
    """The entries; raises ContainerRefused unless packing them again gives the same bytes."""
    if len(container) > CONTAINER_BYTES_MAX:
        raise ContainerRefused(f"container of {len(container)} bytes, at most {CONTAINER_BYTES_MAX}")
    entries: list[tuple[str, bytes]] = []
    offset = 0
    while container[offset : offset + 4] == _LOCAL_MAGIC and len(entries) <= ENTRIES_MAX:
        name, content, offset = _entry(container, offset)
        entries.append((name, content))
    if pack(entries) != container:
        raise ContainerRefused("rebuilding the container gives other bytes")
    return entries


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
