"""pipeline.process.elected.CandidateSession: PostgreSQL is the judge, a session advisory lock the term.

Owns     the election of one session, and when it was last answered
Rules    every statement of who is elected goes over this session. When the session is gone, so is the lock, and so is
         whatever was not committed; the next statement says Transient and the election begins anew
Elsewhere: what an elected process may do, and how long (pipeline/process/elected.py)
"""

from collections.abc import Callable
from typing import Any

import anyio
import asyncpg

from pipeline.adapters.postgres.link import Link
from pipeline.formats.database_address import Dsn
from pipeline.process.elected import SILENT_SECONDS


class ElectedSession:
    """One candidate for one election. heard: called on every ring of the doorbell; it may only set a flag."""

    def __init__(
        self,
        dsn: Dsn,
        election: str,
        heard: Callable[..., None] | None = None,
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        self.link = Link(dsn)
        self.proven_at = float("-inf")
        self._election = election
        self._heard = heard
        self._silent_milliseconds = round(silent_seconds * 1000)

    async def elect(self) -> int | None:
        if not self.link.is_open:
            await self.link.open()
            if self._heard is not None:
                await self.link.listen("doorbell", self._heard)
        [row] = await self.call("elect", self._election, self._silent_milliseconds)
        return None if row["term"] is None else int(row["term"])

    async def call(self, name: str, *arguments: Any) -> list[asyncpg.Record]:
        """One statement in a transaction of its own, over the session that has the lock or has not."""
        asked_at = anyio.current_time()
        rows = await self.link.call(name, *arguments)
        self.proven_at = asked_at
        return rows

    async def stop(self) -> None:
        await self.link.close()
