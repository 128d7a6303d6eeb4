"""What every object store promises: one suite for the local store, the fake and S3.

Elsewhere: what only one of them can do (test_objects.py, tests/s3/test_objects_s3.py), and the stores themselves
"""

from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import pytest

from pipeline.errors import ObjectExists, ObjectMissing
from pipeline.ports.outside import Objects

NAME = "00112233445566778899aabbccddeeff"
OTHER = "ff112233445566778899aabbccddeeff"
BIG = bytes(range(256)) * 9000  # more than two reads of 1 MiB
PARTS = bytes(range(256)) * 46_000  # more than two parts of a multipart upload


async def chunks(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        await anyio.lowlevel.checkpoint()
        yield piece


async def content(objects: Objects, name: str, offset: int = 0, length: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in objects.read(name, offset, length)])


async def listed(objects: Objects, older_seconds: float = 0.0) -> dict[str, int]:
    return {found.name: found.bytes async for found in objects.list(older_seconds)}


class ObjectsContract:
    """Inherited by the test classes; they give the fixture `objects`: an empty store."""

    async def test_what_was_put_is_read_back(self, objects: Objects) -> None:
        """The chunks, in order, and their length."""
        assert await objects.put(NAME, chunks(b"ab", b"", b"c", BIG)) == 3 + len(BIG)
        assert await content(objects, NAME) == b"abc" + BIG
        assert await objects.size(NAME) == 3 + len(BIG)

    async def test_a_large_object_is_put_in_many_chunks(self, objects: Objects) -> None:
        """Whatever a store does with it on the way, it is the bytes, in order; and its name is taken."""
        pieces = [PARTS[start : start + 700_001] for start in range(0, len(PARTS), 700_001)]
        assert await objects.put(NAME, chunks(*pieces)) == len(PARTS)
        assert await content(objects, NAME) == PARTS
        assert await content(objects, NAME, len(PARTS) - 3) == PARTS[-3:]
        with pytest.raises(ObjectExists):
            await objects.put(NAME, chunks(PARTS))

    async def test_an_empty_object_is_an_object(self, objects: Objects) -> None:
        """Nothing put is not nothing there."""
        assert await objects.put(NAME, chunks()) == 0
        assert await objects.size(NAME) == 0
        assert await content(objects, NAME) == b""

    @pytest.mark.parametrize(
        ("offset", "length"), [(0, 0), (0, 1), (5, 10), (1_048_570, 20), (0, None), (7, None), (9**9, 5)]
    )
    async def test_ranges(self, objects: Objects, offset: int, length: int | None) -> None:
        """A range is what a slice would be, across the pieces of reading too."""
        await objects.put(NAME, chunks(BIG))
        end = None if length is None else offset + length
        assert await content(objects, NAME, offset, length) == BIG[offset:end]

    async def test_a_name_is_used_once(self, objects: Objects) -> None:
        """A second put under a name fails and leaves the first object as it was."""
        await objects.put(NAME, chunks(b"first"))
        with pytest.raises(ObjectExists):
            await objects.put(NAME, chunks(b"second"))
        assert await content(objects, NAME) == b"first"

    async def test_of_two_writers_one_wins(self, objects: Objects) -> None:
        """Two puts of one name at once: one object, whole, and one error."""
        won: list[bytes] = []

        async def write(piece: bytes) -> None:
            try:
                await objects.put(NAME, chunks(piece, piece))
                won.append(piece)
            except ObjectExists:
                pass

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write, b"a" * 1000)
            tasks.start_soon(write, b"b" * 1000)
        assert len(won) == 1
        assert await content(objects, NAME) == won[0] * 2

    async def test_missing_objects(self, objects: Objects) -> None:
        """A missing object has no size, cannot be read, and is deleted without complaint."""
        assert await objects.size(NAME) is None
        with pytest.raises(ObjectMissing):
            await content(objects, NAME)
        await objects.delete(NAME)

    async def test_deleted_is_gone(self, objects: Objects) -> None:
        """After delete there is no object, and the neighbour is untouched."""
        await objects.put(NAME, chunks(b"x"))
        await objects.put(OTHER, chunks(b"y"))
        await objects.delete(NAME)
        assert await objects.size(NAME) is None
        assert await content(objects, OTHER) == b"y"

    async def test_a_listing_tells_every_object_of_that_age(self, objects: Objects) -> None:
        """Name and length of what is there; nothing that is younger, and nothing that was deleted."""
        assert await listed(objects) == {}
        await objects.put(NAME, chunks(b"abc"))
        await objects.put(OTHER, chunks())
        assert await listed(objects) == {NAME: 3, OTHER: 0}
        assert await listed(objects, older_seconds=3600) == {}
        await objects.delete(NAME)
        assert await listed(objects) == {OTHER: 0}

    async def test_objects_may_be_deleted_while_they_are_listed(self, objects: Objects) -> None:
        """Whoever cleans up does so as the listing goes on; each object is told once at most."""
        names = {f"00{number:030x}" for number in range(50)}
        for name in names:
            await objects.put(name, chunks(b"x"))
        told = []
        async for found in objects.list(0.0):
            told.append(found.name)
            await objects.delete(found.name)
        assert sorted(told) == sorted(names)
        assert await listed(objects) == {}

    @pytest.mark.parametrize("half", [b"half", PARTS], ids=["small", "large"])
    async def test_what_is_not_whole_is_not_listed(self, objects: Objects, half: bytes) -> None:
        """While a put is under way there is no object yet."""
        during: list[dict[str, int]] = []

        async def looking() -> AsyncIterator[bytes]:
            yield half
            during.append(await listed(objects))

        await objects.put(NAME, looking())
        assert during == [{}]

    @pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "A" * 32, "a" * 31, "a" * 32 + "/"])
    async def test_names_are_checked(self, objects: Objects, name: str) -> None:
        """No operation takes a name that is not 32 hexadecimal digits."""
        for attempt in (
            lambda: objects.put(name, chunks()),
            lambda: content(objects, name),
            lambda: objects.size(name),
            lambda: objects.delete(name),
        ):
            with pytest.raises(ValueError, match="hexadecimal"):
                await attempt()

    @pytest.mark.parametrize("half", [b"half", PARTS], ids=["small", "large"])
    async def test_a_broken_source_leaves_nothing(self, objects: Objects, half: bytes) -> None:
        """When the sender hangs up halfway, there is no object and the name is free."""

        async def broken() -> AsyncIterator[bytes]:
            yield half
            raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            await objects.put(NAME, broken())
        assert await objects.size(NAME) is None
        await objects.put(NAME, chunks(b"whole"))

    @pytest.mark.parametrize("half", [b"half", PARTS], ids=["small", "large"])
    async def test_a_cancelled_put_leaves_nothing(self, objects: Objects, half: bytes) -> None:
        """A put that is cancelled while it waits for more leaves no object and frees the name."""
        waiting = anyio.Event()

        async def endless() -> AsyncIterator[bytes]:
            yield half
            waiting.set()
            await anyio.sleep_forever()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(objects.put, NAME, endless())
            await waiting.wait()
            tasks.cancel_scope.cancel()
        assert await objects.size(NAME) is None
        await objects.put(NAME, chunks(b"whole"))
