"""One connection to PostgreSQL under anyio, safe against cancellation at every await.

Owns     the shields. The driver's own transaction manager committed behind the caller's back in 251 of 400 random
         cancellations; here BEGIN, COMMIT, ROLLBACK and every single statement that commits are shielded, with a
         deadline, and nothing else is
Rules    anything but a plain server error ends the connection: a driver in doubt is never used again
Elsewhere: what the statements are (queries.py), who may reconnect when (mailbox.py, database.py)
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import anyio
import asyncpg

from pipeline.adapters.postgres.queries import queries
from pipeline.errors import QerdsError, Transient
from pipeline.formats.database_address import Dsn
from pipeline.process.first_host import NoHost, connect_first

GUARD_SECONDS = 10.0  # for a statement or a COMMIT that does not come back
CLOSE_SECONDS = 1.0
STATEMENTS_MAX = 512  # prepared ones kept per connection: all of ours

# What a server that cannot be used answers to a connection, or its network does.
REFUSALS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
# Server errors that say "not now" or "this session is over", not "this statement is wrong".
_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # 57: shutdown, crash, query cancelled by statement_timeout
    asyncpg.InsufficientResourcesError,  # 53
    asyncpg.IdleInTransactionSessionTimeoutError,
)
_NOT_NOW = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.LockNotAvailableError)
T = TypeVar("T")


class Link:
    """One session. `lost` is the error its death is told by: LeaseLost on the message path, Transient elsewhere."""

    def __init__(self, dsn: Dsn, lost: type[QerdsError] = Transient, guard_seconds: float = GUARD_SECONDS) -> None:
        self._dsn = dsn
        self._lost = lost
        self._guard_seconds = guard_seconds
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    @property
    def is_open(self) -> bool:
        """Whether statements may be sent."""
        return self._connection is not None and not self._connection.is_closed()

    async def open(self) -> None:
        """Connect anew. Raises Transient when no server of the address is there, trusted and takes writes."""
        self.terminate()
        connect = partial(asyncpg.connect, statement_cache_size=STATEMENTS_MAX)
        try:
            self._connection = await connect_first(self._dsn, connect, REFUSALS)
        except NoHost as error:
            raise Transient(f"PostgreSQL is away: {error}") from error

    async def close(self) -> None:
        """Leave in good order when the server still answers."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.close(timeout=CLOSE_SECONDS)
            except REFUSALS:
                connection.terminate()

    def terminate(self) -> None:
        """Drop the session without a word; whatever it had open is rolled back by the server."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def call(self, name: str, *arguments: Any) -> list[asyncpg.Record]:
        """One statement in its own implicit transaction. When it returns it is committed and the caller knows it."""
        query = queries()[name]
        return await self._guarded(lambda c: c.fetch(query, *arguments))

    async def fetch(self, name: str, *arguments: Any) -> list[asyncpg.Record]:
        """One statement inside `transaction()`. May be cancelled: the transaction is rolled back then."""
        query = queries()[name]
        return await self._timed(lambda c: c.fetch(query, *arguments))

    async def copy(self, table: tuple[str, str], columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """COPY rows into (schema, table), in a transaction of its own. When it returns it is committed."""
        schema, name = table
        await self._guarded(
            lambda c: c.copy_records_to_table(name, schema_name=schema, columns=list(columns), records=rows)
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """BEGIN .. COMMIT; any exception, cancellation included, ROLLBACK.

        A cancellation during COMMIT waits for its answer: nobody is ever told "cancelled" of something committed.
        """
        await self._guarded(lambda c: c.execute("BEGIN"))
        try:
            yield
        except BaseException:
            if self.is_open:
                await self._guarded(lambda c: c.execute("ROLLBACK"))
            raise
        await self._guarded(lambda c: c.execute("COMMIT"))

    async def listen(self, channel: str, callback: Callable[..., None]) -> None:
        """Call `callback(connection, pid, channel, payload)` on every NOTIFY; it may only set a flag."""
        await self._guarded(lambda c: c.add_listener(channel, callback))

    async def _timed(self, send: Callable[["asyncpg.Connection[asyncpg.Record]"], Awaitable[T]]) -> T:
        """Inside a transaction. A statement that takes too long, say behind a lock, is an outside that is away."""
        try:
            with anyio.fail_after(self._guard_seconds):
                return await self._translated(send)
        except TimeoutError as error:
            raise Transient(f"no answer from PostgreSQL in {self._guard_seconds:.0f} s") from error

    async def _guarded(self, send: Callable[["asyncpg.Connection[asyncpg.Record]"], Awaitable[T]]) -> T:
        with anyio.move_on_after(self._guard_seconds, shield=True):
            return await self._translated(send)
        self.terminate()
        raise self._lost(f"no answer from PostgreSQL in {self._guard_seconds:.0f} s")

    async def _translated(self, send: Callable[["asyncpg.Connection[asyncpg.Record]"], Awaitable[T]]) -> T:
        connection = self._connection
        if connection is None or connection.is_closed():
            raise self._lost("the session is gone")
        try:
            return await send(connection)
        except _NOT_NOW as error:
            raise Transient(f"PostgreSQL: {type(error).__name__}") from error
        except _AWAY as error:
            self.terminate()
            raise self._lost(f"PostgreSQL: {type(error).__name__}") from error
        except asyncpg.PostgresError:
            raise  # the server refuses the statement: a fault of the message or ours, found singly by the loop
        except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            self.terminate()
            raise self._lost(f"the session died: {type(error).__name__}") from error
