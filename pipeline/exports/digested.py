"""The digest of what goes by."""

from collections.abc import AsyncIterator
from typing import Protocol


class Digest(Protocol):
    """What hashlib makes."""

    def update(self, data: bytes, /) -> None: ...


async def digested(pieces: AsyncIterator[bytes], digest: Digest) -> AsyncIterator[bytes]:
    """The same pieces; `digest` has seen each of them before it is passed on."""
    async for piece in pieces:
        digest.update(piece)
        yield piece
