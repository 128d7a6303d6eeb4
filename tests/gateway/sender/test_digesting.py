"""Digests of a body that comes in pieces of any size are those of the whole."""

import hashlib
from random import Random

import anyio
import pytest

from gateway.sender.digesting import BLOCK_BYTES, Digests

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("size_bytes", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 5 * BLOCK_BYTES + 12_345])
async def test_pieces_give_the_digests_of_the_whole(size_bytes: int) -> None:
    """In order, whether a block is full, left over or empty."""
    random = Random(size_bytes)
    content, digests, at = random.randbytes(size_bytes), Digests(), 0
    while at < size_bytes:
        piece = content[at : at + random.choice((1, 4096, 65_536, 300_000))]
        await digests.update(piece)
        at += len(piece)
    assert await digests.finish() == (hashlib.sha256(content).digest(), hashlib.sha3_256(content).digest())


async def test_many_bodies_at_once_do_not_mix() -> None:
    """They share the threads, not the digests."""
    found: dict[int, tuple[bytes, bytes]] = {}

    async def one(number: int) -> None:
        digests = Digests()
        for _ in range(6):
            await digests.update(bytes([number]) * (BLOCK_BYTES // 2))
            await anyio.lowlevel.checkpoint()
        found[number] = await digests.finish()

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(one, number)
    for number, got in found.items():
        whole = bytes([number]) * (3 * BLOCK_BYTES)
        assert got == (hashlib.sha256(whole).digest(), hashlib.sha3_256(whole).digest())
