"""Every process × every event × every manner of asking for its seal: sealed only where the table says so.

The processes are the roles of the database and the callers of the bridge, the events those of the one table. Each
attempt is written by the role itself; what the database lets in goes through the real `seal` to the bridge's own code.
"""

import re
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import anyio
import asyncpg
import pytest

from deploy.local.roles import OWNER, ROLES
from hsm_bridge.client import BridgeDenied
from hsm_bridge.wire import CALLERS
from pipeline.actors.contract import Done
from pipeline.adapters.postgres.dossiers import issuer_of, read_dossiers
from pipeline.adapters.postgres.facts import PostgresFacts
from pipeline.adapters.postgres.keys import PostgresKeys
from pipeline.adapters.postgres.link import Link
from pipeline.adapters.postgres.queries import queries
from pipeline.evidence.draft import Head
from pipeline.evidence.facts import EvidenceDraft
from pipeline.formats.events import EVENTS
from pipeline.ports.bridge import wire
from pipeline.ports.mailbox import Message
from pipeline.stages import seal
from tests.db import small_ledger
from tests.db.small_ledger import Installation
from tests.servers import PostgresServer, short_directory
from tests.worlds.sealing import MANNERS, STATE_OF, Attempt, Forger, Letter

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
PROCESSES = tuple(role for role in ROLES if role != OWNER)

# Where the attempt that comes furthest ends. grant: the role has no such event. database: its constraints and guards.
# stage: `seal`, which compares row and bytes. bridge: it denies. C.1 and C.2 have the ordinal of their notice.
TABLE = """
event  process  own     another letter's  another event's  backdated  future    replayed receipt  another ordinal
A.1    encrypt  sealed  stage             stage            database   database  database          database
A.2    ingest   sealed  stage             grant            database   database  database          database
A.2    encrypt  sealed  stage             stage            database   database  database          database
C.1    notify   sealed  stage             stage            database   database  database          sealed
C.2    notify   sealed  stage             stage            database   database  database          sealed
C.3    gateway  sealed  stage             stage            database   database  bridge            database
C.4    gateway  sealed  stage             stage            database   database  bridge            database
C.5    expire   sealed  stage             database         database   database  database          database
D.1    gateway  sealed  stage             stage            database   database  database          database
E.1    gateway  sealed  stage             database         database   database  bridge            database
E.2    expire   sealed  stage             database         database   database  database          database
"""
# Every other process and event: no grant. With the bytes of an event that is not its own, in a row that is, it comes as
# far as this.
AT_MOST = "stage"

# At the bridge's sockets, bytes alone. An act is sealed with the receipt that was given for it, whenever it is asked;
# what is no act, on the word of `seal`. Neither has a row: nothing stamps it, and `ledger check` tells by the bridge's
# record. Every other caller: no grant.
SOCKETS = """
event  caller  own     backdated  future  replayed receipt  another ordinal
A.1    seal    sealed  sealed     bridge  bridge            sealed
A.2    seal    sealed  sealed     bridge  bridge            sealed
C.1    seal    sealed  sealed     bridge  bridge            sealed
C.2    seal    sealed  sealed     bridge  bridge            sealed
C.3    seal    sealed  sealed     bridge  bridge            bridge
C.4    seal    sealed  sealed     bridge  bridge            bridge
C.5    seal    sealed  sealed     sealed  bridge            sealed
D.1    seal    sealed  sealed     bridge  sealed            bridge
E.1    seal    sealed  sealed     bridge  bridge            bridge
E.2    seal    sealed  sealed     sealed  bridge            sealed
"""
SOCKET_MANNERS = tuple(manner for manner in MANNERS if not manner.startswith("another ") or manner.endswith("ordinal"))
DEPTHS = ("grant", "database", "stage", "bridge", "sealed")


Cells = dict[tuple[str, str, str], str]  # who, event, manner: where it ends


def cells_of(table: str) -> Cells:
    """A table whose columns are two spaces apart: event, who, and a column for each manner."""
    head, *lines = (re.split(r" {2,}", line.strip()) for line in table.strip().splitlines())
    return {
        (who, event, manner): end for event, who, *ends in lines for manner, end in zip(head[2:], ends, strict=True)
    }


class World:
    """Two letters in each state, and one superuser's session that becomes every role."""

    def __init__(self, it: Installation, connection: "asyncpg.Connection[asyncpg.Record]", forger: Forger) -> None:
        self._it = it
        self._connection = connection
        keys = PostgresKeys(self.call, it.config.bridge.public_dir / "ca.pem")
        facts = PostgresFacts(cast(Link, self), keys, it.config.provider)
        self._ports = seal.Ports(facts, it.bridge.bridge("seal"))
        self._forger = forger
        self.attempts = 0

    async def call(self, name: str, *arguments: Any) -> Sequence[Any]:
        rows: Sequence[Any] = await self._connection.fetch(queries()[name], *arguments)
        return rows

    async def outcome(self, role: str, attempt: Attempt) -> str:
        """Where one attempt of one role ends; it is taken back."""
        self.attempts += 1
        transaction = self._connection.transaction()
        await transaction.start()
        self._it.ahead = attempt.ahead
        try:
            if attempt.ahead:
                await self._connection.execute("INSERT INTO qerds.legal_clock (ahead) VALUES ($1)", attempt.ahead)
            await self._become(role)
            try:
                await self._write(attempt)
            except asyncpg.InsufficientPrivilegeError:
                return "grant"
            except asyncpg.PostgresError:
                return "database"
            return await self._sealed(attempt.goal)
        finally:
            self._it.ahead = timedelta()
            await transaction.rollback()

    async def furthest(self, role: str, event: str, manner: str) -> str:
        """Where the attempt that comes furthest ends. A role that may insert no evidence at all is tried once."""
        question = "SELECT has_any_column_privilege($1, 'qerds.evidence', 'INSERT')"
        may_insert = await self._connection.fetchval(question, role)
        end = DEPTHS[0]
        for attempt in self._forger.attempts(event, manner):
            end = max(end, await self.outcome(role, attempt), key=DEPTHS.index)
            if not may_insert:
                break
        return end

    async def _become(self, role: str) -> None:
        await self._connection.execute(f"SET LOCAL SESSION AUTHORIZATION {role}")

    async def _write(self, attempt: Attempt) -> None:
        for delivery, act, decided_at in attempt.intents:
            await self._connection.execute(
                "INSERT INTO qerds.decision_intent (id, delivery, act, decided_at) VALUES ($1, $2, $3, $4)",
                *(uuid4(), delivery, act, decided_at),
            )
        for row in attempt.rows:
            await self._connection.execute(
                "INSERT INTO qerds.evidence (evidence, delivery, event, ordinal, sequence, event_time, canonical,"
                " sha256, seal_key_id, receipt) VALUES ($1, $2, $3, $4, $5, $6, $7, sha256($7), $8, $9)",
                *(row.evidence, row.delivery, row.event, row.ordinal, row.sequence, row.event_time),
                *(row.canonical, row.seal_key_id, row.receipt),
            )

    async def _sealed(self, goal: EvidenceDraft) -> str:
        """What the real stage makes of the row."""
        await self._connection.execute("SET LOCAL SESSION AUTHORIZATION DEFAULT")
        await self._become("qerds_seal")
        message = Message(1, 0, "draft", goal.delivery, goal.evidence, 0, 0, 0, datetime.now(UTC))
        [outcome] = await seal.perform([message], self._ports)
        if isinstance(outcome, Done):
            return "sealed"
        return "bridge" if outcome.why.startswith("seal denied") else "stage"

    async def at_socket(self, caller: str, event: str, manner: str) -> str:
        """What the bridge says to a caller who shows the bytes himself."""
        end = DEPTHS[0]
        for attempt in self._forger.attempts(event, manner):
            self.attempts += 1
            self._it.ahead = attempt.ahead
            try:
                item = wire.SealEvidence(attempt.goal.canonical, attempt.goal.receipt)
                [answer] = await self._it.bridge.client(caller).ask([item])
                end = max(end, "bridge" if isinstance(answer, wire.Denied) else "sealed", key=DEPTHS.index)
            except BridgeDenied:
                continue
            finally:
                self._it.ahead = timedelta()
        return end


@asynccontextmanager
async def world(postgres: PostgresServer) -> AsyncIterator[World]:
    database, state = postgres.clone(), short_directory()
    try:
        async with small_ledger.installation(database, state) as it:
            superuser = postgres.cluster
            connection = await asyncpg.connect(
                host=str(superuser.socket_dir),
                port=superuser.port,
                database=database.name,
                user="postgres",
                password=superuser.superuser_password,
            )
            states = reversed(dict.fromkeys(STATE_OF.values()))  # else those behind would take the first ones along
            letters = {s: (await letter(it, connection, s), await letter(it, connection, s)) for s in states}
            yield World(it, connection, Forger(it.bridge, letters))
            await connection.close()
    finally:
        postgres.drop(database)
        shutil.rmtree(state)


async def letter(it: Installation, connection: "asyncpg.Connection[asyncpg.Record]", state: str) -> Letter:
    """A letter that has come so far and no further."""
    if state == "submitted":
        delivery = await it.submit()
    else:
        delivery = await it.deposit(("seal", "timestamp") if state == "deposited" else small_ledger.DRIVEN)
    if state == "accepted":
        await it.decide(delivery, "accept", ["C.3", "D.1"])
    return await standing(it, connection, delivery, state)


async def standing(
    it: Installation, connection: "asyncpg.Connection[asyncpg.Record]", delivery: UUID, state: str
) -> Letter:
    async def fetch(name: str, *arguments: Any) -> Sequence[Any]:
        rows: Sequence[Any] = await connection.fetch(queries()[name], *arguments)
        return rows

    keys = PostgresKeys(fetch, it.config.bridge.public_dir / "ca.pem")
    issuer = issuer_of(it.config.provider, await keys.active("seal"))
    [dossier] = (await read_dossiers(fetch, [delivery], issuer)).values()
    rows = await connection.fetch(
        "SELECT event, sha256 FROM qerds.evidence WHERE delivery = $1 ORDER BY sequence", delivery
    )
    assert await connection.fetchval("SELECT state FROM qerds.delivery WHERE id = $1", delivery) == state
    last = rows[-1]["sha256"] if rows else None
    drafted = frozenset(row["event"] for row in rows)
    return Letter(dossier, Head(delivery, state, len(rows) + 1, last, datetime.now(UTC), drafted))


@dataclass(frozen=True, slots=True)
class Matrix:
    """Every cell: by rows of the database, and at the bridge's sockets."""

    rows: Cells
    sockets: Cells
    attempts: int


@pytest.fixture(scope="module")
def matrix(postgres: PostgresServer) -> Matrix:
    async def build() -> Matrix:
        async with world(postgres) as it:
            rows = {
                (role.removeprefix("qerds_"), event, manner): await it.furthest(role, event, manner)
                for role in PROCESSES
                for event in EVENTS
                for manner in MANNERS
            }
            sockets: Cells = {
                (caller, event, manner): await it.at_socket(caller, event, manner)
                for caller in CALLERS
                for event in EVENTS
                for manner in SOCKET_MANNERS
            }
            return Matrix(rows, sockets, it.attempts)

    return anyio.run(build)


def test_a_row_is_sealed_only_where_the_table_says(matrix: Matrix) -> None:
    """Whoever drafts an event has it sealed as it is, and in no other manner; nobody else has it sealed at all."""
    table = cells_of(TABLE)
    assert {cell: matrix.rows[cell] for cell in table} == table
    others = {cell: end for cell, end in matrix.rows.items() if cell not in table}
    assert {end for (_, _, manner), end in others.items() if manner != "another event's"} == {"grant"}
    assert max(DEPTHS.index(end) for end in others.values()) <= DEPTHS.index(AT_MOST)


def test_the_bridge_seals_bytes_only_where_the_table_says(matrix: Matrix) -> None:
    """One caller has evidence sealed, and a recipient's act only with the bridge's own receipt of it."""
    table = cells_of(SOCKETS)
    assert {cell: matrix.sockets[cell] for cell in table} == table
    assert {end for cell, end in matrix.sockets.items() if cell not in table} == {"grant"}


def test_every_cell_was_tried(matrix: Matrix) -> None:
    """13 processes × 10 events × 7 manners, 7 sockets × 10 events × 5 manners; so many are sealed and no more."""
    assert (len(PROCESSES), len(CALLERS), len(EVENTS), len(MANNERS), len(SOCKET_MANNERS)) == (13, 7, 10, 7, 5)
    assert (len(matrix.rows), len(matrix.sockets)) == (910, 350)
    assert matrix.attempts > 3000
    assert Counter(manner for (_, _, manner), end in matrix.rows.items() if end == "sealed") == {
        "own": 11,
        "another ordinal": 2,
    }
    assert Counter(matrix.sockets.values())["sealed"] == 29


def test_the_table_names_everybody_who_drafts() -> None:
    """It is read by people: no process that may draft an event is left out of it."""
    drafters = {(kind, event.code) for event in EVENTS.values() for kind in event.drafted_by}
    assert {(who, event) for who, event, _ in cells_of(TABLE)} == drafters
    assert {manner for _, _, manner in cells_of(TABLE)} == set(MANNERS)
