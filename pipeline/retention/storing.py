"""Put what was made into the store: under a fresh name, with the digest of what went by.

Owns     name and digest of an object that is written as it is made
Crash    before a row names it leaves an object that the janitor finds (janitor.py); the next try has another name
"""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from pipeline.content.names import NAME_RANDOM_BYTES, object_name
from pipeline.ports.outside import Objects, Randomness


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object, durable, that no row names yet."""

    object: str
    object_bytes: int
    sha256: bytes


class Digest(Protocol):
    """What hashlib makes."""

    def update(self, data: bytes, /) -> None: ...


async def store(pieces: AsyncIterator[bytes], objects: Objects, randomness: Randomness) -> StoredObject:
    """The pieces as one object, visible when all of them are there. Raises Transient, and whatever `pieces` raises."""
    name, sha256 = object_name(randomness.random_bytes(NAME_RANDOM_BYTES)), hashlib.sha256()
    stored_bytes = await objects.put(name, digested(pieces, sha256))
    return StoredObject(name, stored_bytes, sha256.digest())


async def digested(pieces: AsyncIterator[bytes], digest: Digest) -> AsyncIterator[bytes]:
    """The same pieces; `digest` has seen each of them before it is passed on."""
    async for piece in pieces:
        digest.update(piece)
        yield piece
