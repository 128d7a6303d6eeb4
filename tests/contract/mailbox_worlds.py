"""Two worlds with the same mailboxes: PostgreSQL and memory. What the contract suite needs of each.

Owns     planting and looking: a delivery, stale processes, due timers, counts; nothing that a stage may do
Elsewhere: the promises themselves (test_mailbox.py)
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Protocol
from uuid import UUID, uuid4

import asyncpg

from pipeline.adapters.ids import SystemRandomness
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.link import Link
from pipeline.adapters.postgres.mailbox import PostgresMailbox
from pipeline.errors import LeaseLost
from pipeline.evidence.dossier import Dossier, Issuer, RecipientParty, SenderParty
from pipeline.evidence.facts import EvidenceSeal
from pipeline.formats.configuration import DatabaseSettings
from pipeline.ports.mailbox import Mailbox, MailboxTx, Tx
from pipeline.process.recorder import Recorder
from tests.memory.database import MemoryClock, MemoryDatabase
from tests.memory.mailbox import MemoryMailbox
from tests.memory.tables import Conflict, Submission
from tests.servers import PostgresServer

LEASE_SECONDS = 5.0  # longer than any test holds a row, so that only `make_stale` ends a life
BEGAN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
REFUSED = (Conflict, asyncpg.PostgresError)  # what a constraint says, in either world


class World(Protocol):
    """One installation with an operator's view of it."""

    def mailbox(self, stage: str) -> Mailbox[MailboxTx]: ...
    def gateway(self) -> AbstractAsyncContextManager[Tx]: ...
    def delivery(self) -> UUID: ...
    def make_stale(self) -> None: ...
    def make_due(self) -> None: ...
    def jump(self, by: timedelta) -> None: ...
    def waiting(self, stage: str) -> int: ...
    def running(self, stage: str) -> int: ...
    def timers(self) -> int: ...
    def legal_timers(self) -> int: ...
    def dead(self) -> list[str]: ...
    def state(self, delivery: UUID) -> tuple[str, int]: ...
    def signature(self, evidence: UUID) -> bytes: ...


class PostgresWorld:
    """A database of its own. When an event may be drafted is not what these promises are about: tests/db has it."""

    def __init__(self, server: PostgresServer, config: DatabaseSettings) -> None:
        self.lines: list[str] = []  # of the processes' logs
        self._server = server
        self._config = config
        self._run(
            "INSERT INTO qerds.published_key (key_id, use, spki, not_before, until)"
            " VALUES ('seal-1', 'seal', '\\x00', '2026-01-01', '2036-01-01');"
            "INSERT INTO qerds.sender (id, name, email, identity_level, identity_method, identified_at)"
            " VALUES ('00000000-0000-0000-0000-000000000001', 's', 's@example.org', 'low', 'none', now());"
            "DROP TRIGGER guard_drafts ON qerds.evidence"
        )

    def mailbox(self, stage: str) -> Mailbox[MailboxTx]:
        dsn = self._config.dsn(f"qerds_{stage}")
        recorder = Recorder(stage, self.lines.append)
        return PostgresMailbox(dsn, Link(dsn, LeaseLost), stage, "test", SystemRandomness(), recorder, LEASE_SECONDS)

    @asynccontextmanager
    async def gateway(self) -> AsyncIterator[Tx]:
        database = Database(self._config.dsn("qerds_gateway"))
        try:
            async with database.transaction() as tx:
                yield tx
        finally:
            await database.close()

    def delivery(self) -> UUID:
        delivery = uuid4()
        number = str(delivery.int % 10**14).zfill(14)
        self._run(
            "INSERT INTO qerds.delivery (id, number, sender, request_sha256, lane, mode, config_version,"
            " recipient_kind, recipient_email, given_names, birth_name, language, subject, submitted_at)"
            f" SELECT '{delivery}', '{number}', s.id, sha256('x'), 0, 'non_qualified', 'c-1',"
            " 'professional', 'r@example.org', 'g', 'b', 'fr', 's', '2026-01-01' FROM qerds.sender s"
        )
        return delivery

    def make_stale(self) -> None:
        self._run("UPDATE outbox.process SET seen_at = seen_at - interval '1 min' WHERE seen_at > '-infinity'")

    def make_due(self) -> None:
        self._run("UPDATE outbox.timer SET due_at = due_at - interval '1 day'")

    def jump(self, by: timedelta) -> None:
        self._run(f"INSERT INTO qerds.legal_clock (ahead) VALUES (interval '{by.total_seconds()} s')")

    def waiting(self, stage: str) -> int:
        return int(self._run(f"SELECT count(*) FROM outbox.{stage}"))

    def running(self, stage: str) -> int:
        return int(self._run(f"SELECT count(*) FROM outbox.{stage}_running"))

    def timers(self) -> int:
        return int(self._run("SELECT count(*) FROM outbox.timer"))

    def legal_timers(self) -> int:
        return int(self._run("SELECT count(*) FROM outbox.legal_timer"))

    def dead(self) -> list[str]:
        return self._run("SELECT why FROM outbox.dead ORDER BY id").split("\n")

    def state(self, delivery: UUID) -> tuple[str, int]:
        row = self._run(f"SELECT state, stamped_through FROM qerds.delivery WHERE id = '{delivery}'").split("|")
        return row[0], int(row[1])

    def signature(self, evidence: UUID) -> bytes:
        row = self._run(f"SELECT encode(signature, 'hex') FROM qerds.evidence_seal WHERE evidence = '{evidence}'")
        return bytes.fromhex(row)

    def _run(self, sql: str) -> str:
        return self._server.psql(sql, self._config.name).strip()


class MemoryWorld:
    """The same, in a few dictionaries. Made on first use: its clock is the event loop's."""

    @cached_property
    def memory(self) -> MemoryDatabase:
        return MemoryDatabase(MemoryClock(BEGAN), LEASE_SECONDS)

    def mailbox(self, stage: str) -> Mailbox[MailboxTx]:
        return MemoryMailbox(self.memory, stage, SystemRandomness())

    def gateway(self) -> AbstractAsyncContextManager[Tx]:
        return self.memory.transaction()

    def delivery(self) -> UUID:
        delivery = uuid4()
        self.memory.tables.submit(Submission(dossier(delivery), "fr", "not_needed", (), ()))
        return delivery

    def make_stale(self) -> None:
        for life in self.memory.lives.values():
            life.seen_at -= 60

    def make_due(self) -> None:
        self.memory.timers[:] = [
            t if t.is_legal else replace(t, due_at=t.due_at - timedelta(days=1)) for t in self.memory.timers
        ]

    def jump(self, by: timedelta) -> None:
        self.memory.clock.ahead += by

    def waiting(self, stage: str) -> int:
        return len(self.memory.waiting[stage])

    def running(self, stage: str) -> int:
        return len(self.memory.running[stage])

    def timers(self) -> int:
        return sum(not t.is_legal for t in self.memory.timers)

    def legal_timers(self) -> int:
        return sum(t.is_legal for t in self.memory.timers)

    def dead(self) -> list[str]:
        return [d.why for d in self.memory.dead]

    def state(self, delivery: UUID) -> tuple[str, int]:
        return self.memory.tables.state(delivery) or ("", 0)

    def signature(self, evidence: UUID) -> bytes:
        seal = self.memory.tables.find(EvidenceSeal, evidence)
        return b"" if seal is None else seal.signature


def dossier(delivery: UUID) -> Dossier:
    """Just enough of a letter."""
    return Dossier(
        delivery=delivery,
        number=str(delivery.int % 10**14).zfill(14),
        client_ref=None,
        mode="non_qualified",
        config_version="c-1",
        issuer=Issuer("p", "FR", "2.25.1", "seal-1", bytes(32)),
        sender=SenderParty("s", "s@example.org", "low", "none", BEGAN),
        recipient=RecipientParty("professional", "r@example.org", "g", "b"),
        parts=(),
        submitted_at=BEGAN,
    )
