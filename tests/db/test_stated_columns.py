"""Which columns of the stated facts are in their digests, also those that came later."""

import re

import asyncpg
import pytest

from deploy.local.roles import OWNER
from pipeline.formats.configuration import DatabaseSettings

pytestmark = pytest.mark.anyio

UNSTATED = {
    "delivery": {
        "batch",
        "state",
        "stamped_through",
        "settled_at",
        "changed_at",
    },  # what follows from lines and evidences
    "evidence": {  # in the sealed bytes, of which the leaf `draft` has the digest; `receipt` is a leaf of its own
        *("delivery", "event", "ordinal", "sequence", "event_time", "canonical", "sha256", "seal_key_id"),
        *("drafted_by", "drafted_at"),
    },
    "batch_part": {"first_line"},  # follows from the lines of the parts before, which are stated
}
BRANCH = re.compile(r"(record_send\(ROW\((x\.[^)]*)\)\)(?: \|\| CASE.*? END)*)\) FROM qerds\.(\w+) x")
ADDED = re.compile(r"ROW\('(\w+)'::text, x\.\1\)")


async def connect(database: DatabaseSettings) -> "asyncpg.Connection[asyncpg.Record]":
    return await asyncpg.connect(
        host=str(database.socket_dir),
        port=database.port,
        database=database.name,
        user=OWNER,
        password=database.password(OWNER),
    )


async def test_each_column_of_a_stated_fact_is_stated(database: DatabaseSettings) -> None:
    """A column that a migration adds is in the digest, or stands here with its reason."""
    connection = await connect(database)
    body = await connection.fetchval("SELECT prosrc FROM pg_proc WHERE oid = 'qerds.stated_facts()'::regprocedure")
    rows = await connection.fetch(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'qerds'"
    )
    await connection.close()
    stated = {
        table: {*re.findall(r"x\.(\w+)", columns), *ADDED.findall(whole)}
        for whole, columns, table in BRANCH.findall(body)
    }
    assert len(stated) > 15
    columns = {(row["table_name"], row["column_name"]) for row in rows if row["table_name"] in stated}
    left_out = {table: {c for t, c in columns if t == table} - stated[table] for table in stated}
    assert {table: names for table, names in left_out.items() if names} == UNSTATED
