"""A sender with letters whose states a test moves, and who sequences them and follows: for the tests of events."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

import anyio
import asyncpg

from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.feed import PostgresEventStore
from pipeline.adapters.postgres.sequencer import PostgresEventLog
from pipeline.feed.payload import FeedEvent
from pipeline.formats.configuration import DatabaseSettings
from pipeline.process.recorder import Recorder
from pipeline.stores.feed import EventQuestion
from tests.servers import PostgresServer

NOTE = "INSERT INTO qerds.event_unsequenced (type, sender, subject) VALUES ('batch.completed', $1, $2)"


def recorder() -> Recorder:
    return Recorder("events", lambda _: None)


@dataclass(frozen=True, slots=True)
class EventsWorld:
    """One database."""

    server: PostgresServer
    config: DatabaseSettings

    def psql(self, sql: str) -> str:
        return self.server.psql(sql, self.config.name).strip()

    def add_sender(self) -> UUID:
        sender = uuid4()
        self.psql(
            "INSERT INTO qerds.sender (id, name, email, identity_level, identity_method, identified_at) "
            f"VALUES ('{sender}', 'Étude Dupont', 'sender@example.org', 'high', 'video', now())"
        )
        return sender

    def add_letters(self, sender: UUID, count: int) -> list[UUID]:
        """Submitted ones, numbered, each with a client_ref."""
        letters = [uuid4() for _ in range(count)]
        first = int(self.psql("SELECT count(*) FROM qerds.delivery"))
        values = ", ".join(
            f"('{letter}', '{first + i:014}', '{sender}', 'ref-{first + i}', sha256('x'), 0, 'non_qualified', '1', "
            "'professional', 'r@example.org', 'A', 'B', 'fr', 'S', now())"
            for i, letter in enumerate(letters)
        )
        self.psql(
            "INSERT INTO qerds.delivery (id, number, sender, client_ref, request_sha256, lane, mode, config_version, "
            "recipient_kind, recipient_email, given_names, birth_name, language, subject, submitted_at) "
            f"VALUES {values}"
        )
        return letters

    def move(self, letters: Sequence[UUID], state: str) -> None:
        """As `timestamp` does, in one statement."""
        ids = ", ".join(f"'{letter}'" for letter in letters)
        self.psql(f"UPDATE qerds.delivery SET state = '{state}' WHERE id IN ({ids})")

    def move_singly(self, letters: Sequence[UUID], state: str) -> None:
        """One after the other, each committed before the next."""
        moves = [f"UPDATE qerds.delivery SET state = '{state}' WHERE id = '{letter}';" for letter in letters]
        self.psql("\n".join(moves))

    def log(self) -> PostgresEventLog:
        """A candidate for sequencing."""
        return PostgresEventLog(self.config.dsn("qerds_events"))

    async def sequence(self) -> int:
        """All there is, once."""
        log = self.log()
        with anyio.fail_after(10):
            while not await log.elect():
                await anyio.lowlevel.checkpoint()
        total = 0
        while count := await log.sequence(1000):
            total += count
        await log.stop()
        return total

    async def events(self, sender: UUID, after: int = 0) -> list[FeedEvent]:
        """The whole list, page by page."""
        database = Database(self.config.dsn("qerds_gateway"))
        store = PostgresEventStore(database)
        found: list[FeedEvent] = []
        try:
            while True:
                page = await store.events(EventQuestion(sender, after, (), None, 100))
                found += page.events
                after = page.read_through
                if not page.has_more:
                    return found
        finally:
            await database.close()

    async def owner(self) -> "asyncpg.Connection[asyncpg.Record]":
        """A session that holds transactions open."""
        return await asyncpg.connect(
            host=str(self.config.socket_dir),
            port=self.config.port,
            database=self.config.name,
            user="qerds_owner",
            password=self.config.password("qerds_owner"),
        )
