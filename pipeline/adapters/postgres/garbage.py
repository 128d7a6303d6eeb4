"""pipeline.retention.janitor.Garbage over PostgreSQL, as the role qerds_archive. The queries are in sql/garbage.sql."""

from collections.abc import Sequence

import asyncpg

from pipeline.adapters.postgres.database import Database
from pipeline.errors import Transient
from pipeline.retention.janitor import CleanedThrough, Dropped


class PostgresGarbage:
    """On a connection of its own: a round never waits for the stage, and the stage never for a round."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def drop_uploads(self, after: CleanedThrough, older_seconds: float, limit: int) -> Dropped:
        """One statement."""
        try:
            [row] = await self._database.fetch("drop_uploads", after.expires_at, after.upload, older_seconds, limit)
        except asyncpg.ForeignKeyViolationError as error:
            raise Transient("a letter has begun to use an upload that was about to go") from error
        last = CleanedThrough(row["last_expires_at"], row["last_id"]) if row["examined"] else after
        return Dropped(row["examined"], row["uploads"], tuple(row["objects"]), last)

    async def drop_packs(self, older_seconds: float, limit: int) -> Sequence[str]:
        """One statement."""
        return [row["object"] for row in await self._database.fetch("drop_packs", older_seconds, limit)]

    async def unnamed(self, objects: Sequence[str]) -> frozenset[str]:
        """One statement."""
        return frozenset(row["object"] for row in await self._database.fetch("unnamed_objects", list(objects)))
