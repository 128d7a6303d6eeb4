"""Documents on their way out, wherever their bytes lie: whole objects, parts, ranges of a pack."""

import os
from dataclasses import replace

import pytest

from gateway.portal.download import plain_content
from pipeline.content.envelope import CONTENT_FORMAT, PACKED_FORMAT, Encryptor, stream_data
from pipeline.errors import Invariant
from pipeline.stores.letters import Document, DocumentSegment, StoredDocument, Wrap
from tests.fakes.objects import MemoryObjects

pytestmark = pytest.mark.anyio
WRAP = Wrap("kek", b"", b"")


def stream(key: bytes, content_format: str, name: str, offset: int, content: bytes) -> bytes:
    cipher = Encryptor(key, stream_data(content_format, name, offset), os.urandom(32), os.urandom(7))
    return cipher.update(content) + cipher.finish()


def document(segments: tuple[DocumentSegment, ...], keys: int) -> StoredDocument:
    length = sum(s.bytes for s in segments)
    return StoredDocument(Document(1, "a.txt", "text/plain", length, b"", False), segments, keys, WRAP, b"receipt")


async def handed_over(objects: MemoryObjects, stored: StoredDocument, keys: bytes) -> bytes:
    return b"".join([piece async for piece in plain_content(objects, stored, keys)])


async def test_parts_come_out_in_order() -> None:
    """Each part from its object, with its own key among the letter's keys."""
    objects, keys = MemoryObjects(), os.urandom(96)
    pieces, segments = (b"first ", b"second ", b"third"), []
    for index, piece in enumerate(pieces):
        name = os.urandom(16).hex()
        objects.objects[name] = stream(keys[index * 32 : index * 32 + 32], CONTENT_FORMAT, name, 0, piece)
        segments.append(DocumentSegment(name, CONTENT_FORMAT, len(piece), index))
    assert await handed_over(objects, document(tuple(segments), 3), keys) == b"".join(pieces)


async def test_a_packed_content_is_read_by_its_range() -> None:
    """Only its own bytes are read; another place, another length or another format is not the document."""
    objects, keys, name = MemoryObjects(), os.urandom(64), os.urandom(16).hex()
    first = stream(keys[:32], PACKED_FORMAT, name, 0, b"of somebody else")
    second = stream(keys[32:], PACKED_FORMAT, name, len(first), b"of this letter")
    objects.objects[name] = first + second + b"and more"
    segment = DocumentSegment(name, PACKED_FORMAT, 14, 1, len(first), len(second))
    assert await handed_over(objects, document((segment,), 2), keys) == b"of this letter"
    for wrong in (
        replace(segment, object_offset=0),
        replace(segment, object_bytes=len(second) + 1),
        replace(segment, object_bytes=None),
        replace(segment, key_index=0),
        replace(segment, content_format=CONTENT_FORMAT),
        replace(segment, content_format="another"),
    ):
        with pytest.raises(Invariant):
            await handed_over(objects, document((wrong,), 2), keys)
    with pytest.raises(Invariant):
        await handed_over(objects, document((segment,), 3), keys)
