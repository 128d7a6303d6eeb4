"""pipeline.stores.senders.SandboxClock over PostgreSQL, as the role qerds_gateway.

Made in embedded installations only (pipeline/connect.py).
"""

from contextlib import suppress
from datetime import datetime, timedelta

from pipeline.adapters.postgres.database import Database
from pipeline.delivery.routes import RECEIVER
from pipeline.errors import Transient


class PostgresSandboxClock:
    """The demo clock. The database refuses to move it in any other installation."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def advance(self, period: timedelta) -> datetime | None:
        """One statement, then a ring for every stage: what has come due is met at once and not at the next sweep."""
        row = await self._database.fetch_one("advance_legal_clock", period.total_seconds())
        moved: datetime | None = None if row is None else row["legal_now"]
        if moved is not None:
            with suppress(Transient):  # it has moved all the same: who is told "try again" would move it twice
                await self._database.fetch("ring", sorted(set(RECEIVER.values())))
        return moved

    async def end(self) -> datetime:
        [row] = await self._database.fetch("legal_clock_end")
        end: datetime = row["clock_end"]
        return end
