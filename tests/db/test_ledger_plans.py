"""Every predicate of the ledger that is a query grows with the letters and no faster: its plan joins whole tables."""

import json
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from pipeline.adapters.postgres.queries import queries
from pipeline.formats.configuration import DatabaseSettings
from pipeline.operate.ledger import SQL_PREDICATES, arguments_of

pytestmark = pytest.mark.anyio
# Of a few rows, however many letters there are; a join with nothing but these may look at every pair.
FEW = {"transition", "event_type", "event_head", "installation", "legal_clock"}


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", []):
        yield from nodes(inner)


def tables(plan: dict[str, Any]) -> set[str]:
    return {node["Relation Name"] for node in nodes(plan) if "Relation Name" in node}


@pytest.mark.parametrize("predicate", SQL_PREDICATES)
async def test_a_predicate_has_no_loop_over_letters(database: DatabaseSettings, predicate: str) -> None:
    """No nested loop of two tables that grow, and nothing that is asked again for every row."""
    connection = await asyncpg.connect(
        host=str(database.socket_dir),
        port=database.port,
        database=database.name,
        user="qerds_operate",
        password=database.password("qerds_operate"),
    )
    try:
        async with connection.transaction():
            await connection.fetch(queries()["ledger_whole_tables"])
            query = queries()[f"ledger_{predicate}"].replace("$1::integer", "100")
            for place, value in enumerate(arguments_of(predicate), start=2):
                query = query.replace(f"${place}::text[]", f"ARRAY{value}::text[]").replace(
                    f"${place}::text", "NULL::text"
                )
            plan = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) {query}"))[0]["Plan"]
    finally:
        await connection.close()
    for node in nodes(plan):
        assert node.get("Parent Relationship") != "SubPlan", "asked for every row: join instead"
        if node["Node Type"] == "Nested Loop":
            assert any(tables(side) <= FEW for side in node["Plans"]), [sorted(tables(side)) for side in node["Plans"]]
