"""Objects in memory, for the simulation: the same promises as the real store, and failures on request.

Passes tests/contract/test_objects.py. `down` (test only) makes every call raise Transient.
"""

from collections.abc import AsyncGenerator, AsyncIterator

import anyio
import anyio.lowlevel

from pipeline.content.names import check_object_name
from pipeline.errors import ObjectExists, ObjectMissing, Transient
from pipeline.ports.outside import ListedObject

READ_BYTES = 1024 * 1024


class MemoryObjects:
    """A dictionary with the manners of a store."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.down = False
        self._put_at: dict[str, float] = {}

    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> int:
        """Visible and complete on return, nothing before."""
        check_object_name(name)
        await self._checkpoint()
        content = b"".join([chunk async for chunk in chunks])
        await self._checkpoint()
        if name in self.objects:
            raise ObjectExists("an object of this name exists")
        self.objects[name] = content
        self._put_at[name] = anyio.current_time()
        return len(content)

    async def read(self, name: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes from `offset`, at most `length`, in chunks."""
        check_object_name(name)
        end = None if length is None else offset + length
        while end is None or offset < end:
            await self._checkpoint()
            if name not in self.objects:
                raise ObjectMissing("no such object")
            wanted_bytes = READ_BYTES if end is None else min(READ_BYTES, end - offset)
            chunk = self.objects[name][offset : offset + wanted_bytes]
            if not chunk:
                return
            offset += len(chunk)
            yield chunk

    async def size(self, name: str) -> int | None:
        """Length in bytes, None when there is no such object."""
        check_object_name(name)
        await self._checkpoint()
        content = self.objects.get(name)
        return None if content is None else len(content)

    async def delete(self, name: str) -> None:
        """Gone on return."""
        check_object_name(name)
        await self._checkpoint()
        self.objects.pop(name, None)

    async def list(self, older_seconds: float) -> AsyncGenerator[ListedObject, None]:
        """By anyio's clock, for objects that were put; planted ones are as old as the world."""
        await self._checkpoint()
        now = anyio.current_time()
        for name, content in [*self.objects.items()]:
            await self._checkpoint()
            age_seconds = now - self._put_at.get(name, float("-inf"))
            if age_seconds >= older_seconds and name in self.objects:
                yield ListedObject(name, len(content), age_seconds)

    async def check(self) -> None:
        """Raises Transient while `down`."""
        await self._checkpoint()

    async def remove_unfinished(self, older_seconds: float) -> int:
        """Nothing is ever left unfinished in memory."""
        await self._checkpoint()
        return 0

    async def _checkpoint(self) -> None:
        await anyio.lowlevel.checkpoint()
        if self.down:
            raise Transient("the object store does not answer")
