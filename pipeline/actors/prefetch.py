"""The next batch, taken while the last one commits.

Owns     at most one take beside a COMMIT, and its batch until the loop asks for one. One object per epoch
Rules    what is held here is running under our epoch like every batch: a crash leaves it to rescue
Elsewhere: when another batch is likely enough, what a drain does with it (loop.py), how rows are taken
         (pipeline.ports.mailbox.Mailbox)
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn

import anyio

from pipeline.ports.mailbox import Message


class Prefetch:
    """`take(limit)` runs while the COMMIT of the batch before waits for its flush."""

    def __init__(self, take: Callable[[int], Awaitable[Sequence[Message]]]) -> None:
        self._take = take
        self._limit = 0  # messages; 0: nobody asked
        self._held: Sequence[Message] = ()
        self._asked, self._taken = anyio.Event(), anyio.Event()

    def ask(self, limit: int) -> None:
        """Begin soon, unless one is held or under way; returns at once."""
        if not self._limit:
            self._limit = limit
            self._asked.set()

    async def run(self) -> NoReturn:
        """Take on demand until cancelled. Raises what `take` raises."""
        while True:
            await self._asked.wait()
            self._asked = anyio.Event()
            self._held = await self._take(self._limit)
            self._taken.set()

    async def collect(self) -> Sequence[Message]:
        """The batch that was asked for, once; [] when none was, or none was there."""
        if not self._limit:
            return []
        await self._taken.wait()
        batch, self._held, self._limit = self._held, (), 0
        self._taken = anyio.Event()
        return batch
