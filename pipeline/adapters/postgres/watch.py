"""pipeline.measures.measurer.Watch over the one session that may be elected."""

from typing import Any

import asyncpg

from pipeline.adapters.postgres.elected import ElectedSession
from pipeline.formats.database_address import Dsn

ELECTION = "qerds/ops"


class PostgresWatch(ElectedSession):
    """One candidate."""

    def __init__(self, dsn: Dsn) -> None:
        super().__init__(dsn, ELECTION)

    async def ask(self, name: str, *arguments: Any) -> list[asyncpg.Record]:
        """One statement, which writes nothing."""
        return await self.call(name, *arguments)
