"""pipeline.feed.ports.EventLog over the one session that may be elected.

Owns     how far back it looks, the doorbell of the process
Elsewhere: the election (elected.py)
"""

from collections import deque
from typing import Any

import anyio

from pipeline.adapters.postgres.elected import ElectedSession
from pipeline.feed.attempts import CIRCUIT_FAILURES, SET_ASIDE_MAX
from pipeline.formats.database_address import Dsn

ELECTION = "qerds/event-sequencer"
KIND = "events"
WATERMARK_SECONDS = 20.0  # numbers become visible out of order: look this far behind the newest that was placed
FULL_SECONDS = 30.0  # and so often at every row


class LookBack:
    """Where to begin looking, so that rows which are gone are not walked over again and again, and none is passed by.

    Of a term: a new one looks at every row first.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._next_full = float("-inf")

    def saw(self, at: float, newest: int) -> None:
        """Remember the newest number that was placed."""
        self._seen.append((at, newest))

    def lowest(self, at: float) -> int:
        """The lowest number worth looking at."""
        if at >= self._next_full:
            self._next_full = at + FULL_SECONDS
            return 0
        while len(self._seen) > 1 and self._seen[1][0] <= at - WATERMARK_SECONDS:
            self._seen.popleft()
        return self._seen[0][1] if self._seen and self._seen[0][0] <= at - WATERMARK_SECONDS else 0


class PostgresEventLog:
    """One candidate."""

    def __init__(self, dsn: Dsn) -> None:
        self._session = ElectedSession(dsn, ELECTION, self._heard)
        self._rung = anyio.Event()
        self._look_back = LookBack()

    @property
    def proven_at(self) -> float:
        return self._session.proven_at

    async def elect(self) -> int | None:
        self._look_back = LookBack()
        return await self._session.elect()

    async def stop(self) -> None:
        await self._session.stop()

    async def sequence(self, count_max: int) -> int:
        """One transaction: rows gone, events there, head moved."""
        now = anyio.current_time()
        rows = await self._session.call("sequence_events", self._look_back.lowest(now), count_max)
        if rows[0]["newest"] is not None:
            self._look_back.saw(now, rows[0]["newest"])
        return int(rows[0]["sequenced"])

    async def wake(self) -> int:
        """Messages to idle webhooks, and one ring."""
        woken = await self._session.call("wake_webhooks", CIRCUIT_FAILURES, SET_ASIDE_MAX)
        if woken:
            await self._session.call("ring", ["webhook"])
        return len(woken)

    async def forget(self, count_max: int) -> int:
        """The oldest that are too old."""
        rows = await self._session.call("forget_events", count_max)
        return int(rows[0]["forgotten"])

    async def doorbell(self, seconds: float) -> None:
        """A ring is a hint."""
        with anyio.move_on_after(seconds):
            await self._rung.wait()
        self._rung = anyio.Event()

    def _heard(self, _connection: Any, _pid: int, _channel: str, payload: str) -> None:
        if payload == KIND:
            self._rung.set()
