"""What a statement costs, as the server measures it: EXPLAIN (ANALYZE, BUFFERS) of the plan that its process gets.

Owns     sessions of the product's roles with statements prepared in them, and the reading of plans
Rules    a session plans when it is opened, as a process does that was there before the load came; whether it keeps that
         plan is a setting of its role (schemas/roles.sql)
Elsewhere: what is loaded and what is too much (test_*.py)
"""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from pipeline.adapters.postgres.queries import queries
from pipeline.formats.configuration import DatabaseSettings


@dataclass(frozen=True, slots=True)
class Statement:
    """A named query of sql/*.sql with the types and the values of its parameters, and who executes it."""

    role: str
    query: str
    types: str = ""
    values: str = ""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one execution looked at. Blocks of 8 KiB count each time; inside functions there is nothing else to see."""

    blocks: int
    rows: int
    scans: frozenset[str]


class Sessions:
    """One for each role."""

    def __init__(self, statements: Mapping[str, Statement]) -> None:
        self._statements = statements
        self._of: dict[str, asyncpg.Connection[asyncpg.Record]] = {}

    async def open(self, database: DatabaseSettings) -> None:
        """Prepares and plans everything, over the tables as they are now."""
        for role in sorted({s.role for s in self._statements.values()}):
            self._of[role] = await asyncpg.connect(
                host=str(database.socket_dir),
                port=database.port,
                database=database.name,
                user=role,
                password=database.password(role),
            )
        for name, s in self._statements.items():
            types, query = f"({s.types})" if s.types else "", queries()[s.query].rstrip(";")
            await self._of[s.role].execute(f'PREPARE "{name}"{types} AS {query}')
            await self._of[s.role].execute(f"EXPLAIN {self._execute(name)}")

    async def cost(self, name: str) -> Cost:
        """Executed for real, and rolled back."""
        session = self._of[self._statements[name].role]
        await session.execute("BEGIN")
        explained = await session.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {self._execute(name)}")
        await session.execute("ROLLBACK")
        return cost_of(explained)

    async def close(self) -> None:
        for session in self._of.values():
            await session.close()

    def _execute(self, name: str) -> str:
        values = self._statements[name].values
        return f'EXECUTE "{name}"' + (f"({values})" if values else "")


@asynccontextmanager
async def sessions(database: DatabaseSettings, statements: Mapping[str, Statement]) -> AsyncIterator[Sessions]:
    """Opened now, until the block is left."""
    opened = Sessions(statements)
    try:
        await opened.open(database)
        yield opened
    finally:
        await opened.close()


def cost_of(explained: str) -> Cost:
    """The answer to EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)."""
    plan = json.loads(explained)[0]["Plan"]
    scanned = [n for n in _nodes(plan) if "Relation Name" in n and "Scan" in n["Node Type"]]
    looked_at = [
        n["Actual Loops"]
        * (n["Actual Rows"] + n.get("Rows Removed by Filter", 0) + n.get("Rows Removed by Index Recheck", 0))
        for n in scanned
    ]
    return Cost(
        plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
        int(sum(looked_at)),
        frozenset(n.get("Index Name", f"{n['Node Type']} {n['Relation Name']}") for n in scanned),
    )


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", []):
        yield from _nodes(inner)
