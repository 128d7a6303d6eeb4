"""The bridge's one connection to PostgreSQL: publishing public keys, and reading the legal clock.

Owns     inserts into qerds.published_key, qerds.published_document, qerds.published_statement and qerds.key_use_head
         (only the role qerds_bridge may), and qerds.legal_now() in an embedded installation; its clock
         beside this host's in every one
Rules    what is published never changes: an existing row wins. Readers take a row only as the newest statement has it,
         so a forged one buys nothing: rows and their statement are there together. The bridge serves on without
         PostgreSQL, but stamps nothing while the legal clock cannot be read
Elsewhere: what is published and stated (service). This is a door to asyncpg of its own, because the bridge shares no
         code with the pipeline's adapters
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import anyio
import asyncpg

from hsm_bridge.clock import ClockAway, ClockComparison, ClockReading, now, to_milliseconds
from hsm_bridge.errors import BridgeError
from hsm_bridge.wire import PublicKey
from pipeline.formats.database_address import Dsn
from pipeline.formats.key_record import RecordHead
from pipeline.process.first_host import NoHost, connect_first

ROLE = "qerds_bridge"
STATEMENTS_MAX = 8  # prepared ones kept: all of ours
STATEMENT_SECONDS_MAX = 5
# InternalClientError: the driver's answer when the server ends the connection between two messages of one statement
DRIVER_ERRORS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
INSERT_KEY = """
    INSERT INTO qerds.published_key (key_id, use, spki, certificate, not_before, until)
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (key_id) DO NOTHING
"""
INSERT_DOCUMENT = """
    INSERT INTO qerds.published_document (name, version, body) VALUES ($1, $2, $3)
    ON CONFLICT (name, version) DO NOTHING
"""
INSERT_HEAD = """
    INSERT INTO qerds.key_use_head (number, sha256, key_id, mac) VALUES ($1, $2, $3, $4)
    ON CONFLICT (number, sha256) DO NOTHING
"""
INSERT_STATEMENT = "INSERT INTO qerds.published_statement (body) VALUES ($1)"

Result = TypeVar("Result")


class PublicationAway(BridgeError):
    """PostgreSQL did not do it; publishing is repeated later."""


class Publication:
    """One connection, made when needed and again after any trouble."""

    def __init__(self, dsn: Dsn) -> None:
        self.comparison = ClockComparison()
        self._dsn = dsn
        self._connection: Any = None
        self._lock = anyio.Lock()

    async def publish(
        self, keys: Sequence[PublicKey], documents: Sequence[tuple[str, int, bytes]], statement: bytes
    ) -> None:
        """Inserts what is not there yet, and the statement of all; durable on return, may be repeated. Raises
        PublicationAway."""
        rows = [(k.key_id, k.use, k.spki, k.certificate, k.not_before, k.not_after) for k in keys]

        async def insert(connection: Any) -> None:
            async with connection.transaction():
                await connection.executemany(INSERT_KEY, rows)
                await connection.executemany(INSERT_DOCUMENT, list(documents))
                await connection.execute(INSERT_STATEMENT, statement)

        await self._run(insert)

    async def anchor(self, heads: Sequence[RecordHead]) -> None:
        """Inserts the heads of the record that are not there yet; may be repeated. Raises PublicationAway."""
        rows = [(head.number, head.sha256, head.key_id, head.mac) for head in heads]

        async def insert(connection: Any) -> None:
            await connection.executemany(INSERT_HEAD, rows)

        await self._run(insert)

    async def legal_now(self) -> datetime:
        """The installation's legal time. Raises ClockAway."""
        try:
            _, moment = await self.compare()
        except PublicationAway as error:
            raise ClockAway(str(error)) from error
        self.comparison.check()
        return moment

    async def compare(self) -> tuple[ClockReading, datetime]:
        """Reads the database's clock beside ours, and its legal time. Raises PublicationAway."""

        async def read(connection: Any) -> tuple[ClockReading, datetime]:
            before = now()
            real, legal = await connection.fetchrow("SELECT clock_timestamp(), qerds.legal_now()")
            return ClockReading(before, to_milliseconds(real), now()), to_milliseconds(legal)

        reading, moment = await self._run(read)
        self.comparison.keep(reading)
        return reading, moment

    async def close(self) -> None:
        """Ends the connection."""
        async with self._lock:
            self._drop()

    async def _run(self, work: Callable[[Any], Awaitable[Result]]) -> Result:
        """One at a time, whole, with a deadline: a cancelled statement would leave the connection unsure."""
        async with self._lock:
            if self._connection is None:
                self._connection = await self._connect()
            try:
                with anyio.fail_after(STATEMENT_SECONDS_MAX, shield=True):
                    return await work(self._connection)
            except DRIVER_ERRORS as error:
                self._drop()
                raise PublicationAway(f"PostgreSQL: {type(error).__name__}") from error

    async def _connect(self) -> Any:
        connect = partial(asyncpg.connect, statement_cache_size=STATEMENTS_MAX)
        try:
            return await connect_first(self._dsn, connect, DRIVER_ERRORS)
        except NoHost as error:
            raise PublicationAway(f"PostgreSQL is away: {error}") from error

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
