"""Rings of the doorbell, merged: many commits within some milliseconds become one NOTIFY.

Owns     what is still to be rung, and the pause between two rings. The first ring of a pause goes out at once
Rules    whoever commits never waits for a ring: a NOTIFY is a commit of its own, and all of them queue for one lock of
         the database
Crash    rings not yet made are lost, with the process or with the session; each costs the receiver one sweep
Elsewhere: who hears a ring (mailbox.py), the reasons (docs/mailbox.md)
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import NoReturn

import anyio
import asyncpg

from pipeline.errors import Transient

LOST = (Transient, asyncpg.ProgramLimitExceededError)  # away; or its queue is full, because some listener reads nothing
RING_SECONDS = 0.010  # rings are merged within this; leading edge


class Ringer:
    """`ring(stages)` makes one ring for several stages; what LOST names is a lost ring, anything else a fault."""

    def __init__(self, ring: Callable[[list[str]], Awaitable[object]]) -> None:
        self._ring = ring
        self._due: set[str] = set()
        self._asked = anyio.Event()

    def ask(self, stages: Iterable[str]) -> None:
        """Soon; returns at once."""
        self._due.update(stages)
        if self._due:
            self._asked.set()

    async def run(self) -> NoReturn:
        """Ring on demand until cancelled. Raises LeaseLost when `ring` does."""
        while True:
            await self._asked.wait()
            self._asked = anyio.Event()
            stages, self._due = sorted(self._due), set()
            try:
                await self._ring(stages)
            except LOST:
                continue
            await anyio.sleep(RING_SECONDS)
