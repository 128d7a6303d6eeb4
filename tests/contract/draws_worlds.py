"""Two worlds with the same submitted batches: PostgreSQL and memory.

Owns     planting a sender, an upload, a consent and batches; reading and writing as `ingest`
Elsewhere: the promises themselves (test_draws.py)
"""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Protocol
from uuid import UUID, uuid4

from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.draws import PostgresDraws
from pipeline.adapters.postgres.link import Link
from pipeline.adapters.postgres.tx import PostgresTx
from pipeline.evidence.dossier import RecipientParty, SenderParty
from pipeline.formats.configuration import DatabaseSettings
from pipeline.stores.batches import SUBMITTED, BatchTx, DrawFacts, StoredLine
from pipeline.stores.senders import Consent, DeclaredDocument, Order, SenderUpload, Submission
from tests.db import small_batch
from tests.memory.batches import BatchRow, MemoryDraws
from tests.memory.database import MemoryClock, MemoryDatabase
from tests.servers import PostgresServer

BEGAN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
FAR = datetime(2199, 1, 1, tzinfo=UTC)
ZEROS = "'\\x" + "00" * 32 + "'"
SENDER, UPLOAD = uuid4(), uuid4()
EMAIL = "jean@example.net"
REF = "consent-1"


class World(Protocol):
    """One installation, with SENDER, its UPLOAD and its consent REF."""

    async def submit(self, *parts: Sequence[bytes]) -> UUID: ...
    def tx(self) -> AbstractAsyncContextManager[BatchTx]: ...
    def draws(self) -> AbstractAsyncContextManager[DrawFacts]: ...
    def set_state(self, batch: UUID, state: str) -> None: ...
    def set_delivery(self, delivery: UUID, state: str) -> None: ...
    def wait(self, stage: str, count: int) -> None: ...


def order(delivery: UUID, ref: str | None, number: int, subject: str = "s") -> Order:
    """A professional's letter."""
    recipient = RecipientParty("professional", EMAIL, "Jean", "Martin")
    documents = (DeclaredDocument(1, UPLOAD, "a.pdf", bytes(32)),)
    digest = subject.encode().ljust(32, b".")
    submission = Submission(ref, recipient, "fr", None, subject, {"k": "v"}, documents, digest)
    return Order(delivery, f"{number:014d}", SENDER, "non_qualified", "embedded-1", submission)


class MemoryWorld:
    """A few dictionaries. Made on first use: its clock is the event loop's."""

    @cached_property
    def memory(self) -> MemoryDatabase:
        memory = MemoryDatabase(MemoryClock(BEGAN))
        upload = SenderUpload(UPLOAD, SENDER, "a.pdf", "application/pdf", 0, bytes(32), bytes(32), FAR)
        memory.bulk.uploads[UPLOAD] = (upload, ())
        memory.bulk.senders[SENDER] = SenderParty("S", "s@example.org", "high", "video", BEGAN)
        memory.bulk.consents[SENDER, REF] = Consent(SENDER, REF, EMAIL, "Jean", "Martin", BEGAN, "form", bytes(32))
        return memory

    async def submit(self, *parts: Sequence[bytes]) -> UUID:
        batch = uuid4()
        stored = tuple(
            StoredLine(part, number, body)
            for part, lines in enumerate(parts, start=1)
            for number, body in enumerate(lines, start=1)
        )
        self.memory.bulk.batches[batch] = BatchRow(batch, SENDER, {}, SUBMITTED, len(stored), stored)
        return batch

    @asynccontextmanager
    async def tx(self) -> AsyncIterator[BatchTx]:
        async with self.memory.transaction() as tx:
            yield tx

    @asynccontextmanager
    async def draws(self) -> AsyncIterator[DrawFacts]:
        yield MemoryDraws(self.memory)

    def set_state(self, batch: UUID, state: str) -> None:
        self.memory.bulk.batches[batch] = replace(self.memory.bulk.batches[batch], state=state)

    def set_delivery(self, delivery: UUID, state: str) -> None:
        self.memory.tables.set_state(delivery, state, 1)

    def wait(self, stage: str, count: int) -> None:
        for number in range(count):
            self.memory.waiting[stage][number] = Any  # type: ignore[assignment]


class PostgresWorld:
    """A database of its own; `ingest` writes and reads as its own role."""

    def __init__(self, server: PostgresServer, config: DatabaseSettings) -> None:
        self._server = server
        self._config = config
        self._ask(
            "INSERT INTO qerds.sender (id, name, email, identity_level, identity_method, identified_at) "
            f"VALUES ('{SENDER}', 'S', 's@example.org', 'high', 'video', now()); "
            "INSERT INTO qerds.upload (id, sender, file_name, content_type, bytes, sha256, sha3_256, expires_at) "
            f"VALUES ('{UPLOAD}', '{SENDER}', 'a.pdf', 'application/pdf', 0, {ZEROS}, {ZEROS}, '{FAR}'); "
            "INSERT INTO qerds.consent (sender, ref, email, given_names, birth_name, obtained_at, method, text_sha256) "
            f"VALUES ('{SENDER}', '{REF}', '{EMAIL}', 'Jean', 'Martin', now(), 'form', {ZEROS})"
        )

    async def submit(self, *parts: Sequence[bytes]) -> UUID:
        gateway = Database(self._config.dsn("qerds_gateway"))
        batch = await small_batch.submit(gateway, SENDER, [list(part) for part in parts])
        await gateway.close()
        self._ask("DELETE FROM outbox.ingest")
        return batch

    @asynccontextmanager
    async def tx(self) -> AsyncIterator[BatchTx]:
        async with self._link() as link, link.transaction():
            yield PostgresTx(link, "ingest")

    @asynccontextmanager
    async def draws(self) -> AsyncIterator[DrawFacts]:
        async with self._link() as link:
            yield PostgresDraws(link)

    def set_state(self, batch: UUID, state: str) -> None:
        self._ask(f"UPDATE qerds.batch SET state = '{state}' WHERE id = '{batch}'")

    def set_delivery(self, delivery: UUID, state: str) -> None:
        self._ask(f"UPDATE qerds.delivery SET state = '{state}' WHERE id = '{delivery}'")

    def wait(self, stage: str, count: int) -> None:
        self._ask(
            f"INSERT INTO outbox.{stage} (lane, kind, subject) "
            f"SELECT n % 4, 'any', gen_random_uuid() FROM generate_series(1, {count}) n"
        )

    @asynccontextmanager
    async def _link(self) -> AsyncIterator[Link]:
        link = Link(self._config.dsn("qerds_ingest"))
        await link.open()
        try:
            yield link
        finally:
            await link.close()

    def _ask(self, sql: str) -> None:
        self._server.psql(sql, self._config.name)


def body(number: int) -> bytes:
    """A line of which only the bytes matter."""
    return json.dumps({"n": number}).encode()
