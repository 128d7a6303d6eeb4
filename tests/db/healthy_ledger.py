"""A small healthy ledger that is only ever copied, to be broken."""

import secrets
from dataclasses import dataclass

from msgspec import structs

from pipeline.formats.configuration import DatabaseSettings
from tests.db.small_ledger import Letters
from tests.servers import PostgresServer


@dataclass(frozen=True, slots=True)
class Healthy:
    """A database that is only ever copied, and who is who in it."""

    server: PostgresServer
    database: DatabaseSettings
    letters: Letters
    anchor: bytes

    def copy(self) -> DatabaseSettings:
        """One to break."""
        name = f"qerds_broken_{secrets.token_hex(6)}"
        self.server.psql(f"CREATE DATABASE {name} OWNER qerds_owner TEMPLATE {self.database.name} STRATEGY FILE_COPY")
        return structs.replace(self.database, name=name)
