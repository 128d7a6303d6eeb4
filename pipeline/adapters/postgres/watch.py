"""ops.service.Watch over one session, which holds an advisory lock while it is elected."""

from typing import Any

import asyncpg

from pipeline.adapters.postgres.link import Link
from pipeline.formats.database_address import Dsn


class PostgresWatch:
    """One candidate."""

    def __init__(self, dsn: Dsn) -> None:
        self._link = Link(dsn)

    async def elect(self) -> bool:
        """Whether this session has the lock."""
        if not self._link.is_open:
            await self._link.open()
        return bool((await self._link.call("elect_ops"))[0]["elected"])

    async def ask(self, name: str, *arguments: Any) -> list[asyncpg.Record]:
        """One statement, which writes nothing."""
        return await self._link.call(name, *arguments)

    async def stop(self) -> None:
        """Leave in good order."""
        await self._link.close()
