"""The superuser edits every table in every way: `ledger check` says so, or the page says who sees it instead."""

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import asyncpg
import pytest

from pipeline.adapters.postgres.queries import queries
from pipeline.operate.command import VerbRefused
from pipeline.operate.ledger import SQL_PREDICATES, arguments_of, check_ledger
from tests.db.healthy_ledger import Healthy
from tests.worlds.superuser import FILLING, Edit, catalogue, rows_of, unguarded

pytestmark = pytest.mark.anyio
PAGE = Path(__file__).resolve().parents[2] / "docs" / "invariants.md"
EDITS_MIN = 100
INSTALLATION = "non_qualified t"


class OneSession:
    """The operator's questions in the superuser's own transaction, so that every edit is taken back with it."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection
        self._lock = anyio.Lock()
        self._settings = set[str]()  # of the transaction, which needs each once

    async def fetch(self, name: str, *arguments: Any) -> Sequence[Any]:
        if name in self._settings:
            return []
        if name == "ledger_whole_tables":
            self._settings.add(name)
        async with self._lock:
            rows: Sequence[Any] = await self._connection.fetch(queries()[name], *arguments)
            return rows

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["OneSession"]:
        yield self


async def noticed(
    healthy: Healthy, connection: "asyncpg.Connection[asyncpg.Record]", edit: Edit, place: str, guess: str | None
) -> set[str]:
    """Predicates that one edit breaks; it is taken back. The guess is asked first, and alone when it is broken."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute("SET LOCAL session_replication_role = replica")
        sql = edit.sql.replace("{ctid}", f"'{place}'")
        try:
            async with connection.transaction():
                done = await connection.execute(sql)
        except asyncpg.PostgresError:
            await connection.execute(unguarded(edit.sql.split(" ")[2 if edit.what in ("delete", "insert") else 1]))
            done = await connection.execute(sql)
        if done == "UPDATE 0":  # it had no value
            return {"nothing was changed"}
        await connection.execute("SET LOCAL ROLE qerds_operate")
        rows = OneSession(connection)
        if guess in SQL_PREDICATES and await rows.fetch(f"ledger_{guess}", 1, *arguments_of(guess, INSTALLATION)):
            return {guess}
        violations = await check_ledger(rows, (healthy.anchor,), installation=INSTALLATION)
        return {violation.predicate for violation in violations}
    except (VerbRefused, asyncpg.CardinalityViolationError):  # a second legal clock; the guess is asked as it is
        return {"the check ends, and says why"}
    finally:
        await transaction.rollback()


def unseen() -> list[tuple[set[str], set[str]]]:
    """The rows of the page: tables, and what of them the check does not see; everything, when it names nothing."""
    section = PAGE.read_text().split("## What a superuser changes unseen")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`[a-z_.]+`(?:, `[a-z_.]+`)*) \| ([^|]+) \| [^|]+ \|$", section, re.MULTILINE)
    return [(set(re.findall(r"[a-z_.]+", tables)), set(re.findall(r"`([a-z_0-9]+)`", whats))) for tables, whats in rows]


@pytest.fixture(scope="module")
def filled(healthy: Healthy) -> Iterator[Healthy]:
    database = healthy.copy()
    healthy.server.psql(FILLING, database.name)
    yield Healthy(healthy.server, database, healthy.letters, healthy.anchor)
    healthy.server.drop(database)


@pytest.mark.timeout(300)
async def test_every_edit_is_noticed_or_listed(filled: Healthy) -> None:
    """Every table: a row removed, one added, each column changed and emptied. What is not seen is exactly what the page
    lists."""
    superuser = filled.server.cluster
    connection = await asyncpg.connect(
        host=str(superuser.socket_dir),
        port=superuser.port,
        database=filled.database.name,
        user="postgres",
        password=superuser.superuser_password,
    )
    operator = OneSession(connection)
    assert await check_ledger(operator, (filled.anchor,), installation=INSTALLATION) == []
    missed, tried = dict[str, set[str]](), 0
    for table, edits in (await catalogue(connection)).items():
        places = await rows_of(connection, edits[0].table)
        assert places, f"no row in {table} to edit"
        guess = None  # what noticed the edit before
        for edit in edits:
            name = edit.what.strip('"')
            if name in missed.get(table, ()):
                continue  # of which another value went unseen
            tried += 1
            for place in places:
                broken = await noticed(filled, connection, edit, place, guess)
                if not broken:
                    missed.setdefault(table, set()).add(name)
                    break
                guess = min(broken & set(SQL_PREDICATES), default=guess)
    await connection.close()
    assert tried >= EDITS_MIN
    assert_listed(missed, unseen())


def assert_listed(missed: dict[str, set[str]], rows: list[tuple[set[str], set[str]]]) -> None:
    """What was missed is in the list, and the list names nothing that was seen."""
    for table, whats in missed.items():
        listed = [names for tables, names in rows if table in tables]
        assert listed, f"{table}: {sorted(whats)}"
        assert not listed[0] or whats <= listed[0], f"{table}: {sorted(whats - listed[0])}"
    for tables, names in rows:
        missed_here = set[str]().union(*(missed.get(table, set()) for table in tables))
        assert missed_here, f"{sorted(tables)} are seen"
        assert names <= missed_here, f"{sorted(tables)}: {sorted(names - missed_here)} are seen"
