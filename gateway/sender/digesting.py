"""The two digests of a body while it passes, the slow one beside the loop.

Owns     SHA-256 in place, SHA3-256 in a thread: of all that is done to a byte on its way it takes longest (0.6 GB/s,
         where SHA-256 and the cipher do two), and it would hold up every other request meanwhile
Rules    bounded: at most two blocks of a body are held for it; what is shorter than a block is digested in place
Elsewhere: what the digests are compared with (encrypted_upload.py)
"""

from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha3_256, sha256

from anyio.to_thread import run_sync

BLOCK_BYTES = 1024 * 1024
WORKERS = 2  # for all uploads of a gateway; both give up the interpreter while they digest
_ASIDE = ThreadPoolExecutor(WORKERS, thread_name_prefix="digest")


class Digests:
    """Of one body. `update` in order, then `finish`."""

    def __init__(self) -> None:
        self._sha256 = sha256()
        self._sha3_256 = sha3_256()
        self._block: list[bytes] = []
        self._block_bytes = 0
        self._under_way: Future[None] | None = None

    async def update(self, piece: bytes) -> None:
        """The next bytes; waits when the thread is a whole block behind."""
        self._sha256.update(piece)
        self._block.append(piece)
        self._block_bytes += len(piece)
        if self._block_bytes >= BLOCK_BYTES:
            await self._caught_up()
            self._under_way = _ASIDE.submit(self._digest, self._block)
            self._block, self._block_bytes = [], 0

    async def finish(self) -> tuple[bytes, bytes]:
        """SHA-256 and SHA3-256."""
        await self._caught_up()
        self._digest(self._block)
        return self._sha256.digest(), self._sha3_256.digest()

    async def _caught_up(self) -> None:
        if self._under_way is not None:
            if not self._under_way.done():
                await run_sync(self._under_way.result)
            self._under_way = None

    def _digest(self, block: list[bytes]) -> None:
        for piece in block:
            self._sha3_256.update(piece)
