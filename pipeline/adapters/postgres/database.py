"""A few connections for one role: what the gateway and the verbs of an operator use. ports' errors: Transient.

Owns     lending and replacing connections, and ringing the doorbell after a commit: at once on the connection that
         committed, or, within `ringing()`, merged and on a connection of its own, so that no request waits for it
Elsewhere: a stage's mailbox (mailbox.py) and what is asked (the stores)
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import asyncpg

from pipeline.adapters.postgres.link import GUARD_SECONDS, Link
from pipeline.adapters.postgres.ringer import LOST, Ringer
from pipeline.adapters.postgres.tx import PostgresTx
from pipeline.errors import Transient
from pipeline.formats.database_address import Dsn

CONNECTIONS_MAX = 8  # for one gateway on two cores; more only moves the queue into the server
WAIT_SECONDS = 5.0  # for a free connection; a request that waits longer gets a 503


class Database:
    """Bounded connections under one role, opened on demand, replaced when they die."""

    def __init__(self, dsn: Dsn, connections_max: int = CONNECTIONS_MAX, answer_seconds: float = GUARD_SECONDS) -> None:
        self._dsn = dsn
        self._answer_seconds = answer_seconds
        self._free: list[Link] = []
        self._places = anyio.Semaphore(connections_max)
        self._ringer: Ringer | None = None

    async def fetch(self, name: str, *arguments: Any) -> list[asyncpg.Record]:
        """One statement; when it returns it is committed."""
        async with self._link() as link:
            return await link.call(name, *arguments)

    async def fetch_one(self, name: str, *arguments: Any) -> asyncpg.Record | None:
        """The first row, or None."""
        rows = await self.fetch(name, *arguments)
        return rows[0] if rows else None

    async def copy(self, table: tuple[str, str], columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Many rows at once; when it returns they are committed."""
        async with self._link() as link:
            await link.copy(table, columns, rows)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresTx]:
        """BEGIN .. COMMIT, then a ring for every stage that got something. A lost ring costs one sweep."""
        async with self._link() as link:
            tx = PostgresTx(link, stage="")
            async with link.transaction():
                yield tx
            if self._ringer is not None:
                self._ringer.ask(tx.rung)
            elif tx.rung:
                try:
                    await link.call("ring", sorted(tx.rung))
                except LOST:
                    link.terminate()  # committed all the same; the next sweep finds it

    @asynccontextmanager
    async def ringing(self) -> AsyncIterator[None]:
        """For a process that commits much: while this lasts its rings are merged, and nobody waits for one."""
        bell = Link(self._dsn)

        async def ring(stages: list[str]) -> None:
            if not bell.is_open:
                await bell.open()
            await bell.call("ring", stages)

        self._ringer = Ringer(ring)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._ringer.run)
                yield
                tasks.cancel_scope.cancel()
        finally:
            self._ringer = None
            await bell.close()

    async def close(self) -> None:
        """Leave in good order."""
        while self._free:
            await self._free.pop().close()

    @asynccontextmanager
    async def _link(self) -> AsyncIterator[Link]:
        try:
            with anyio.fail_after(WAIT_SECONDS):
                await self._places.acquire()
        except TimeoutError as error:
            raise Transient("no free database connection") from error
        try:
            link = self._free.pop() if self._free else Link(self._dsn, guard_seconds=self._answer_seconds)
            if not link.is_open:
                await link.open()
            yield link
            if link.is_open:
                self._free.append(link)
        except asyncpg.PostgresError:
            self._free.append(link)  # the statement was refused, the session is fine
            raise
        except BaseException:
            link.terminate()
            raise
        finally:
            self._places.release()
