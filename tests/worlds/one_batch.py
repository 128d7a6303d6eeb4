"""A sender with one upload, and batches of letters that name it: real PostgreSQL."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest

from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.queries import queries
from pipeline.formats.configuration import DatabaseSettings
from tests.db import small_batch
from tests.servers import PostgresServer


@dataclass(frozen=True, slots=True)
class World:
    """One sender with one upload."""

    server: PostgresServer
    database: DatabaseSettings
    gateway: Database
    sender: UUID
    upload: UUID

    def ask(self, sql: str) -> str:
        return self.server.psql(sql, self.database.name).strip()

    def line(self, ref: str, **changes: Any) -> bytes:
        return small_batch.line(ref, self.upload, **changes)

    async def submit(self, *parts: Sequence[bytes]) -> UUID:
        return await small_batch.submit(self.gateway, self.sender, [list(part) for part in parts])

    def told(self, batch: UUID) -> list[str]:
        """accepted, replayed, or the problem's code, line by line."""
        return self.ask(
            "SELECT CASE WHEN replayed THEN 'replayed' ELSE coalesce(problem->>'code', 'accepted') END "
            f"FROM qerds.batch_result WHERE batch = '{batch}' ORDER BY part, line"
        ).split()

    def is_sound(self) -> bool:
        """What the ledger says of batches."""
        names = ("batch_has_a_next_step", "lines_are_accounted_for", "result_has_its_delivery", "client_ref_is_single")
        return not any(self.ask(queries()[f"ledger_{name}"].replace("$1::integer", "1")) for name in names)


@pytest.fixture
async def world(postgres: PostgresServer, database: DatabaseSettings) -> AsyncIterator[World]:
    sender, upload = uuid4(), uuid4()
    postgres.psql(
        "INSERT INTO qerds.sender (id, name, email, identity_level, identity_method, identified_at) "
        f"VALUES ('{sender}', 'S', 's@example.org', 'high', 'video', now()); "
        "INSERT INTO qerds.upload (id, sender, file_name, content_type, bytes, sha256, sha3_256, expires_at) "
        f"VALUES ('{upload}', '{sender}', 'a.pdf', 'application/pdf', 0, sha256(''), sha256(''), 'infinity')",
        database.name,
    )
    gateway = Database(database.dsn("qerds_gateway"))
    yield World(postgres, database, gateway, sender, upload)
    await gateway.close()
