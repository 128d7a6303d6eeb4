"""Packs: many small contents in one object, each with a key that opens at its own place only."""

import tracemalloc
from collections.abc import AsyncIterator
from hashlib import sha3_256, sha256
from uuid import UUID, uuid4

import anyio.lowlevel
import pytest

from gateway.sender import packs
from gateway.sender.packs import packing
from pipeline.adapters.postgres.packs import add_pack
from pipeline.connect import database_of
from pipeline.content.envelope import (
    PACKED_FORMAT,
    SUITE,
    ContentInvalid,
    Decryptor,
    open_packed_key,
    stream_data,
)
from pipeline.errors import Transient
from pipeline.formats.context import pack_info, packed_key_data
from pipeline.stores.senders import PackRows, StoredSegment
from tests.fakes.objects import MemoryObjects
from tests.gateway.sender.conftest import World

pytestmark = pytest.mark.anyio

SENDER = UUID(int=5)
CONTENTS = [b"Dear Sir,", b"x" * 70_000, b"Dear Madam,", bytes(1)]


class WatchedObjects(MemoryObjects):
    """Counts the puts and their pieces; fails after so many pieces."""

    def __init__(self, fails_after: int | None = None) -> None:
        super().__init__()
        self.puts = 0
        self.pieces = 0
        self._fails_after = fails_after

    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> int:
        self.puts += 1
        return await super().put(name, self._counted(chunks))

    async def _counted(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            self.pieces += 1
            if self._fails_after is not None and self.pieces > self._fails_after:
                raise Transient("the disk is full")
            yield chunk


class Devouring(WatchedObjects):
    """Keeps nothing of what it takes."""

    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> int:
        length = 0
        async for chunk in chunks:
            await anyio.lowlevel.checkpoint()
            length += len(chunk)
        return length


async def packed(world: World, contents: list[bytes]) -> PackRows:
    intake = await world.parts.keys.active("intake")
    async with packing(world.parts, intake) as pack:
        for content in contents:
            await pack.add(SENDER, "letter.txt", "text/plain", content)
        rows = await pack.finish()
    assert rows is not None
    return rows


def key_of(world: World, rows: PackRows, upload: UUID, segment: StoredSegment) -> bytes:
    """As the bridge and `encrypt` get to it."""
    pack_key = SUITE.decrypt(rows.pack.sealed_key, world.parts.keys.intake, info=pack_info(rows.pack.object))
    s = segment
    place = packed_key_data(SENDER, upload, 1, s.object, s.object_offset, s.content_format, s.plain_bytes)
    return open_packed_key(pack_key, s.sealed_key, place)


async def test_many_contents_are_one_object(world: World) -> None:
    """One put; every content is found by its range and opens with its own key."""
    objects = world.parts.objects = WatchedObjects()
    rows = await packed(world, CONTENTS)
    assert objects.puts == 1
    stored = objects.objects[rows.pack.object]
    assert rows.pack.object_bytes == len(stored)
    assert [(u.sha256, u.sha3_256) for u, _ in rows.contents] == [
        (sha256(c).digest(), sha3_256(c).digest()) for c in CONTENTS
    ]
    end = 0
    for content, (upload, s) in zip(CONTENTS, rows.contents, strict=True):
        assert (s.object_offset, s.content_format) == (end, PACKED_FORMAT)
        assert s.object_bytes is not None
        end = s.object_offset + s.object_bytes
        key = key_of(world, rows, upload.id, s)
        decryptor = Decryptor(key, stream_data(s.content_format, s.object, s.object_offset))
        assert decryptor.update(stored[s.object_offset : end]) + decryptor.finish() == content
    assert end == len(stored)
    assert not any(content in stored for content in CONTENTS[:3])


async def test_a_key_opens_for_its_own_upload_only(world: World) -> None:
    """Neither for another upload nor with another content's sealed key."""
    world.parts.objects = WatchedObjects()
    rows = await packed(world, CONTENTS)
    (first, one), (_, two) = rows.contents[:2]
    for upload, segment in ((uuid4(), one), (first.id, two)):
        with pytest.raises(ContentInvalid):
            key_of(world, rows, upload, segment)


async def test_small_contents_are_written_together(world: World) -> None:
    """A thousand letters cost the store a few writes."""
    objects = world.parts.objects = WatchedObjects()
    await packed(world, [b"Dear customer"] * 1000)
    assert objects.puts == 1 and objects.pieces < 5


async def test_a_pack_of_nothing_writes_nothing(world: World) -> None:
    """No content, no object, no rows."""
    objects = world.parts.objects = WatchedObjects()
    async with packing(world.parts, await world.parts.keys.active("intake")) as pack:
        assert await pack.finish() is None
    assert objects.puts == 0


async def test_a_pack_that_is_not_finished_leaves_nothing(world: World) -> None:
    """An exception of the one who adds comes out as it is, and the store keeps nothing."""
    objects = world.parts.objects = WatchedObjects()
    with pytest.raises(LookupError, match="the line is broken"):
        async with packing(world.parts, await world.parts.keys.active("intake")) as pack:
            await pack.add(SENDER, "a", "text/plain", b"content")
            raise LookupError("the line is broken")
    async with packing(world.parts, await world.parts.keys.active("intake")) as pack:
        await pack.add(SENDER, "a", "text/plain", b"content")
    assert objects.objects == {}


@pytest.mark.parametrize("letters", [1, 100])
async def test_a_store_that_fails_is_told(world: World, letters: int) -> None:
    """While contents are still added, or at the end: Transient, and no rows."""
    world.parts.objects = WatchedObjects(fails_after=0)
    with pytest.raises(Transient, match="the disk is full"):
        await packed(world, [bytes(300_000)] * letters)


async def test_an_empty_content_is_none(world: World) -> None:
    """A document has bytes."""
    with pytest.raises(ValueError, match="at least one byte"):
        await packed(world, [b""])


async def test_the_rows_name_what_is_stored(world: World) -> None:
    """As the gateway's role, in one transaction; the uploads are complete and usable for a month."""
    rows = await packed(world, CONTENTS)
    world.psql(
        "INSERT INTO qerds.sender (id, name, email, identity_level, identity_method, identified_at) "
        f"VALUES ('{SENDER}', 'n', 'e', 'high', 'video', now())"
    )
    database = database_of(world.parts.config, "qerds_gateway")
    async with database.transaction() as tx:
        await add_pack(tx, rows)
    await database.close()
    known = await world.parts.senders.uploads(SENDER, [u.id for u, _ in rows.contents])
    assert known == {u.id: u for u, _ in rows.contents}
    assert world.count("qerds.upload_segment g JOIN qerds.pack p ON p.object = g.object") == len(CONTENTS)
    life = rows.contents[0][0].expires_at - world.parts.clock.now()
    assert life.days == packs.PACKED_DAYS


async def test_memory_does_not_grow_with_the_pack(world: World) -> None:
    """Thirty megabytes pass through in a few."""
    world.parts.objects = Devouring()
    content = bytes(300_000)
    tracemalloc.start()
    try:
        await packed(world, [content] * 100)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 8 * 1024 * 1024
